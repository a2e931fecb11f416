"""Search: a tree of refinements from a failed answer, with every node recorded."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from factory.inference.endpoints import SetAside
from factory.search.refinements import asks_for_reflection, read_refinement
from factory.search.tree_rows import Made, Search, response_id_of, tree_rows
from factory.search.tree_search import SearchNode, Strategy, search_tree
from factory.templates.rendering import TemplateUse, conversation, refine_turns
from factory.work.context import Context, Template, Work
from factory.work.echo import Refined
from factory.work.flaws import flaw_of
from factory.work.judging import Assessment, assess, of_judges
from factory.work.stage import StageSettings, TopP, sampling_of
from schemas.ids import seed_of, sha256_text
from schemas.settings import about, differing
from schemas.tables import Message, Response

CODE = "SPaR's code"
_NAMED_IN_FIRST_VERSION = (
    *("strategy", "branch", "keep", "depth", "budget", "threshold", "expansion", "one_request", "selection"),
    *("temperature", "top_p", "max_tokens"),
)
"""Parameters hashed into every tree's id; those added later are hashed only if they differ from their defaults."""


class Settings(StageSettings, frozen=True, kw_only=True):
    """Tree search from a failed answer (SPaR, arXiv:2412.11605, 3.3)."""

    batchable: ClassVar[bool] = False
    judged: ClassVar[bool] = True
    needs: ClassVar[Mapping[str, str]] = {
        "sample": "make the answers to start from",
        "judge": "find the failed answers",
    }

    model: Annotated[str, about("the role of the model that refines")] = "refiner"
    judge: Annotated[str, about("name of the deciding judge; none: all judges of the recipe, in order")] | None = None
    strategy: Annotated[Literal["bfs", "dfs", "best_of_n"], about("how the tree is searched", CODE)] = "bfs"
    branch: Annotated[int, about("the number of refinements per node", CODE, least=1)] = 3
    keep: Annotated[
        int, about("the number of nodes per level (bfs) or siblings (dfs) that are expanded further", CODE, least=1)
    ] = 2
    depth: Annotated[int, about("the number of levels below the root", CODE, least=1)] = 3
    budget: Annotated[
        int, about("the maximum number of refinements per tree; answers for best_of_n", CODE, least=1)
    ] = 1000
    threshold: Annotated[float, about("a node with a higher value is accepted", CODE, least=0, below=1)] = 0.5
    expansion: Annotated[
        Literal["full", "eager"],
        about("full: judge a whole level and accept the best; eager: go child by child and accept the first", CODE),
    ] = "full"
    one_request: Annotated[
        bool, about("whether one request with n asks for all refinements of a node; eager expansion sends one each")
    ] = True
    selection: Annotated[
        Literal["greedy", "proportional"],
        about("which nodes are kept: the best, or a draw in proportion to value", CODE),
    ] = "greedy"
    accept_flawed: Annotated[
        bool, about("whether a refinement that is cut off, repeats the instruction or has another flaw may be accepted")
    ] = False
    roots: Annotated[
        Literal["one", "every"],
        about("failed answers per prompt that get a tree: one, chosen by hash, or every", CODE),
    ] = "one"
    temperature: Annotated[float, about("sampling temperature", CODE, least=0, most=2)] = 0.7
    top_p: Annotated[float, TopP] = 1.0
    max_tokens: Annotated[int, about("the maximum number of tokens per refinement", CODE, least=1)] = 3072

    def templates(self) -> dict[str, TemplateUse]:
        dialogue = {"judge": TemplateUse("judge", ("prompt", "response", "reference"))}
        return {"refine": TemplateUse("refine", ("prompt", "response", "critique"))} | dialogue

    def check_judge(self, name: str, judge: Any) -> None:
        if not judge.can_fail():
            mend = (
                f"set stages.{name}.pass_points"
                if hasattr(judge, "pass_points")
                else "let a judge of another kind come first"
            )
            raise ValueError(f"starts from answers that fail, but judge {name!r} never fails one: {mend}")

    def strategy_of(self) -> Strategy:
        """The settings that the search itself needs."""
        return Strategy(**{name: getattr(self, name) for name in Strategy.__dataclass_fields__})

    def parameters(self) -> dict[str, Any]:
        """What a tree depends on besides its root and models: hashed into its id, and kept in its row."""
        plain, changed = msgspec.to_builtins(self), differing(self)
        rest = changed.keys() - {*_NAMED_IN_FIRST_VERSION, "model", "roots"}
        return {name: plain[name] for name in plain if name in _NAMED_IN_FIRST_VERSION or name in rest}


async def run(context: Context, work: Work, settings: Settings) -> Work:
    """Grows a tree from one failed answer of the prompt, or from each, unless it already has one."""
    assessed = {r.response_id: of_judges(work.judgements.get(r.response_id, []), context.judges) for r in work.answers}
    for root in roots_of(work.answers, assessed, settings.roots == "every"):
        if (context.stage, root.response_id) not in work.roots:
            search = Search(context, work, root, settings.strategy, settings.parameters())
            context.emit(await grow_tree(search, assessed[root.response_id], settings))
            work.roots.add((context.stage, root.response_id))
    return work


