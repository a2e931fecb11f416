"""Training sets for tests of the audit: one that no check finds fault with, to which a test adds a fault."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl
import pyarrow as pa

from factory.audit.checks import CHECKS
from factory.audit.finding import Finding, judged, not_applicable
from factory.audit.rows import Audited, Benchmark, Trainer, audited
from factory.prompts.bundled import read_tasks

PLAIN = (
    "The first thing worth knowing is how people handled this before, since their habits still shape what works today.",
    "It helps to begin small and look at the outcome before anything larger is planned for the weeks that follow.",
    "Most of the effort goes into preparation, and what remains is patience together with a little bit of care.",
    "A neighbour or a friend who has done it already can save a lot of time with two or three honest remarks.",
    "There is more than one way to go about it, so choose the one that fits the time and the tools at hand.",
)
TASKS = [task.text for task in read_tasks() if task.language == "en"]
Rows = list[dict[str, Any]]


def asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def answered(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def pairs(count: int = 60) -> Rows:
    """Pairs without a fault: in half of them the chosen side is a word longer, in half a word shorter."""
    rows = []
    for n, task in enumerate(TASKS[:count]):
        subject = " ".join(task.split()[:12]).rstrip(".,:;!?")
        sides = [
            f"{PLAIN[(n + side) % 5]} Now for what was asked, {subject}, as it was put. {PLAIN[(n + side + 2) % 5]}"
            for side in (0, 1)
        ]
        shorter = min(sides, key=lambda side: len(side.split()))
        gap = abs(len(sides[0].split()) - len(sides[1].split()))
        sides[sides.index(shorter)] += " then" * gap
        sides[n % 2] += " too"
        rows.append(
            {
                "split": "held_out" if n % 5 == 0 else "train",
                "prompt": asked(task),
                "chosen": answered(sides[0]),
                "rejected": answered(sides[1]),
                "pair_id": f"pair {n:03}",
                "prompt_id": f"prompt {n:03}",
                "chosen_win_rate": 0.7,
                "rejected_win_rate": 0.3,
                "chosen_value": 1.0,
                "rejected_value": 0.2,
                "similarity": 0.5 + n / 200,
            }
        )
    return rows


def lineage(count: int, **given: Sequence[Any]) -> pl.DataFrame:
    """What a lake would know of so many rows: two models of which neither is always preferred, and free licences."""
    values: dict[str, Sequence[Any]] = {
        "chosen_model": [("qwen", "smollm")[n % 2] for n in range(count)],
        "rejected_model": [("smollm", "qwen")[n % 2] for n in range(count)],
        "chosen_finish_reason": ["stop"] * count,
        "chosen_flaw": [None] * count,
        "chosen_flaw_known": [True] * count,
        "source": ["bundled"] * count,
        "licence": ["CC0-1.0"] * count,
        "kinds": [["keywords:existence"]] * count,
        "constraint_gap": [1 + n % 3 for n in range(count)],
        **given,
    }
    schema = {"chosen_flaw": pl.String, "kinds": pl.List(pl.String)}
    return pl.DataFrame(values, schema_overrides=schema)


def a_set(
    rows: Rows,
    *,
    known: Mapping[str, Sequence[Any]] | None = None,
    facts: Mapping[str, pl.DataFrame] | None = None,
    benchmarks: tuple[Benchmark, ...] = (),
    trainer: Trainer | None = None,
) -> Audited:
    format = "preference" if "chosen" in rows[0] else "prompt_completion"
    table = pa.Table.from_pylist(rows)
    return audited("mine@1", format, table, lineage(len(rows), **(known or {})), facts, benchmarks, trainer)


def finding(name: str, given: Audited) -> Finding:
    """What one check finds."""
    (check,) = (check for check in CHECKS if check.name == name)
    reason = given.why_not(check.needs)
    return judged(check, not_applicable(reason) if reason else check.run(given))


def scores(rows: Rows, **given: Any) -> pl.DataFrame:
    """A judge's verdict on each side of each row: five votes, all yes for the chosen side."""
    base: dict[str, Any] = {
        "judge": "votes",
        "kind": "votes",
        "decides": True,
        "points": None,
        "unparsed_votes": 0,
        **given,
    }
    made = [
        {"id": row["pair_id"], "side": side, "response_id": f"{row['pair_id']} {side}", "passed": side == "chosen",
         "value": float(side == "chosen"), "yes_votes": 5 * (side == "chosen"), "no_votes": 5 * (side != "chosen"), **base}
        for row in rows for side in ("chosen", "rejected")
    ]  # fmt: skip
    return pl.DataFrame(made, schema_overrides={"points": pl.Float64})


KINDS = frozenset({"keywords:existence"})
UNSEEN = Benchmark(
    "unseen",
    "0" * 64,
    ("Which of the many lighthouses along that northern coast was the first to be lit by gas?",),
    frozenset({"a:b"}),
)


@cache
def whole(count: int = 60) -> Audited:
    """A set without a fault to which every check but two applies: pairs of several turns, and harmful prompts."""
    rows = pairs(count)
    return a_set(rows, facts=facts_of(rows), benchmarks=(UNSEEN,), trainer=as_trained(rows))


def facts_of(rows: Rows) -> dict[str, pl.DataFrame]:
    """Votes that the verifier shares, scores of three aspects, and comparisons that do not turn with the order."""
    points = [
        scores(rows, judge=judge, kind="imported", decides=judge == "overall_score").with_columns(
            points=pl.Series([float(2 + (n + place) % 3) * (2 if judge == "overall_score" else 1) for n in range(2 * len(rows))]),
            yes_votes=pl.lit(0, pl.Int64), no_votes=pl.lit(0, pl.Int64), passed=pl.lit(None, pl.Boolean),
        )
        for place, judge in enumerate(("overall_score", "helpfulness", "honesty"))
    ]  # fmt: skip
    # One answer has the best score of each, or their scales would seem to end below it.
    tops = [
        part.with_columns(points=pl.when(pl.int_range(pl.len()) == 0).then(10.0 if n == 0 else 5.0).otherwise("points"))
        for n, part in enumerate(points)
    ]
    verifier = scores(rows, judge="verifier", kind="verifier", decides=False, points=1.0)
    orders = pl.DataFrame({"id": [row["pair_id"] for row in rows], "one": 0.9, "other": 0.1})
    critiques = pl.DataFrame(
        {"id": [row["pair_id"] for row in rows], "side": "chosen", "judge": "score", "points": 4.0, "said": 4.0}
    )
    scored = pl.concat([scores(rows), verifier, *tops], how="vertical_relaxed")
    return {"scores": scored, "critiques": critiques, "orders": orders}


def as_trained(rows: Rows, **given: Any) -> Trainer:
    values = {"prompt_tokens": 40, "longest": 200, "equal": False, **given}
    return Trainer(2048, pl.DataFrame({"id": [row["pair_id"] for row in rows], **values}))
