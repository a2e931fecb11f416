"""`factory evaluate`: exact figures from scripted answers, the same when repeated, and trouble before anything is paid."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factory.cli.evaluating import model_settings
from factory.cli.main import main
from factory.evaluation import recording
from factory.evaluation.figures import by_kind
from factory.evaluation.measuring import Options, identified, run_benchmark
from factory.evaluation.recording import compare, record
from factory.prompts.bundled import bundled_prompts, development_prompts
from factory.runs.progress import Progress
from schemas.errors import FactoryError
from schemas.tables import Check, Evaluation, Judgement
from stores.lake import Lake
from tests.rows import rows_of
from tests.scripted_endpoint import Request, ScriptedEndpoint, running_endpoint

LOWER, SHORT, NO_COMMA = "change_case:english_lowercase", "length_constraints:number_words", "punctuation:no_comma"
FEW = {"relation": "less than", "num_words": 12}
ROWS: list[dict[str, Any]] = [
    {"key": 1, "prompt": "both", "instruction_id_list": [LOWER, SHORT], "kwargs": [{}, FEW]},
    {"key": 2, "prompt": "loosely", "instruction_id_list": [LOWER], "kwargs": [{}]},
    {"key": 3, "prompt": "one of two", "instruction_id_list": [LOWER, NO_COMMA], "kwargs": [{}, {}]},
    {"key": 4, "prompt": "nothing", "instruction_id_list": [NO_COMMA], "kwargs": [{}]},
]
PLAIN = "this is a short answer in plain english"  # langdetect has to know the language
ANSWERS = {"both": PLAIN, "loosely": f"Sure:\n{PLAIN}", "one of two": PLAIN.upper(), "nothing": ""}
BETTER = ANSWERS | {"one of two": PLAIN}


def script(request: Request) -> list[str]:
    asked = request.messages[-1]["content"]
    return [(BETTER if request.model == "better" else ANSWERS).get(asked, "an answer")] * request.n


@pytest.fixture
def endpoint() -> Iterator[ScriptedEndpoint]:
    with running_endpoint(script, models=("plain", "better")) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> str:
    return written(tmp_path / "own.jsonl", ROWS)


def written(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(file)


def measured(lake: Lake, file: str, url: str, model: str = "plain", **options: Any) -> list[Evaluation]:
    return run_benchmark(lake, file, model_settings(url, model), "actor", 0, Progress(), options=Options(**options))


def values(rows: list[Evaluation]) -> dict[str, float | None]:
    return {row.metric: row.value for row in rows}


def test_figures_are_those_of_the_answers(lake: Lake, endpoint: ScriptedEndpoint, file: str) -> None:
    rows = measured(lake, file, endpoint.url)
    assert values(rows) == {
        "prompt_strict": 1 / 4,
        "prompt_loose": 2 / 4,
        "instruction_strict": 3 / 6,
        "instruction_loose": 4 / 6,
    }
    assert lake.read(Evaluation) == sorted(rows, key=lambda row: row.evaluation_id)
    for row in rows:
        assert row.low is not None and row.value is not None and row.high is not None
        assert row.low <= row.value <= row.high
        assert (row.benchmark, row.examples, row.role, row.other_model_id) == ("own.jsonl", 4, "actor", None)
    assert rows_of(lake, "current_runs", "purpose, status") == [("evaluation", "finished")]


def test_checks_are_rows_and_agree_with_the_verifier(lake: Lake, endpoint: ScriptedEndpoint, file: str) -> None:
    measured(lake, file, endpoint.url)
    checks = lake.read(Check)
    assert len(checks) == 5  # an empty answer is no answer
    assert sum(check.followed for check in checks) == 3
    assert sum(check.followed_loosely for check in checks) == 4
    for judgement in lake.read(Judgement):
        mine = [check.followed for check in checks if check.response_id == judgement.response_id]
        assert judgement.points == sum(mine) / len(mine)


def test_kinds_of_constraints_count_answers_without_a_text(lake: Lake, endpoint: ScriptedEndpoint, file: str) -> None:
    run_id = measured(lake, file, endpoint.url)[0].run_id
    assert run_id is not None
    assert by_kind(lake, run_id).to_pylist() == [
        {"kind": LOWER, "constraints": 3, "strict": 1 / 3, "loose": 2 / 3},
        {"kind": SHORT, "constraints": 1, "strict": 1.0, "loose": 1.0},
        {"kind": NO_COMMA, "constraints": 2, "strict": 0.5, "loose": 0.5},
    ]


def test_repeating_asks_and_adds_nothing(lake: Lake, endpoint: ScriptedEndpoint, file: str) -> None:
    first = measured(lake, file, endpoint.url)
    asked, rows = endpoint.stats().received, lake.counts()
    assert values(measured(lake, file, endpoint.url)) == values(first)
    assert endpoint.stats().received == asked
    assert {name: count for name, count in lake.counts().items() if name != "runs"} == {
        name: count for name, count in rows.items() if name != "runs"
    }


def test_models_and_settings_have_figures_of_their_own(lake: Lake, endpoint: ScriptedEndpoint, file: str) -> None:
    plain, better = (measured(lake, file, endpoint.url, model) for model in ("plain", "better"))
    other = measured(lake, file, endpoint.url, "plain", overrides={"stages.sample.max_tokens": 9})
    assert len({rows[0].run_id for rows in (plain, better, other)}) == 3
    assert values(better)["prompt_strict"] == 2 / 4
    assert plain[0].prompts_hash == better[0].prompts_hash == other[0].prompts_hash
    assert plain[0].checkers_hash == better[0].checkers_hash


def test_a_model_without_a_name_is_identified_by_what_its_server_lists(lake: Lake, file: str) -> None:
    runs = set()
    for name in ("one", "two"):
        with running_endpoint(script, models=(name,)) as running:
            settings = model_settings(running.url)
            runs.add(run_benchmark(lake, file, settings, "actor", 0, Progress())[0].run_id)
    assert len(runs) == 2


def test_a_file_of_weights_is_identified_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    revisions = []
    for content in (b"GGUF one", b"GGUF two"):
        file.write_bytes(content)
        revisions.append(identified("actor", model_settings(f"embedded:{file}")).revision)
    assert revisions == [hashlib.sha256(content).hexdigest() for content in (b"GGUF one", b"GGUF two")]
    assert identified("actor", model_settings("embedded:smollm2-135m")).revision is None


def test_two_models_are_compared_prompt_by_prompt(lake: Lake, endpoint: ScriptedEndpoint, file: str) -> None:
    plain, better = (measured(lake, file, endpoint.url, model) for model in ("plain", "better"))
    rows = compare(lake, better, plain)
    assert values(rows) == {
        "prompt_strict": 1 / 4,
        "prompt_loose": 1 / 4,
        "instruction_strict": 1 / 6,
        "instruction_loose": 1 / 6,
    }
    assert {row.p_value for row in rows} == {1.0}  # one discordant prompt proves nothing
    assert {row.other_model_id for row in rows} == {plain[0].model_id}
    assert values(compare(lake, plain, better))["prompt_strict"] == -1 / 4
    with pytest.raises(FactoryError, match="the same model"):
        compare(lake, plain, plain)


def test_answers_checked_by_other_checkers_are_not_compared(
    lake: Lake, endpoint: ScriptedEndpoint, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = measured(lake, file, endpoint.url)
    monkeypatch.setattr(recording, "checkers_hash", lambda: "newer")
    assert measured(lake, file, endpoint.url)[0].checkers_hash == plain[0].checkers_hash != "newer"
    better = measured(lake, file, endpoint.url, "better")
    with pytest.raises(FactoryError, match="different versions of the checkers"):
        compare(lake, better, plain)


def test_figures_of_seen_and_unseen_kinds(lake: Lake, endpoint: ScriptedEndpoint, file: str, tmp_path: Path) -> None:
    data = [{"prompt": "other", "instruction_id_list": [LOWER], "kwargs": [{}]}]
    overrides = {"purpose": "data"}
    seen = run_benchmark(
        lake, written(tmp_path / "data.jsonl", data), model_settings(endpoint.url, "plain"), "actor", 0, Progress(),
        options=Options(overrides=overrides),
    )  # fmt: skip
    assert seen[0].run_id is not None
    found = values(measured(lake, file, endpoint.url, seen_in=[seen[0].run_id]))
    assert found["instruction_strict_seen"] == 1 / 3  # lower case: prompts 1 to 3
    assert found["instruction_loose_seen"] == 2 / 3
    assert found["instruction_strict_unseen"] == 2 / 3
    nothing_seen = values(record(lake, seen[0].run_id, "data.jsonl", "actor", [seen[0].run_id]))
    assert nothing_seen["prompt_strict_unseen"] is None


def test_prompts_that_data_were_made_from_are_refused_before_anything_is_asked(
    lake: Lake, endpoint: ScriptedEndpoint, file: str
) -> None:
    measured(lake, file, endpoint.url, overrides={"purpose": "data"})
    asked = endpoint.stats().received
    with pytest.raises(FactoryError, match=r"4 of the 4 prompts of own\.jsonl are prompts of run evaluate-"):
        measured(lake, file, endpoint.url, "better")
    assert endpoint.stats().received == asked
    assert measured(lake, file, endpoint.url, "better", allow_overlap=True)


def test_of_prompts_for_development_an_overlap_is_only_noted(lake: Lake, endpoint: ScriptedEndpoint) -> None:
    settings, progress = model_settings(endpoint.url, "plain"), Progress()
    run_benchmark(lake, "bundled", settings, "actor", 0, Progress(), 2, options=Options(overrides={"purpose": "data"}))
    assert run_benchmark(lake, "bundled", settings, "actor", 0, progress, 3)
    assert "2 of the 3 prompts of bundled are prompts of run" in progress.notes[0]


def test_prompts_without_an_answer_give_no_figures(lake: Lake, file: str) -> None:
    from tests.scripted_endpoint import Reply

    def refuses(request: Request) -> Any:
        if request.messages[-1]["content"] == "loosely":
            return Reply(400, {"error": {"message": "This prompt is refused.", "type": "invalid_request_error"}})
        return script(request)

    with (
        running_endpoint(refuses, models=("plain",)) as running,
        pytest.raises(FactoryError, match=r"1 prompts? of run .* no answer"),
    ):
        measured(lake, file, running.url)
    assert lake.read(Evaluation) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"prompt": "x", "instruction_id_list": ["no:such"], "kwargs": [{}]}, r"line 5.*unknown constraint no:such"),
        ({"prompt": "x", "instruction_id_list": [SHORT], "kwargs": [{}]}, r"line 5.*number_words"),
        ({"prompt": "x", "instruction_id_list": [SHORT], "kwargs": []}, r"line 5.*kwargs must be a list of 1"),
        ({"prompt": "x"}, "prompt 5 has no constraints"),
    ],
)
def test_a_malformed_file_names_its_line(lake: Lake, tmp_path: Path, line: dict[str, Any], said: str) -> None:
    with pytest.raises(FactoryError, match=said):
        measured(lake, written(tmp_path / "own.jsonl", [*ROWS, line]), "http://127.0.0.1:9/v1")


def test_an_unknown_benchmark_names_those_there_are(lake: Lake) -> None:
    with pytest.raises(FactoryError, match="no benchmark 'ifevel': give ifeval, ifbench, bundled"):
        measured(lake, "ifevel", "http://127.0.0.1:9/v1")


def test_the_command_prints_figures_and_differences(
    tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_endpoint(script, models=("plain",)) as one, running_endpoint(script, models=("better",)) as other:
        words = [
            "evaluate",
            file,
            other.url,
            one.url,
            "--lake",
            str(tmp_path / "lake"),
            "--log-format",
            "plain",
            "--by-kind",
        ]
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        table = capsys.readouterr().out
        assert NO_COMMA in table and "instruction_loose" in table and "+25.0" in table and "docs/evaluation.md" in table
        with pytest.raises(SystemExit):
            main([*words, "--format", "json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["metric"] for row in rows[8:]] == [row["metric"] for row in rows[:4]]
    assert rows[8]["value"] == 0.25 and rows[8]["p_value"] == 1.0


def test_prompts_for_development_are_a_fixed_part_of_the_tasks() -> None:
    prompts = development_prompts()
    assert [p.prompt_id for p in prompts] == [p.prompt_id for p in development_prompts()]
    assert 40 <= len(prompts) <= 72
    taken = {prompt.messages[-1].content for prompt in bundled_prompts(0)}
    assert len(taken & {prompt.messages[-1].content for prompt in prompts}) < len(prompts) / 10
