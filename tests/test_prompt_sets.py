"""Training sets of prompts without answers, for online training: built, audited, exported, published and read again."""

import json
from pathlib import Path

import pyarrow.parquet
import pytest
from rich.console import Console

from factory.audit.audit import AuditSettings, Options, audit_training_set, examination
from factory.exporting.export import export
from factory.monitor.build import build_and_report
from factory.publishing.hub import Place
from factory.publishing.publish import Asked, publish
from factory.view.comparing import find, rows_of
from schemas.errors import FactoryError
from schemas.tables import Constraint, Prompt, Run, RunPrompt
from stores.lake import Lake
from stores.training_sets import build_training_set, format_of, read_training_set
from tests.rows import asked, row

TEXTS = (
    "Write a short poem about a lighthouse by the sea at night.",
    "Name three trees that keep their leaves in winter.",
    "Explain how a kettle boils water to somebody of six years.",
    "Give me a recipe for soup with lentils and carrots.",
)


def fill(lake: Lake, purpose: str = "data") -> None:
    rows: list[object] = [
        row(Run, "event", run_id="run", purpose=purpose, recipe='{"name": "spar", "stages": []}', status="finished")
    ]
    for number, text in enumerate(TEXTS):
        constraints = [Constraint("keywords:existence", '{"keywords": ["sea"]}')] if number == 0 else []
        given = {"messages": asked(text), "source": "bundled 1", "licence": "MIT", "language": "en"}
        rows.append(row(Prompt, f"p{number}", constraints=constraints, **given))
        rows.append(row(RunPrompt, f"run p{number}", run_id="run", prompt_id=f"p{number}", position=number))
    lake.append(rows, message="by hand")


def test_a_set_of_prompts_has_one_row_a_prompt_with_its_constraints(lake: Lake) -> None:
    fill(lake)
    built = build_training_set(lake, "prompts", {"held_out": 0}, ["run"])
    assert (built.row.format, format_of("prompts"), built.train.num_rows) == ("prompt", "prompt", 4)
    first = built.train.to_pylist()[0]
    assert first["prompt"] == [{"role": "user", "content": TEXTS[0]}]
    assert first["constraints"] == [{"id": "keywords:existence", "kwargs": '{"keywords": ["sea"]}'}]
    assert (first["prompt_id"], first["run_id"], first["reference"]) == ("p0", "run", None)
    again = read_training_set(lake, "prompts@1")
    assert again.row.fingerprint == built.row.fingerprint and again.train.equals(built.train)


def test_building_it_shows_prompts_and_no_answers(lake: Lake, tmp_path: Path) -> None:
    fill(lake)
    console = Console(record=True, width=120)
    build_and_report(lake, "prompts", {"held_out": 0}, None, tmp_path / "out", console)
    said = console.export_text()
    assert "prompts@1" in said and "none" in said
    assert pyarrow.parquet.read_table(tmp_path / "out" / "train.parquet").num_rows == 4


def test_a_run_that_an_online_training_wrote_is_no_run_to_build_from(lake: Lake, tmp_path: Path) -> None:
    fill(lake, purpose="training")
    with pytest.raises(FactoryError, match="has no such run: it has none"):
        build_and_report(lake, "prompts", {}, None, tmp_path / "out", Console(quiet=True))


def test_its_audit_looks_at_prompts_and_says_what_does_not_apply(lake: Lake, tmp_path: Path) -> None:
    fill(lake)
    build_training_set(lake, "prompts", {"held_out": 0}, ["run"])
    held_back = tmp_path / "held.jsonl"
    held_back.write_text(json.dumps({"prompt": TEXTS[1]}) + "\n")
    report = audit_training_set(lake, "prompts@1", Options({}, against=(str(held_back),)))
    found = {one.name: one for one in report.findings}
    assert found["overlap"].measured.figure == 0.25 and found["overlap"].measured.examples == ("row 2",)
    assert found["duplicate_rows"].measured.figure == 0 and found["licences"].measured.figure == 0
    assert found["longer_chosen"].status == "not applicable"
    assert found["longer_chosen"].measured.why_not == "the rows are prompts without answers"


def test_prompts_that_overlap_with_an_evaluation_set_are_left_out(lake: Lake, tmp_path: Path) -> None:
    fill(lake)
    held_back = tmp_path / "held.jsonl"
    held_back.write_text(json.dumps({"prompt": TEXTS[1]}) + "\n")
    examine = examination(lake, AuditSettings({"longer_chosen": 0.5}, (str(held_back),)), ())
    built = build_training_set(lake, "prompts", {"held_out": 0}, ["run"], examine)
    assert built.train.column("prompt_id").to_pylist() == ["p0", "p2", "p3"]
    assert read_training_set(lake, "prompts@1").train.num_rows == 3


def test_exports_have_it_where_the_format_has_prompts_and_say_where(lake: Lake, tmp_path: Path) -> None:
    fill(lake)
    build_training_set(lake, "prompts", {"held_out": 0}, ["run"])
    for to, file in (("trl", "train.parquet"), ("jsonl", "train.jsonl"), ("parquet", "train.parquet")):
        exported = export(lake, "prompts@1", to, tmp_path / to)
        assert exported.forms[0].rows[file] == 4
    assert "trl rloo" in (tmp_path / "trl" / "EXPORT.md").read_text()
    assert pyarrow.parquet.read_table(tmp_path / "trl" / "train.parquet").column_names == ["prompt"]
    with pytest.raises(
        FactoryError, match="holds prompts without answers, which the export to axolotl has no form for"
    ):
        export(lake, "prompts@1", "axolotl", tmp_path / "axolotl")


def test_it_can_be_published_and_its_card_says_what_it_is_for(lake: Lake, tmp_path: Path) -> None:
    fill(lake)
    build_training_set(lake, "prompts", {"held_out": 0}, ["run"])
    place = Place("user/prompts", "dataset")
    done = publish(
        lake, "prompts@1", Asked(place, allowed=("overlap",), against=()), lambda words: None, out=tmp_path / "o"
    )
    assert "4 prompts without answers for online training" in done.card
    assert "factory train online --set prompts@1" in done.card


def test_there_is_nothing_in_it_to_compare(lake: Lake) -> None:
    fill(lake)
    build_training_set(lake, "prompts", {"held_out": 0}, ["run"])
    with pytest.raises(FactoryError, match="a set of prompts has no answers to compare"):
        rows_of(lake, find(lake, "set:prompts@1"))
