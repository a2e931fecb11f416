"""A search tree as a person reads it: its nodes, what judges said of them, and what it cost. `tree.py` reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.view.selection import Placed, Ranked, siblings_of
from schemas.tables import Constraint, Message


@dataclass(frozen=True, slots=True)
class Vote:
    """One judgement without its text."""

    verdict: str | None
    """yes, no or unparsed; None: points only"""
    value: float | None
    points: float | None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one judge said of a response."""

    judge: str
    kind: str
    """votes, score, verifier, ..."""
    decides: bool
    votes: tuple[Vote, ...]
    passed: bool | None
    """None: a tie, or nothing readable"""

    def count(self, verdict: str) -> int:
        return sum(vote.verdict == verdict for vote in self.votes)


def votes_of(opinions: Sequence[Opinion]) -> dict[str, int]:
    """How many of all judges' votes say yes, no, or cannot be read."""
    return {word: sum(opinion.count(word) for opinion in opinions) for word in ("yes", "no", "unparsed")}


@dataclass(frozen=True, slots=True)
class TreeNode(Placed):
    """A node of a tree."""

    response_id: str | None
    judged_id: str | None
    """the response whose judgements count: equal texts are judged once"""
    critique_id: str | None
    """the judgement it was refined from"""
    call_id: str | None
    why: str = ""
    """why it was kept or pruned, in a few words"""
    text: str | None = None
    """the answer, as read from the refiner's output; None: not read yet, or there is none"""
    reflection: str | None = None
    output: str | None = None
    tokens: int | None = None
    """generated for it"""
    likeness: float | None = None
    """to the root, 0..1, word by word"""
    opinions: tuple[Opinion, ...] = ()
    failing: tuple[str, ...] = ()
    """constraints that its text does not follow, by name, as far as the run recorded a check of each (setting `checks`)"""

    @property
    def disagreement(self) -> bool:
        """Whether a program and a model that judged it disagree."""
        programs = {o.passed for o in self.opinions if o.kind == "verifier"} - {None}
        models = {o.passed for o in self.opinions if o.kind != "verifier"} - {None}
        return bool(programs and models and programs != models)


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens, None where an endpoint did not tell them."""

    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    path_tokens: int | None
    """generated for the nodes on the accepted path and their judgements; None: no node was accepted, or not told"""
    estimated: bool
    """whether the path's tokens are a share of its requests', as the endpoint told none of single choices"""
    cost: float | None
    """at the recipe's prices, in their currency; None: it has none, or the endpoint did not tell the tokens"""


@dataclass(frozen=True, slots=True)
class SearchTree:
    """A tree without the texts of its nodes."""

    tree_id: str
    run_id: str
    recipe: str | None
    round: int | None
    stage: str
    prompt_id: str
    messages: tuple[Message, ...]
    prompt: str
    """the conversation as one text"""
    constraints: tuple[Constraint, ...]
    language: str | None
    strategy: str
    parameters: dict[str, Any]
    outcome: str
    error: str | None
    expanded: int
    accepted_id: str | None
    pair_id: str | None
    similarity: float | None
    prices: dict[str, tuple[float, float]]
    """by role, of a million tokens read and generated; empty: the recipe has none"""
    reflects: dict[str, bool]
    """of the run's templates by name: whether the answer comes after a reflection"""
    nodes: tuple[TreeNode, ...]
    """all of them, in order of expansion"""
    spent: Spent

    @property
    def root(self) -> TreeNode | None:
        return next((node for node in self.nodes if node.parent_id is None), None)

    def node(self, node_id: str | None) -> TreeNode | None:
        return next((node for node in self.nodes if node.node_id == node_id), None)

    @property
    def accepted(self) -> TreeNode | None:
        return self.node(self.accepted_id)

    def path(self, node_id: str | None) -> list[TreeNode]:
        """From the root to a node."""
        by_id = {node.node_id: node for node in self.nodes}
        found: list[TreeNode] = []
        while node_id in by_id and len(found) < len(by_id):
            found.append(by_id[node_id])
            node_id = by_id[node_id].parent_id
        return found[::-1]

    def ranked(self, node: TreeNode) -> list[Ranked]:
        """The nodes that competed with this one, in the order of the selection."""
        return siblings_of(self.nodes, node, self.strategy, {one.node_id: one.why for one in self.nodes})
