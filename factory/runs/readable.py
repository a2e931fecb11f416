"""Stops a run in which hardly anything that its models write can be read, instead of paying for all of it.

Votes, scores, comparisons, refinements and checklists are counted as they come. After the first WARN_AFTER of a kind the run warns,
after STOP_AFTER it stops, if more than `budget.max_unreadable` of them are unreadable. A run that ends like that has not
finished either.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from factory.inference.budget import BudgetReached
from factory.recipes.recipe import Recipe
from schemas.tables import Call, ChecklistItem, Comparison, Judgement, MetaJudgement, Node, Tree
from stores.lake import Lake
from stores.sql import sql

WARN_AFTER, STOP_AFTER = 20, 50
FEWEST = 5
"""A run that ends with fewer, such as one tree, says nothing about its templates."""
QUOTED_CHARACTERS = 160

Kind = tuple[str, str]
"""as in view `readings`: votes, scores, …, and the name of the judge or stage"""


@dataclass(slots=True)
class Readable:
    """What a run could read so far."""

    recipe: Recipe
    notes: list[str]
    """takes the warnings"""
    total: Counter[Kind] = field(default_factory=Counter)
    unreadable: Counter[Kind] = field(default_factory=Counter)
    warned: set[Kind] = field(default_factory=set)

    def add_earlier(self, lake: Lake, run_id: str) -> None:
        """Counts what earlier attempts wrote."""
        for row in lake.query("FROM readings WHERE run_id = $id", {"id": run_id}).to_pylist():
            self.total[row["kind"], row["name"]] += row["total"]
            self.unreadable[row["kind"], row["name"]] += row["unreadable"]

    def add(self, rows: Iterable[Any]) -> None:
        """Counts rows that a stage made.

        Raises:
            BudgetReached: too much of a kind on which something depends is unreadable.
        """
        for kind, decides, readable, text in _readings(list(rows)):
            self.total[kind] += 1
            if readable:
                continue
            self.unreadable[kind] += 1
            total, unreadable = self.total[kind], self.unreadable[kind]
            if unreadable <= self.recipe.budget.max_unreadable * total:
                continue
            if total >= WARN_AFTER and kind not in self.warned:
                self.warned.add(kind)
                self.notes.append(unreadable_sentence(self.recipe, kind, total, unreadable, text))
            if total >= STOP_AFTER and decides:
                raise _stop(self.recipe, kind, total, unreadable, text)


def _readings(rows: list[Any]) -> Iterator[tuple[Kind, bool, bool, str]]:
    """What can be read or not in these rows: kind, whether anything depends on it, whether it is readable, its text."""
    stages = {tree.tree_id: tree for tree in rows if isinstance(tree, Tree)}
    with_items = {item.call_id for item in rows if isinstance(item, ChecklistItem)}
    for row in rows:
        match row:
            case Judgement(kind="votes" | "score" | "checklist"):
                yield (_OF_JUDGES[row.kind], row.judge), row.decides, row.verdict != "unparsed", row.critique
            case MetaJudgement():
                for vote, text in zip(row.votes, row.rationales, strict=True):
                    yield ("meta-judgements", row.stage), True, vote != "unparsed", text
            case Call(error=None) if row.template is not None and row.template.rpartition(".")[2] == "checklist":
                yield ("checklists", row.stage), True, row.call_id in with_items, row.note or ""
            case Comparison():
                for vote, text in zip(row.votes, row.rationales, strict=True):
                    yield ("comparisons", row.stage), True, vote != "unparsed", text
            case Node() if row.output is not None and row.tree_id in stages:
                yield ("refinements", stages[row.tree_id].stage), True, row.state != "unparsed", row.output


def check_readable(lake: Lake, run_id: str, recipe: Recipe) -> None:
    """Refuses to call a run finished in which nothing, or hardly anything, could be read.

    Raises:
        BudgetReached: as from `Readable.add`, also where there were too few to stop the run.
    """
    for row in lake.query(sql("report/unreadable"), {"run_id": run_id}).to_pylist():
        total, unreadable = row["total"], row["unreadable"]
        enough = total >= WARN_AFTER or (unreadable == total and total >= FEWEST)
        if enough and row["decides"] and unreadable > recipe.budget.max_unreadable * total:
            raise _stop(recipe, (row["kind"], row["name"]), total, unreadable, row["example"] or "")


def _stop(recipe: Recipe, kind: Kind, total: int, unreadable: int, text: str) -> BudgetReached:
    return BudgetReached(unreadable_sentence(recipe, kind, total, unreadable, text), "budget.max_unreadable")


def unreadable_sentence(recipe: Recipe, kind: Kind, total: int, unreadable: int, text: str) -> str:
    """How much of a kind is unreadable, one of them, and the setting to change."""
    what, name = kind
    # The same as for answers (`factory/work/textless.py`).
    thought = "" if text.strip() else "raise its max_tokens or switch thinking off, if they were spent on it; or "
    return (
        f"{unreadable:,} of {total:,} {what} of {name} cannot be read ({quoted(text)}): "
        f"{thought}{_advice(recipe, what, name)}"
    )


def quoted(text: str) -> str:
    """How an unreadable text ends, where its verdict should be."""
    line = " ".join(text.split())
    if not line:
        return "one is empty"
    return f"one ends '{'…' * (len(line) > QUOTED_CHARACTERS)}{line[-QUOTED_CHARACTERS:]}'"


_OF_JUDGES = {"votes": "votes", "score": "scores", "checklist": "item scores"}
_TEMPLATES = {
    "votes": "judge",
    "scores": "score",
    "item scores": "item",
    "comparisons": "compare",
    "refinements": "refine",
    "checklists": "checklist",
    "meta-judgements": "meta_judge",
}
_WANTED = {
    "votes": "ends with 'Final Judgement: Yes' or 'Final Judgement: No'",
    "scores": "ends with 'Score: ' and a number",
    "comparisons": "ends with 'Preferred response: 1' or 'Preferred response: 2'",
    "refinements": "writes a line 'Refined response:' before the answer",
    "item scores": "answers with a number from 0 to 100",
    "checklists": "writes one item per line, each a question",
    "meta-judgements": "ends with 'Preferred judgement: 1' or 'Preferred judgement: 2'",
}
_WANTED_OF_VOTES = {"json": "writes the JSON object that it asks for", "word": "answers with Yes or No"}


def _advice(recipe: Recipe, what: str, name: str) -> str:
    template, wanted, or_else = _TEMPLATES[what], _WANTED[what], ""
    for entry in recipe.stages:
        renders = {local: in_run for local, in_run, _ in entry.templates()}
        # A stage and a judge may share their name, but not what they render.
        if name == (entry.judge_name if entry.stage == "judge" else entry.name) and _TEMPLATES[what] in renders:
            template = renders[_TEMPLATES[what]]
            if what == "votes":
                format = getattr(entry.settings, "verdict", "text")
                wanted = _WANTED_OF_VOTES.get(format, wanted)
                or_else = f", or set stages.{entry.name}.verdict={'json' if format == 'text' else 'text'}"
            if what in ("comparisons", "meta-judgements") and not getattr(entry.settings, "reasons", True):
                wanted = "answers with 1 or 2"
    return f"use a model that {wanted}, or change templates.{template}{or_else}, and run it again; or as it is"