def roots_of(responses: Sequence[Response], assessed: dict[str, Assessment], every: bool) -> list[Response]:
    """The failed answers that get a tree: one, chosen by the hash of its text, or every one, in the order of hashes.

    Those without a flaw come first: a text that was cut off is seldom made whole by mending what a judge found.
    By hash, another run with the same answers searches from the same one, and finds its replies in the journal.
    """
    failed = [r for r in responses if assessed[r.response_id].verdict.passed is False]
    failed.sort(key=lambda response: (response.flaw is not None, sha256_text(response.text), response.response_id))
    return failed if every else failed[:1]


async def grow_tree(search: Search, assessment: Assessment, settings: Settings) -> list[Any]:
    """Searches from one failed answer.

    Args:
        assessment: the root's.
    Returns:
        All rows of the tree: calls, responses, judgements, nodes and the tree.
    """
    made = Made(None, 0, None, assessment)
    start = SearchNode(None, 0, search.root.text, assessment.verdict.value, made, flaw=search.root.flaw)
    growing = _Growing(search, settings, {search.root.text: asyncio.ensure_future(_known(assessment))})
    seed = seed_of(search.context.asker.seed, "selection", search.prompt.prompt_id, search.root.text)
    tree = await search_tree(start, growing.expand, settings.strategy_of(), random.Random(seed))
    return tree_rows(search, tree, growing.errors[0] if growing.errors else None)


@dataclass(slots=True)
class _Growing:
    """A tree while it grows."""

    search: Search
    settings: Settings
    judging: dict[str, asyncio.Task[Assessment | None]]
    """by text: equal texts are judged once per tree"""
    errors: list[str] = field(default_factory=list)

    async def expand(self, parent: SearchNode, first: int, count: int) -> list[SearchNode]:
        """`count` children of a node, from index `first`, refined in one request and judged."""
        context = self.search.context
        messages, template, shown = self._question(parent)
        sampling = sampling_of(self.settings, count)
        ids = (response_id_of(self.search, parent),) if template else ()
        name = template.name if template else None
        try:
            answered = await context.ask(
                self.search.prompt, self.settings.model, messages, sampling, template=name, response_ids=ids, draw=first
            )
        except SetAside as error:
            self.errors.append(str(error))
            return [SearchNode(parent, first + i, None, None, Made(None, i, None, None)) for i in range(count)]
        with_reflection = template is not None and asks_for_reflection(template.text)
        children = []
        for index, choice in enumerate(answered.reply.choices):
            refinement = read_refinement(choice.text, with_reflection=with_reflection)
            made = Made(answered, index, refinement, None)
            flaw = None if refinement.text is None else flaw_of(refinement.text, choice.finish_reason, shown)
            children.append(SearchNode(parent, first + index, refinement.text, None, made, flaw=flaw))
        for child in children:
            if child.text is not None and child.text not in self.judging:
                judging = asyncio.ensure_future(self._assess(response_id_of(self.search, child), child.text))
                judging.add_done_callback(_note_error)
                self.judging[child.text] = judging
        for child in children:
            if child.text is not None:
                child.made.assessment = await self.judging[child.text]
                child.value = child.made.assessment.verdict.value if child.made.assessment else None
        return children

    def _question(self, parent: SearchNode) -> tuple[Sequence[Message], Template | None, Refined | None]:
        """What the model is asked at a node: to refine it, or in best-of-n to answer the prompt again."""
        prompt, context = self.search.prompt, self.search.context
        if self.settings.strategy == "best_of_n":
            return prompt.messages, None, None
        critique = parent.made.assessment.critique
        refine, judge = context.templates["refine"], judge_template_of(context, critique.template_hash)
        asked, answer = conversation(prompt.messages), parent.text or ""
        turns = refine_turns(judge, refine.text, asked, answer, critique.critique)
        return turns, refine, Refined(asked, answer, parent.flaw, critique.critique, (judge, refine.text))

    async def _assess(self, response_id: str, text: str) -> Assessment | None:
        try:
            return await assess(self.search.context, self.search.work, response_id, text)
        except SetAside as error:
            self.errors.append(str(error))
            return None


def judge_template_of(context: Context, template_hash: str | None) -> str:
    """The template of the judge that wrote a critique; the search's own if none did."""
    for judge in context.judges:
        for template in judge.templates.values():
            if sha256_text(template.text) == template_hash:
                return str(template.text)
    return context.templates["judge"].text


def _note_error(judging: asyncio.Task[Any]) -> None:
    """Retrieves the error: asyncio would print it if another request had ended the search."""
    if not judging.cancelled():
        judging.exception()


async def _known(assessment: Assessment) -> Assessment | None:
    return assessment
