"""The audit of training sets in a lake: lineage, thresholds that refuse, and prompts that are kept out."""

import json
from pathlib import Path
from typing import Any

import pytest

from factory.audit.audit import AuditSettings, Options, Report, audit_training_set, examination
from factory.audit.benchmarks import benchmarks_of
from factory.audit.finding import Finding
from factory.cli.main import main
from factory.recipes.reading import load_recipe
from factory.runs.audit_settings import settings_of, settings_of_set
from schemas.errors import FactoryError
from schemas.tables import Constraint, Judgement, Model, Pair, Prompt, Response, Run, TrainingSet, Tree
from stores.lake import Lake
from stores.training_sets import TrainingSetRows, build_training_set, find_training_set, read_training_set
from tests.audits import TASKS, pairs
from tests.rows import asked, compared, row, scores, votes
from tests.sets import TEMPLATES

PROMPTS = 24
ITEM = "Say in a few words how the old mill at the river came to lose its wheel that winter"


def points(response: str, prompt: str, share: float) -> Judgement:
    return row(Judgement, f"{response}/verifier", run_id="run", prompt_id=prompt, response_id=response, judge="verifier",
               kind="verifier", points=share, value=share, verdict="yes" if share == 1 else "no")  # fmt: skip


def fill(lake: Lake, recipe: str = "{}") -> None:
    """A run: one pair a prompt, refined over sampled, judged by votes and by the verifier; prompt 0 is an evaluation's."""
    rows: list[Any] = [row(Run, "event", run_id="run", templates=TEMPLATES, recipe=recipe, purpose="data")]
    rows += [row(Model, f"m{n}", name=name) for n, name in enumerate(("smollm", "gpt-4o"))]
    rows.append(row(Tree, "t07", run_id="run", parameters='{"accept_flawed":true}'))  # else no flawed answer is chosen
    constraints = [Constraint("keywords:existence", '{"keywords": ["a"]}'), Constraint("punctuation:no_comma", "{}")]
    for n, made in enumerate(pairs(PROMPTS)):
        p, chosen, rejected = f"p{n:02}", f"c{n:02}", f"r{n:02}"
        text = f"{ITEM}, please?" if n == 0 else made["prompt"][0]["content"]
        rows.append(row(Prompt, p, messages=asked(text), source="bundled", licence="CC0-1.0", constraints=constraints))
        for id, side, kind in ((chosen, "chosen", "refined"), (rejected, "rejected", "sampled")):
            rows.append(
                row(Response, id, run_id="run", prompt_id=p, kind=kind, text=made[side][0]["content"], model_id=f"m{n % 2}",
                    finish_reason="length" if id == "c05" else "stop", flaw="echo" if id == "c07" else None)
            )  # fmt: skip
        rows += votes(chosen, "yyyyn" if n == 3 else "yyyyy", prompt_id=p) + votes(rejected, "nnnnn", prompt_id=p)
        rows += [points(chosen, p, 1.0), points(rejected, p, 1.0 if n == 9 else 0.5)]
        rows.append(
            row(Pair, f"x{n:02}", run_id="run", prompt_id=p, chosen_response_id=chosen, rejected_response_id=rejected,
                source="imported", chosen_value=1.0, rejected_value=0.0, similarity=0.5, tree_id=f"t{n:02}")
        )  # fmt: skip
        said = f"It is clear enough. Overall score: {1 if n == 11 else 9}"
        rows += scores(chosen, 9, prompt_id=p, decides=False, critique=said)
        rows += [
            compared(chosen, rejected, 0.9, prompt_id=p),
            compared(rejected, chosen, 0.1 + 0.8 * (n == 2), prompt_id=p),
        ]
    lake.append(rows, message="by hand")


def build(
    lake: Lake, settings: AuditSettings | None = None, allowed: tuple[str, ...] = (), name: str = "imported_dpo"
) -> TrainingSetRows:
    examine = None if settings is None else examination(lake, settings, allowed)
    return build_training_set(lake, name, {}, ["run"], examine)


def by_name(report: Report) -> dict[str, Finding]:
    return {found.name: found for found in report.findings}


@pytest.fixture
def full(lake: Lake) -> Lake:
    fill(lake)
    return lake


@pytest.fixture
def item(tmp_path: Path) -> str:
    (tmp_path / "held back.jsonl").write_text(json.dumps({"prompt": ITEM}) + "\n", "utf-8")
    return str(tmp_path / "held back.jsonl")


