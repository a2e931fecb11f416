"""The table that compares methods: one row per method and role that it trains, in Markdown."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from factory.evaluation.intervals import share
from factory.publishing.rendering import escaped
from schemas.errors import FactoryError

BEGIN, END = "<!-- methods: begin -->", "<!-- methods: end -->"
"""of the table in a page"""
MADE = (
    "references",
    "imported answers",
    "answers",
    "judgements",
    "comparisons",
    "refinements",
    "claims",
    "checklist items",
    "comparisons of judgements",
)
"""figures of a method's data that are counted for each prompt"""


def table(all_figures: Mapping[str, Mapping[str, Any]]) -> str:
    """One row per method and role that it trains."""
    lines = [
        "| method | data of a prompt | requests | requests a pair | tokens a pair (read + written) | pairs | prompts with a pair | "
        "trained (trainer, rows) | likeness | loss (online: reward), first → last step | peak memory |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for name, found in all_figures.items():
        data = found.get("data")
        first = [f"`{name}`", *(_data_cells(data) if data else ["–"] * 6)]
        rows = [
            [f"{role} ({one['trainer']}, {one['rows']}{_requests(one)})", *_training_cells(one)]
            for role, one in found["trainings"].items()
        ]
        if found.get("reason"):
            rows.append([escaped(f"not done: {found['reason']}"), "–", "–", "–"])
        for number, row in enumerate(rows or [["–"] * 4]):
            lines.append(f"| {' | '.join([*(first if number == 0 else [''] * 7), *row])} |")
    return "\n".join(lines) + "\n"


def _data_cells(data: Mapping[str, Any]) -> list[str]:
    of_each = (_each(data[what] / data["prompts"], what) for what in MADE if data[what])
    pairs = data["pairs"]
    tokens = [None if data[what] is None or not pairs else data[what] / pairs for what in ("read", "written")]
    each = f"{data['requests'] / pairs:.1f}" if pairs else "–"
    paired = share(data["prompts with a pair"], data["prompts given"])
    with_pair = "–" if paired.value is None else f"{_with_interval(asdict(paired), 100, '.0f')} %"
    told = " + ".join("?" if count is None else f"{count:,.0f}" for count in tokens) if pairs else "–"
    return [", ".join(of_each), f"{data['requests']:,}", each, told, f"{pairs:,}", with_pair]


def _requests(one: Mapping[str, Any]) -> str:
    """What an online training asked to be paid by."""
    return f"; {one['requests']:,} requests" if one.get("requests") else ""


def _with_interval(figure: Mapping[str, Any], scale: float, form: str) -> str:
    value, low, high = (format(scale * figure[part], form) for part in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _each(count: float, what: str) -> str:
    return f"1 {what[:-1]}" if count == 1 and what.endswith("s") else f"{count:.3g} {what}"


def _training_cells(one: Mapping[str, Any]) -> list[str]:
    likeness = "–" if one["likeness"]["value"] is None else _with_interval(one["likeness"], 1, ".2f")
    if "loss" not in one:
        return [likeness, "–", "–"]
    curve = one["reward"] or one["loss"]
    loss = f"{'reward ' if one['reward'] else ''}{curve[0]:.4g} → {curve[-1]:.4g}" if curve else "–"
    return [
        likeness,
        loss if one["status"] == "finished" else f"{loss} (diverged)",
        f"{one['peak_bytes'] / 2**30:.2f} GiB",
    ]


def put_in_page(page: Path, text: str) -> None:
    before, begin, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise FactoryError(f"{page} has no lines {BEGIN} and {END} for the table to stand between: add them")
    page.write_text(f"{before}{begin}\n{text}{end}{after}", "utf-8")
