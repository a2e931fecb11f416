"""The tables of the lake. Rows are added, never changed; NULL means unknown, never 0 or false; times are UTC."""

from dataclasses import dataclass
from datetime import datetime

from schemas.columns import column
from schemas.method_tables import ChecklistItem as ChecklistItem
from schemas.method_tables import Claim as Claim
from schemas.method_tables import Document as Document
from schemas.method_tables import Evidence as Evidence
from schemas.method_tables import MetaJudgement as MetaJudgement
from schemas.training_tables import Check as Check
from schemas.training_tables import Evaluation as Evaluation
from schemas.training_tables import Loop as Loop
from schemas.training_tables import LoopStep as LoopStep
from schemas.training_tables import Rerun as Rerun
from schemas.training_tables import Review as Review
from schemas.training_tables import TrainingRun as TrainingRun
from schemas.training_tables import TrainingSet as TrainingSet

SCHEMA_VERSION = 7
"""Lakes of earlier versions can be read; `factory migrate` brings them to this one (`stores/migrations/`)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str  # system, user or assistant
    content: str


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint that a program can check."""

    id: str  # as IFEval names it: length_constraints:number_words
    kwargs: str  # JSON with sorted keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One row each time a run starts, stops or ends; the newest is its state (view `current_runs`)."""

    run_event_id: str = column("hash of run, attempt and status")
    run_id: str = column("the recipe's name and a hash of recipe, templates, parameters, seed, iteration and parent")
    attempt: int = column("how often the run was started before: 0 at first, 1 after the first resume")
    status: str = column("running, finished, stopped (by the user or a budget) or failed")
    reason: str | None = column("why it stopped or failed, in one sentence")
    recipe_name: str = column("the recipe's name")
    purpose: str = column(
        "data; evaluation: its answers measure a model and never train one; or training: an online trainer's answers and rewards"
    )
    recipe: str = column("the full recipe as canonical JSON, with the command line's overrides")
    recipe_hash: str = column("SHA-256 of recipe and templates")
    templates: dict[str, str] = column("prompt templates used: name and text")
    pairings: dict[str, str] = column("the queries that make its pairs: source and text")
    parameters: str = column("JSON: the prompts' source, how many, and which")
    seed: int = column("all sampling seeds of the run are derived from it")
    iteration: int = column("round of self-play, from 0")
    parent_run_id: str | None = column("the run whose models this one continues")
    code_version: str = column("version of preference-factory")
    package_versions: dict[str, str] = column("versions of the packages that affect results")
    started_at: datetime = column("when this attempt started")
    ended_at: datetime | None = column("when this attempt ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that answered, judged, refined or was trained."""

    model_id: str = column("hash of name and revision")
    name: str = column("its name at the endpoint")
    origin: str = column("where it came from: embedded:NAME, vllm:NAME, a base URL without credentials, or imported")
    revision: str | None = column("revision, or SHA-256 of its weights if they are available")
    training_run_id: str | None = column("the training run that made it")
    chat_template_hash: str | None = column("SHA-256 of the chat template it was asked with; NULL: its server hides it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a language model."""

    call_id: str = column("hash of run and request")
    run_id: str = column("the run that asked")
    request_hash: str = column("hash of model, messages, parameters and seed; the answer's key in the journal")
    stage: str = column("name of the recipe's stage that asked")
    role: str | None = column("the model's role in the recipe; NULL: unknown (an older lake)")
    prompt_id: str = column("the prompt it was asked for")
    response_ids: list[str] = column("the responses it is about, in the order shown by the template")
    template: str | None = column("the run's template that was rendered; NULL: the prompt's own messages were sent")
    model_id: str = column("the model asked")
    endpoint: str = column("who answered: embedded:NAME, or the base URL without credentials")
    messages_hash: str = column("SHA-256 of the rendered messages as JSON; view `call_messages` renders them")
    parameters: str = column("JSON: temperature, top_p, max_tokens and other settings sent")
    seed: int = column("sampling seed sent")
    choices: int = column("number of choices asked for")
    prompt_tokens: int | None = column(
        "tokens of the rendered messages, as often as they were sent for all choices", "tokens"
    )
    completion_tokens: int | None = column("tokens generated, all choices together", "tokens")
    latency_s: float | None = column("time from sending to answer, for the attempt that succeeded", "seconds")
    retries: int = column("attempts before the last")
    finish_reasons: list[str] = column("one per choice: stop, length, ...")
    reasonings: list[str] | None = column(
        "each choice's thinking, split off from its text ('' if it has none); NULL: no choice has any"
    )
    note: str | None = column("what was odd in the reply and so became NULL, in one sentence")
    error: str | None = column("why there is no answer: kind and one sentence; NULL if answered")
    from_journal: bool = column("whether another run paid for the answer, which was read from the journal")
    started_at: datetime = column("when the request was sent, or read from the journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt for the actor."""

    prompt_id: str = column("hash of messages, constraints, reference and the prompt it was evolved from")
    messages: list[Message] = column("the conversation up to the answer: system, user, assistant, user, ...")
    language: str | None = column("ISO 639-1 code")
    subject: str | None = column("everyday subject")
    source: str = column("the bundled set, a file and its SHA-256, or a dataset and its revision")
    licence: str | None = column("SPDX identifier")
    constraints: list[Constraint] = column("verifiable constraints; empty: the verifier cannot judge it")
    reference: str | None = column("reference answer")
    evolved_from: str | None = column("the prompt from which a stage evolve made it")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPrompt:
    """Which prompts a run takes."""

    run_prompt_id: str = column("hash of run and prompt")
    run_id: str = column("the run")
    prompt_id: str = column("the prompt")
    position: int = column("position in the run, from 0; an evolved prompt has its parent's")
    evolved: bool = column("whether this run's evolve stage made it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer to a prompt, from any source."""

    response_id: str = column(
        "hash of run, kind, and call and choice (sampled; of an online training stage, prompt and choice), tree, parent and "
        "child, prompt, model and text (imported), or the edited response and the text"
    )
    run_id: str = column("the run that made it")
    prompt_id: str = column("the prompt it answers")
    kind: str = column(
        "sampled, refined, resampled (best-of-n), reference, imported (`factory import`) or edited (by a reviewer)"
    )
    text: str = column("the answer")
    stage: str | None = column(
        "name of the recipe's stage that made it; of an online training, its step, before or after; NULL for a reference answer"
    )
    model_id: str | None = column("the model that wrote it; NULL: unknown, or the policy at a step of its training")
    choice_index: int | None = column("index of its choice in the call, from 0")
    finish_reason: str | None = column("stop, length, ...; repetition if the text repeats itself")
    tokens: int | None = column("tokens generated for it, including a refiner's reflection", "tokens")
    logprobs: str | None = column("JSON: each token with its log-probability, as the endpoint gave it")
    flaw: str | None = column(
        "what is wrong with the text whatever a judge says: empty, unended (cut at max_tokens), repetitive, unchanged (its "
        "parent's text), echo (repeats the refiner's instruction or critique) or preamble (talks about the rewriting); "
        "NULL: none of these"
    )
    call_id: str | None = column("the call that made it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One judgement by one judge of one response; view `verdicts` combines them."""

    judgement_id: str = column("hash of run, response, judge and vote index")
    run_id: str = column("the run that judged")
    prompt_id: str = column("the prompt that the response answers")
    response_id: str = column("the response that was judged")
    judge: str = column("the judge's name in the recipe; its kind if it has none; of an import, the aspect")
    kind: str = column(
        "votes (a model says yes or no), score (a model gives points), checklist (points for an item), verifier (a "
        "program), reward_model or imported (points that came with an imported answer)"
    )
    decides: bool = column("whether this judge's verdict counts: it is the recipe's first that can judge the response")
    model_id: str | None = column("the judging model")
    template_hash: str | None = column("SHA-256 of the judge's template")
    vote: int = column("vote index, from 0")
    verdict: str | None = column("yes, no or unparsed; NULL: points only")
    points: float | None = column("raw points of a score, or the share of constraints followed (verifier)")
    value: float | None = column("its contribution to the verdict's value; NULL: unparsed", "0..1")
    pass_points: float | None = column("mean points at which a response passes; NULL: points do not decide")
    probabilities: dict[str, float] | None = column("probability of each label where the points were read")
    critique: str = column("the judge's full text")
    call_id: str | None = column("the call that made it")
    item_id: str | None = column("the checklist's item it is about; NULL: the whole response")
    weight: float | None = column("its weight in the verdict's means; NULL: 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Which of two responses to a prompt is better: one row per order in which they were shown."""

    comparison_id: str = column("hash of run, stage, and both responses in the order shown")
    run_id: str = column("the run that compared")
    prompt_id: str = column("the prompt both answer")
    stage: str = column("name of the recipe's stage that compared")
    first_response_id: str = column("the response shown first")
    second_response_id: str = column("the response shown second")
    probability: float | None = column(
        "probability that the first is better, from the labels' log-probabilities, else from votes; NULL: unparsed",
        "0..1",
    )
    votes: list[str] = column("one per choice of the call: first, second or unparsed")
    rationales: list[str] = column("the model's full text, one per vote")
    model_id: str = column("the comparing model")
    template_hash: str = column("SHA-256 of its template")
    call_id: str = column("the call that made it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree search from one failed response."""

    tree_id: str = column("hash of run, root response, strategy and parameters")
    run_id: str = column("the run")
    prompt_id: str = column("the prompt")
    stage: str = column("name of the recipe's stage that searched")
    root_response_id: str = column("the failed response at the root")
    strategy: str = column("bfs, dfs or best_of_n")
    parameters: str = column("JSON: branch, keep, depth, budget, threshold, selection")
    outcome: str = column("accepted, exhausted, budget or failed")
    nodes_expanded: int = column("refinements requested, not counting the root", "nodes")
    accepted_node_id: str | None = column("the accepted node")
    error: str | None = column("why it failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node of a search tree: a refinement (or, at depth 0, the failed response)."""

    node_id: str = column("hash of tree, parent and index among its siblings")
    tree_id: str = column("the tree")
    run_id: str = column("the run")
    prompt_id: str = column("the prompt")
    parent_node_id: str | None = column("the node it was refined from; NULL at the root")
    depth: int = column("0 at the root")
    visit: int = column("order of visit, 0 at the root")
    response_id: str | None = column("its response; NULL if the refiner's output could not be parsed")
    judged_response_id: str | None = column(
        "the response whose judgements give the value: equal texts are judged once per tree"
    )
    critique_judgement_id: str | None = column("the judgement whose critique it was refined from")
    reflection: str | None = column("what the refiner wrote before the refined answer")
    output: str | None = column("the refiner's full output; NULL at the root and in best_of_n")
    flaw: str | None = column("its response's flaw; NULL: none")
    value: float | None = column("the judge's value: share of yes among readable votes", "0..1")
    state: str = column("open, accepted, pruned, unparsed or unjudged")
    call_id: str | None = column("the call that made it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A preference: chosen over rejected."""

    pair_id: str = column("hash of run, source, chosen and rejected")
    run_id: str = column("the run")
    prompt_id: str = column("the prompt")
    chosen_response_id: str = column("the better response")
    rejected_response_id: str = column("the worse response")
    chosen_value: float | None = column("the judge's value of the chosen response", "0..1")
    rejected_value: float | None = column("the judge's value of the rejected response", "0..1")
    source: str = column(
        "the pairing that made it: a query in stores/pairing/ or a user's own; imported; or imported_scores (best over worst)"
    )
    tree_id: str | None = column("the tree it came from, if any")
    node_id: str | None = column("the accepted node, if any")
    similarity: float = column(
        "word-level edit similarity: 1 - Levenshtein distance / words of the longer text", "0..1"
    )
    length_ratio: float | None = column("words of chosen / words of rejected; NULL if rejected is empty")
    shared_prefix_words: int = column("words that both texts share at the start", "words")


TABLES: dict[str, type] = {
    "runs": Run,
    "models": Model,
    "calls": Call,
    "prompts": Prompt,
    "run_prompts": RunPrompt,
    "responses": Response,
    "judgements": Judgement,
    "comparisons": Comparison,
    "trees": Tree,
    "nodes": Node,
    "pairs": Pair,
    "training_sets": TrainingSet,
    "training_runs": TrainingRun,
    "checks": Check,
    "evaluations": Evaluation,
    "loops": Loop,
    "loop_steps": LoopStep,
    "reviews": Review,
    "reruns": Rerun,
    "documents": Document,
    "claims": Claim,
    "checklist_items": ChecklistItem,
    "meta_judgements": MetaJudgement,
}
TABLE_OF: dict[type, str] = {table: name for name, table in TABLES.items()}