# Lineage


def test_an_audit_follows_rows_to_their_answers_judges_and_prompts(full: Lake, item: str) -> None:
    build(full)
    found = by_name(audit_training_set(full, "imported_dpo", Options({}, against=(item,))))
    assert found["flawed_chosen"].measured.detail == {"echo": 1}
    assert found["truncated_chosen"].measured.detail["ended at max_tokens"] == 1
    assert (
        found["small_contrast"].measured.examples == ("x09",)
        and found["small_contrast"].measured.detail["mean gap"] == 0.96
    )
    assert found["split_votes"].measured.examples == ("x03",)
    assert found["judge_agreement"].measured.examples == ("x09",)
    assert found["order_flips"].measured.examples == ("x02",)
    assert (
        found["score_against_critique"].measured.examples == ("x11",)
        and found["score_against_critique"].measured.rows == PROMPTS
    )
    assert found["overlap"].measured.examples == ("x00",) and found["overlap"].status == "fail"
    assert found["generator_terms"].measured.detail == {"gpt-4o": "OpenAI's terms: not for competing models"}
    assert found["generator_gives_label"].measured.why_not == "both sides of each pair were written by the same model"
    assert found["licences"].status == found["known_faults"].status == "pass"


def test_an_audit_reads_the_lake_as_it_was_when_the_set_was_built(full: Lake) -> None:
    build(full)
    before = audit_training_set(full, "imported_dpo", Options({}, against=())).plain()
    full.append([row(Judgement, "late", run_id="run", prompt_id="p00", response_id="c00", judge="votes", kind="votes",
                     decides=True, vote=9, verdict="no", value=0.0)], message="later")  # fmt: skip
    assert audit_training_set(full, "imported_dpo@1", Options({}, against=())).plain() == before


def test_constraint_gap_and_likeness_are_columns_to_choose_by(full: Lake, tmp_path: Path) -> None:
    (tmp_path / "mine.sql").write_text(
        "-- mine.sql: contrast and likeness.\n-- In: $run_ids VARCHAR[].\n-- Out: preference; ordered.\n"
        "WITH best AS (SELECT pairs.* FROM pairs JOIN pair_contrast AS c USING (pair_id) "
        "WHERE c.similarity >= 0.5 AND c.constraint_gap >= 1 AND abs(c.length_gap) <= 1 AND list_contains($run_ids, pairs.run_id))\n"
        "FROM preference_rows('best', 'mine', 0.0) ORDER BY pair_id",
        "utf-8",
    )
    built = build_training_set(full, str(tmp_path / "mine.sql"), {}, ["run"])
    assert built.train.column("pair_id").to_pylist() == [f"x{n:02}" for n in range(PROMPTS) if n != 9]
    assert read_training_set(full, "mine").train == built.train


# Prompts kept out


def test_prompts_that_overlap_are_left_out_and_kept_as_a_set_of_their_own(full: Lake, item: str) -> None:
    built = build(full, AuditSettings({}, (item,)))
    kept = [*built.train.column("pair_id").to_pylist(), *built.held_out.column("pair_id").to_pylist()]
    assert len(kept) == PROMPTS - 1 and "x00" not in kept
    assert built.removed is not None and built.removed.name == "imported_dpo.removed"
    assert json.loads(str(built.row.audit))["removed_prompts"] == 1
    assert list(json.loads(str(built.row.audit))["decontaminated"]) == ["held back.jsonl"]  # no path of this machine
    again, removed = read_training_set(full, "imported_dpo@1"), read_training_set(full, "imported_dpo.removed@1")
    assert again.train == built.train and again.held_out == built.held_out
    assert [*removed.train.column("pair_id").to_pylist(), *removed.held_out.column("pair_id").to_pylist()] == ["x00"]
    assert {"prompt_id", "run_id", "class"} <= set(removed.train.column_names)
    assert by_name(audit_training_set(full, "imported_dpo", Options({}, against=(item,))))["overlap"].status == "pass"


