"""One node of a tree in full: its text against another's, its constraints before and after, what judges wrote."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from factory.monitor.difference import Part, parts_of
from factory.verifier.constraints import describe, verify
from factory.view.asking import query_ids
from factory.view.nodes import Opinion, SearchTree, TreeNode
from factory.view.tree import read_texts
from schemas.errors import FactoryError
from schemas.tables import Constraint
from stores.lake import Lake
from stores.likeness import likeness

AGAINST = ("parent", "root", "accepted")
"""what a node's text is compared with"""
CHECKED_CHARACTERS = 30_000
"""of a text that is still checked while a page waits"""
COMPARED_CHARACTERS = 30_000
"""of each text that are shown and compared"""


@dataclass(frozen=True, slots=True)
class Followed:
    """A constraint of the prompt, and whether a node and its parent follow it."""

    constraint_id: str
    asked: str
    """the sentence that asks for it, or its arguments"""
    before: bool | None
    """by the parent; None: it has none, or is not known"""
    after: bool | None
    """by the node itself"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a judge wrote in one judgement."""

    judgement_id: str
    judge: str
    kind: str
    decides: bool
    verdict: str | None
    points: float | None
    critique: str
    call_id: str | None


@dataclass(frozen=True, slots=True)
class NodeInFull:
    """A node with all that is known of it."""

    node: TreeNode
    """with its text as the lake keeps it"""
    against: str
    """parent, root or accepted"""
    other: TreeNode | None
    """the node it is compared with; None: there is none"""
    other_text: str | None
    parts: tuple[Part, ...] | None
    """from the other text to this one; None: there is nothing to compare, or the texts are too long for it"""
    cut: int | None
    """characters of the texts that are shown and compared; None: all"""
    before: tuple[Opinion, ...]
    """the judges' opinions of its parent"""
    constraints: tuple[Followed, ...]
    checked_now: bool
    """whether this version's checkers were asked, as the run recorded no check of each constraint"""
    not_checked: str | None
    """why the constraints' verdicts are not known"""
    said: tuple[Said, ...]
    critique: str | None
    """what it was refined from"""


def read_node(
    lake: Lake, tree: SearchTree, node: TreeNode, against: str = "parent", *, space: bool = False
) -> NodeInFull:
    """Everything about a node.

    Args:
        tree: with the votes of this node and its parent (`with_texts`).
        against: which node's text the difference starts from.
        space: white space counts in the difference.
    """
    others = {"parent": tree.node(node.parent_id), "root": tree.root, "accepted": tree.accepted}
    other, parent = others[against], others["parent"]
    texts = read_texts(lake, [n.response_id for n in (node, other, parent, tree.root) if n is not None])
    text, root_text = (None if n is None else texts.get(n.response_id or "") for n in (node, tree.root))
    other_text = None if other is None else texts.get(other.response_id or "")
    known = text is not None and other_text is not None and other is not node
    begins = [(one or "")[:COMPARED_CHARACTERS] for one in (other_text, text)]
    parts = parts_of(begins[0], begins[1], space=space) if known else None
    alike = None if text is None or root_text is None else likeness(text, root_text).similarity
    ids = [n.judged_id for n in (node, parent) if n is not None and n.judged_id is not None]
    wrote = query_ids(lake, "critiques", sorted(set(ids)), {"run_id": tree.run_id}).to_pylist()
    followed, now, why = _constraints(lake, tree, node, parent, texts)
    return NodeInFull(
        node=replace(node, text=None if text is None else begins[1], likeness=alike),
        against=against,
        other=other,
        other_text=other_text,
        parts=None if parts is None else tuple(parts),
        cut=COMPARED_CHARACTERS if begins != [other_text or "", text or ""] else None,
        before=() if parent is None else parent.opinions,
        constraints=followed,
        checked_now=now,
        not_checked=why,
        said=tuple(
            Said(**{field.name: row[field.name] for field in fields(Said)})
            for row in wrote
            if row["response_id"] == node.judged_id
        ),
        critique=next((row["critique"] for row in wrote if row["judgement_id"] == node.critique_id), None),
    )


def _constraints(
    lake: Lake, tree: SearchTree, node: TreeNode, parent: TreeNode | None, texts: dict[str, str]
) -> tuple[tuple[Followed, ...], bool, str | None]:
    """Each constraint before and after; whether it was checked now; why not, if it could not be."""
    ids = [None if n is None else n.judged_id or n.response_id for n in (parent, node)]
    known = sorted({id for id in ids if id is not None})
    recorded = {
        (r["response_id"], r["position"]): r["followed"]
        for r in query_ids(lake, "checked", known, {"run_id": tree.run_id}).to_pylist()
    }
    now = not any((ids[1], place) in recorded for place in range(len(tree.constraints)))
    verdicts: list[Sequence[bool | None]] = []
    why = None
    for one, id in zip((parent, node), ids, strict=True):
        if not now:
            verdicts.append([recorded.get((id or "", place)) for place in range(len(tree.constraints))])
            continue
        checked, reason = _checked(tree.constraints, None if one is None else texts.get(one.response_id or ""))
        verdicts.append(checked)
        why = reason if one is node else why
    followed = tuple(
        Followed(constraint.id, _asked(constraint, tree.language), before, after)
        for constraint, before, after in zip(tree.constraints, *verdicts, strict=True)
    )
    return followed, now and bool(followed) and why is None, why if followed else None


def _checked(constraints: Sequence[Constraint], text: str | None) -> tuple[Sequence[bool | None], str | None]:
    unknown: list[bool | None] = [None] * len(constraints)
    if text is None or not constraints:
        return unknown, "it has no text"
    if len(text) > CHECKED_CHARACTERS:
        return unknown, f"its text has more than {CHECKED_CHARACTERS:,} characters"
    try:
        return verify(constraints, text).followed, None
    except _ODD_ARGUMENTS as error:
        said = str(error) if isinstance(error, FactoryError) else "a constraint has arguments that no checker takes"
        return unknown, said


# What checkers raise for arguments that no checker takes, which a lake of somebody else may hold.
_ODD_ARGUMENTS = (FactoryError, LookupError, TypeError, ValueError, AttributeError, StopIteration)


def _asked(constraint: Constraint, language: str | None) -> str:
    try:
        return describe(constraint, "zh" if language == "zh" else "en")
    except _ODD_ARGUMENTS:
        return constraint.kwargs
