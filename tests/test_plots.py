"""A loop's plot holds names as text: no link, no markup, nothing that a viewer of the SVG would load or run."""

import re
import xml.etree.ElementTree
from pathlib import Path

import pytest

from factory.monitor.rounds import plot_rounds
from schemas.tables import Evaluation, LoopStep, Run
from stores.lake import Lake
from tests.rows import row

HOSTILE = (
    '<a href="https://example.org">click</a>',
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</text><style>*{display:none}</style>",
    "&lt;a href='x'&gt;y&lt;/a&gt;",
    "[x](javascript:alert(1))",
    r"\(\href{javascript:alert(1)}{x}\)",
    "<svg onload=alert(1)>\x1b[31m\u202e",
)
DRAWN = {
    "svg",
    "style",
    "g",
    "rect",
    "path",
    "line",
    "polyline",
    "circle",
    "text",
    "tspan",
    "defs",
    "clipPath",
    "title",
}
"""what a plot consists of"""


@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_a_lake_are_text_in_the_plot(lake: Lake, tmp_path: Path, name: str) -> None:
    rows: list[object] = []
    for number in (0, 1):
        run, model = f"run{number}", f"m{number}"
        rows += [
            row(Run, f"{run}/0", run_id=run, purpose="evaluation", recipe="{}"),
            row(LoopStep, f"s{number}", loop_id=name, round=number, step=f"evaluate {name}", role=name, run_id=run, model_id=model),
            row(Evaluation, f"e{number}", run_id=run, model_id=model, benchmark=name, role=name, metric="prompt_strict",
                value=0.5, low=0.4, high=0.6),
        ]  # fmt: skip
    lake.append(rows, message="by hand")
    file = tmp_path / "rounds.svg"
    assert plot_rounds(lake, name, file)
    text = file.read_text("utf-8")
    plot = xml.etree.ElementTree.fromstring(text)  # nothing in it ends an element early
    elements = [one for one in plot.iter()]
    assert {one.tag.rpartition("}")[2] for one in elements} <= DRAWN
    attributes = {key.rpartition("}")[2].lower(): value for one in elements for key, value in one.attrib.items()}
    assert not [key for key in attributes if key == "href" or key.startswith("on")]
    assert "javascript:" not in "".join(attributes.values())
    words = re.sub(r"\s+", " ", "".join(plot.itertext()))
    assert "prompt_strict" in words and "\x1b" not in text and "\u202e" not in text
    style = "".join(one.text or "" for one in elements if one.tag.endswith("style"))
    assert "display:none" not in style and "@import" not in style and "url(" not in style