def test_the_same_removal_is_the_same_set_and_none_is_another(full: Lake, item: str) -> None:
    first = build(full, AuditSettings({}, (item,)))
    assert build(full, AuditSettings({}, (item,))).row == first.row
    plain = build(full).row
    assert plain.version == 2 and build(full).row == plain
    assert sorted(f"{t.name}@{t.version}" for t in full.read(TrainingSet)) == [
        "imported_dpo.removed@1", "imported_dpo@1", "imported_dpo@2",
    ]  # fmt: skip


def test_without_an_overlap_nothing_is_removed(full: Lake, tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text(
        '{"prompt": "Name the three lakes that lie on the way from the pass to the sea."}\n'
    )
    built = build(full, AuditSettings({}, (str(tmp_path / "other.jsonl"),)))
    assert built.removed is None and built.row.train_rows + built.row.held_out_rows == PROMPTS
    assert json.loads(str(built.row.audit))["removed_prompts"] == 0


def test_a_set_whose_prompts_all_overlap_is_not_built(full: Lake, tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": text}) for text in (ITEM, *TASKS[:PROMPTS])]
    (tmp_path / "all.jsonl").write_text("\n".join(lines), "utf-8")
    with pytest.raises(FactoryError, match="has no rows left: all its prompts overlap"):
        build(full, AuditSettings({}, (str(tmp_path / "all.jsonl"),)))
    assert full.read(TrainingSet) == []


def test_a_set_without_prompt_ids_cannot_be_decontaminated(full: Lake, item: str, tmp_path: Path) -> None:
    (tmp_path / "mine.sql").write_text(
        "-- mine.sql: no ids.\n-- In: nothing.\n-- Out: preference; ordered.\n"
        "SELECT * EXCLUDE (prompt_id) FROM preference_rows('pairs', 'mine', 0.0) ORDER BY pair_id",
        "utf-8",
    )
    with pytest.raises(FactoryError, match=r"mine cannot be decontaminated, as its rows have no prompt_id"):
        build(full, AuditSettings({}, (item,)), name=str(tmp_path / "mine.sql"))


# Thresholds


def test_a_figure_beyond_its_threshold_refuses_the_set_with_the_reason(full: Lake) -> None:
    with pytest.raises(
        FactoryError, match=r"imported_dpo is not built: flawed_chosen is 0\.0417, and may be at most 0, as in x07"
    ):
        build(full, AuditSettings({"flawed_chosen": 0.0}, ()))
    assert full.read(TrainingSet) == []


def test_what_is_allowed_is_in_the_sets_row(full: Lake) -> None:
    plain = build(full)
    built = build(full, AuditSettings({"flawed_chosen": 0.0, "longer_chosen": 0.9}, ()), ("flawed_chosen",))
    assert (plain.row.version, built.row.version) == (1, 2) and built.row.fingerprint == plain.row.fingerprint
    checks = json.loads(str(find_training_set(full, "imported_dpo@2").audit))["checks"]
    assert checks["flawed_chosen"]["allowed"] and checks["flawed_chosen"]["status"] == "fail"
    assert checks["longer_chosen"] == {**checks["longer_chosen"], "status": "pass", "allowed": False, "threshold": 0.9}
    assert (
        build(full, AuditSettings({"flawed_chosen": 0.0, "longer_chosen": 0.9}, ()), ("flawed_chosen",)).row
        == built.row
    )


def test_thresholds_are_those_of_the_runs_recipes(lake: Lake) -> None:
    fill(lake, json.dumps({"audit": {"flawed_chosen": 0.0}, "decontaminate": ["ifeval"]}))
    assert settings_of(lake, ["run"]) == AuditSettings({"flawed_chosen": 0.0}, ("ifeval",))
    build(lake)
    asked = settings_of_set(lake, find_training_set(lake, "imported_dpo"))
    assert asked == AuditSettings({"flawed_chosen": 0.0}, ("ifeval",))
    found = by_name(audit_training_set(lake, "imported_dpo", Options(asked.thresholds, against=())))
    assert found["flawed_chosen"].status == "fail" and found["flawed_chosen"].threshold == 0.0


def test_a_recipe_with_a_damaged_audit_is_one_sentence(lake: Lake) -> None:
    fill(lake, json.dumps({"audit": {"overlap": "none"}}))
    with pytest.raises(FactoryError, match="the recipe of run run has an audit that is no mapping of numbers"):
        settings_of(lake, ["run"])


@pytest.mark.parametrize(
    ("settings", "allowed", "said"),
    [
        (AuditSettings({"longer_chose": 0.6}, ()), (), "there is no check 'longer_chose': did you mean 'longer_chosen'"),
        (AuditSettings({}, ()), ("overlap",), "--allow overlap: it has no threshold"),
        (AuditSettings({}, ()), ("overlaps",), "did you mean 'overlap'"),
        (AuditSettings({}, ("nowhere.jsonl",)), (), "there is no evaluation set 'nowhere.jsonl': give ifeval or ifbench"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_one_sentence(
    full: Lake, settings: AuditSettings, allowed: tuple[str, ...], said: str
) -> None:
    with pytest.raises(FactoryError, match=said):
        build(full, settings, allowed)


def test_a_recipe_names_only_checks_that_exist() -> None:
    assert load_recipe("spar", {"audit.longer_chosen": 0.6, "decontaminate": "ifeval"}).decontaminate == ("ifeval",)
    with pytest.raises(FactoryError, match=r"audit: there is no check 'longer': did you mean"):
        load_recipe("spar", {"audit.longer": 0.6})
    plain = load_recipe("spar")
    assert load_recipe("spar", {"audit.longer_chosen": 0.6}).hash() == plain.hash()  # it asks no model anything else


def test_an_evaluation_set_has_prompts_a_version_and_kinds(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(
        '{"prompt": "One?", "instruction_id_list": ["a:b"]}\n{"messages": [{"role": "user", "content": "Two?"}]}\n'
    )
    (found,) = benchmarks_of([str(file)])
    assert (found.name, found.prompts, found.kinds, len(found.version)) == ("mine.jsonl", ("One?", "Two?"), {"a:b"}, 64)
    file.write_text("")
    with pytest.raises(FactoryError, match=r"evaluation set mine\.jsonl has no rows"):
        benchmarks_of([str(file)])


# The command line


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*words])
    return int(ended.value.code or 0)


def test_the_command_prints_json_and_a_page_and_fails_with_a_failing_check(
    full: Lake, item: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(full)
    where = str(full.place.where)
    page = tmp_path / "audit.html"
    assert command("audit", "imported_dpo", "--against", item, "--lake", where, "-f", "json", "--html", str(page)) == 1
    shown = json.loads(capsys.readouterr().out)
    assert (
        shown["training_set"] == "imported_dpo@1"
        and {c["check"]: c["status"] for c in shown["checks"]}["overlap"] == "fail"
    )
    text = page.read_text("utf-8")
    assert (
        "<svg" in text
        and "prefers-color-scheme" in text
        and not any(word in text for word in ("<script", "src=", "@import", "url("))
    )
    assert str(tmp_path) not in text
    assert command("audit", "imported_dpo", "--lake", where, "--against", item, "--all") == 1
    table = capsys.readouterr().out
    assert "overlap" in table and "not applicable: cut_by_trainer, equal_after_template: give --model" in table.replace(
        "\n", " "
    )


def test_the_command_builds_without_what_overlaps(full: Lake, item: str, capsys: pytest.CaptureFixture[str]) -> None:
    where = str(full.place.where)
    assert command("build", "imported_dpo", "--lake", where, "--decontaminate", item, "--threshold", "overlap=0") == 0
    said = capsys.readouterr().out
    assert (
        "audit: overlap pass: 0 (threshold 0)" in said
        and "1 prompts left out, their 1 rows are imported_dpo.removed@1" in said
    )
    assert command("audit", "imported_dpo.removed", "--lake", where, "--against", item) == 1
    assert command("build", "imported_dpo", "--lake", where, "--threshold", "overlap=much") == 1
    assert "--threshold overlap: it must be a finite number" in capsys.readouterr().err


def test_a_set_that_cannot_be_audited_is_one_sentence(full: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    where = str(full.place.where)
    assert command("audit", "nothing", "--lake", where) == 1
    assert "has no training set nothing: it has none; `factory build` makes one" in capsys.readouterr().err.replace(
        "\n", " "
    )
    build(full)
    for words, said in (
        (("-f", "csv"), "there is no format 'csv': give table or json"),
        (("--threshold", "nothing=1"), "--threshold: there is no check 'nothing'"),
        (("--model", "nowhere"), "--model nowhere: there is no such folder or file"),
    ):
        assert command("audit", "imported_dpo", "--lake", where, *words) == 1
        assert said in capsys.readouterr().err.replace("\n", " ")
