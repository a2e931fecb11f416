"""`factory import`: preference and scored data become ordinary rows, all or none, and never twice."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from factory.importing import importer
from stores.checksums import data_files
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.command_line import told
from tests.rows import rows_of

TURN = {"role": "user", "content": "Why does ice float?"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("It is less dense.", "Because."))
ULTRAFEEDBACK = {
    "instruction": "Why does ice float?",
    "completions": [
        {
            "model": "big",
            "response": "It is less dense.",
            "annotations": {
                "helpfulness": {"Rating": "5", "Rationale": "Clear."},
                "honesty": {"Rating": "N/A", "Rationale": "No claim."},
            },
            "overall_score": 8.5,
            "fine-grained_score": 4.5,
            "critique": "Fine.",
        },
        {"model": "small", "response": "Because.", "annotations": {}, "overall_score": 2.0, "fine-grained_score": 5.0},
    ],
}
HELPSTEER = [
    {"prompt": "Name a river.", "response": text, "helpfulness": n, "correctness": n, "verbosity": 1, "prompt_id": 7}
    for text, n in (("A lake.", 0), ("The Elbe.", 4), ("Elbe?", 2))
]
Command = Callable[..., str]


@pytest.fixture
def factory(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line on the lake `tmp_path/lake`; gives what it prints."""
    monkeypatch.setenv("FACTORY_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> str:
        _, said, errors = told(capfd, *words)
        assert "Traceback" not in errors
        return said + errors

    return run


def jsonl(file: Path, *rows: dict[str, Any]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def rows(folder: Path, view: str, columns: str = "*") -> list[tuple[Any, ...]]:
    with Lake.open(folder / "lake") as lake:
        return rows_of(lake, view, columns)


PAIRS = """(SELECT conversation(q.messages) AS asked, c.text AS chosen, r.text AS rejected, p.source
FROM pairs AS p JOIN prompts AS q USING (prompt_id)
JOIN responses AS c ON c.response_id = chosen_response_id JOIN responses AS r ON r.response_id = rejected_response_id)"""


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": TURN["content"], "chosen": GOOD["content"], "rejected": BAD["content"]},
        {"prompt": [TURN], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": json.dumps([TURN]), "chosen": json.dumps([GOOD]), "rejected": json.dumps([BAD])},
        {"chosen": [TURN, GOOD], "rejected": [TURN, BAD]},
        {"prompt": TURN["content"], "messages": [TURN, GOOD], "chosen": [TURN, GOOD], "rejected": [TURN, BAD]},
        {"conversations": [{"from": "human", "value": TURN["content"]}], "chosen": {"from": "gpt"}, "rejected": ""},
        {
            "chosen": "\n\nHuman: Why does ice float?\n\nAssistant: It is less dense.",
            "rejected": "\n\nHuman: Why does ice float?\n\nAssistant: Because.",
        },
        {"context": [TURN], "response1": "Because.", "response2": "It is less dense.", "overall_preference": 2},
    ],
)
def test_every_form_of_a_preference_is_one_pair(tmp_path: Path, factory: Command, row: dict[str, Any]) -> None:
    said = factory("import", jsonl(tmp_path / "a.jsonl", row))
    if "conversations" in row:
        assert "line 1: chosen must be text or a list of turns, got {'from': 'gpt'}" in said
        return
    assert "1 row as run import-" in said and "1 prompt, 2 responses, 0 scores, 1 pair" in said
    (found,) = rows(tmp_path, PAIRS)
    assert found[1:] == ("It is less dense.", "Because.", "imported") and "Why does ice float?" in found[0]
    assert rows(tmp_path, "prompts", "reference") == [(None,)]


def test_ultrafeedback_becomes_responses_of_its_models_with_scores_and_a_pair(tmp_path: Path, factory: Command) -> None:
    said = factory("import", jsonl(tmp_path / "a.jsonl", ULTRAFEEDBACK))
    assert "scores: fine-grained 2, helpfulness 1, honesty 1, overall 2" in said
    joined = "responses AS r JOIN judgements AS j USING (response_id) LEFT JOIN models AS m ON m.model_id = r.model_id"
    assert rows(tmp_path, joined, "m.name, judge, j.kind, points, verdict, decides, critique") == [
        ("big", "fine-grained", "imported", 4.5, None, False, ""),
        ("big", "helpfulness", "imported", 5.0, None, False, "Clear."),
        ("big", "honesty", "imported", None, "unparsed", False, "No claim."),
        ("big", "overall", "imported", 8.5, None, True, "Fine."),
        ("small", "fine-grained", "imported", 5.0, None, False, ""),
        ("small", "overall", "imported", 2.0, None, True, ""),
    ]
    assert rows(tmp_path, PAIRS, "chosen, rejected, source") == [("It is less dense.", "Because.", "imported_scores")]
    assert rows(tmp_path, "models", "name, origin, revision") == [
        ("big", "imported", None),
        ("small", "imported", None),
    ]


def test_helpsteer_has_a_judge_for_each_number(tmp_path: Path, factory: Command) -> None:
    assert "3 rows as run" in factory("import", jsonl(tmp_path / "a.jsonl", *HELPSTEER))
    assert rows(tmp_path, "(SELECT DISTINCT judge, decides FROM judgements)") == [
        ("correctness", False),
        ("helpfulness", True),
        ("verbosity", False),
    ]
    assert rows(tmp_path, PAIRS, "chosen, rejected, source") == [("The Elbe.", "A lake.", "imported_scores")]


def test_without_a_known_score_there_are_no_pairs_unless_one_is_named(tmp_path: Path, factory: Command) -> None:
    given = [("short", 1, 9), ("a longer one", 3, 2)]
    file = jsonl(
        tmp_path / "a.jsonl",
        *({"prompt": "a", "response": r, "num_tokens": n, "wit": w, "grace": 1} for r, n, w in given),
    )
    said = factory("import", file)
    assert "4 scores, 0 pairs" in said and "scores: grace 2, wit 2" in said and "--best-by names one" in said
    factory("import", file, "--best-by", "wit")
    assert rows(tmp_path, PAIRS, "chosen, rejected") == [("short", "a longer one")]
    assert (True,) in rows(tmp_path, "judgements", "decides")


def test_scores_of_sides_and_labels_are_kept(tmp_path: Path, factory: Command) -> None:
    sides = {
        "prompt": "a",
        "chosen": "b",
        "rejected": "c",
        "score_chosen": 8.0,
        "chosen-rating": 5,
        "rejected-rating": 2,
    }
    labels = [{"prompt": "a", "completion": "d", "label": True}, {"prompt": "a", "completion": "e", "label": False}]
    factory("import", jsonl(tmp_path / "a.jsonl", sides), jsonl(tmp_path / "b.jsonl", *labels))
    joined = "responses JOIN judgements AS j USING (response_id)"
    assert rows(tmp_path, joined, "text, judge, points, verdict, value") == [
        ("b", "score", 8.0, None, None),
        ("c", "score", 2.0, None, None),
        ("d", "label", None, "yes", 1.0),
        ("e", "label", None, "no", 0.0),
    ]


def test_importing_twice_adds_nothing(tmp_path: Path, factory: Command) -> None:
    file = jsonl(tmp_path / "a.jsonl", *HELPSTEER)
    factory("import", file)
    before = _state(tmp_path)
    (tmp_path / "copy.jsonl").write_bytes(file.read_bytes())
    for words in ([file], [file, "--limit", 2], [tmp_path / "copy.jsonl"], [file, file]):
        assert "imported before as import-" in factory("import", *words)
    assert _state(tmp_path) == before


def test_an_import_s_files_have_checksums(tmp_path: Path, factory: Command) -> None:
    factory("import", jsonl(tmp_path / "a.jsonl", *HELPSTEER))
    with Lake.open(tmp_path / "lake") as lake:
        assert all(file.sha256 for file in data_files(lake))


def test_a_larger_limit_adds_the_rest_to_the_same_run(tmp_path: Path, factory: Command) -> None:
    rows_ = [{"prompt": f"p{n}", "chosen": "b", "rejected": "c"} for n in range(4)]
    file = jsonl(tmp_path / "a.jsonl", *rows_)
    for limit, prompts in ((1, 1), (3, 3), (None, 4)):
        factory("import", file, *([] if limit is None else ["--limit", limit]))
        assert len(rows(tmp_path, "pairs")) == len(rows(tmp_path, "prompts")) == prompts
    assert len(rows(tmp_path, "(SELECT DISTINCT run_id FROM runs)")) == 1
    assert rows(tmp_path, "runs", "attempt, status") == [(n, "finished") for n in range(3)]
    assert rows(tmp_path, "run_progress", "prompts") == [(4,)]


def test_a_fault_in_one_file_leaves_nothing_of_any(tmp_path: Path, factory: Command) -> None:
    good = jsonl(tmp_path / "a.jsonl", *HELPSTEER)
    broken = jsonl(tmp_path / "b.jsonl", HELPSTEER[0], {"prompt": "a", "response": 3})
    assert f"{broken}, line 2: response must be text, got 3" in factory("import", good, broken)
    assert not (tmp_path / "lake").exists()
    factory("import", good)
    before = _state(tmp_path)
    assert "line 2" in factory("import", jsonl(tmp_path / "c.jsonl", ULTRAFEEDBACK), broken)
    assert _state(tmp_path) == before


def test_ctrl_c_imports_nothing(tmp_path: Path, factory: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(importer, "sample_of", stop)
    assert "stopped; nothing was imported" in factory("import", jsonl(tmp_path / "a.jsonl", *HELPSTEER))
    assert not (tmp_path / "lake").exists()


def test_imported_pairs_are_built_shown_and_not_resumed(tmp_path: Path, factory: Command) -> None:
    preferences = [{"prompt": f"p{n}", "chosen": "good answer", "rejected": "bad answer"} for n in range(2)]
    factory("import", jsonl(tmp_path / "a.jsonl", *preferences), jsonl(tmp_path / "b.jsonl", *HELPSTEER))
    (tmp_path / "again.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    factory("import", tmp_path / "again.jsonl.gz")
    with Lake.open(tmp_path / "lake") as lake:
        ids = [id for (id,) in rows_of(lake, "current_runs", "run_id")]
        built = build_training_set(lake, "imported_dpo", {"held_out": 0}, ids).train.to_pylist()
    assert sorted(row["chosen"][0]["content"] for row in built) == ["The Elbe.", "good answer", "good answer"]
    assert {row["class"] for row in built} == {"imported"}
    assert "imported_dpo@1, pinned" in factory("build", "-p", "held_out=0")
    (pair_id, *_), *_ = rows(tmp_path, "pairs")
    said = factory("pair", pair_id)
    assert "imported" in said and "value" in said and "not known" in said
    assert "was made by `factory import`, which has no stages to continue" in factory("resume", ids[0])
    assert "finished" in factory("status")


def test_equal_and_empty_sides_are_left_out_and_counted(tmp_path: Path, factory: Command) -> None:
    given = [("a", "same", "same"), ("b", "", "x"), ("c", "good", "bad")]
    file = jsonl(tmp_path / "a.jsonl", *({"prompt": p, "chosen": c, "rejected": r} for p, c, r in given))
    assert "2 preferences left out: the sides are equal, or one is empty" in factory("import", file)
    assert rows(tmp_path, PAIRS, "chosen") == [("good",)]
    assert rows(tmp_path, "responses", "text, flaw")[0] == ("", "empty")


def test_columns_keys_and_licences_are_given(tmp_path: Path, factory: Command) -> None:
    talk = [{"who": "user", "said": "a"}]
    file = jsonl(tmp_path / "a.jsonl", {"talk": talk, "better": "b", "worse": "c", "tools": [1]})
    words = ["import", file, "-c", "messages=talk", "-c", "chosen=better", "-c", "rejected=worse", "--licence", "MIT"]
    assert "tools are not kept: remove the row, or if the dialogue is whole without, leave out: --leave-out tools" in (
        factory(*words)
    )
    words += ["--leave-out", "tools"]
    assert "name the keys with --key role=… --key content=…" in factory(*words)
    words += ["--key", "role=who", "--key", "content=said"]
    assert "1 pair" in factory(*words)
    assert rows(tmp_path, "prompts", "licence, source.split('#')[1]") == [("MIT", "a.jsonl")]
    assert "was imported with the licence MIT, and rows are never changed" in factory(*words, "--licence", "Apache-2.0")
    assert str(tmp_path) not in json.dumps(rows(tmp_path, "runs"), default=str)


def test_a_folder_is_one_source(tmp_path: Path, factory: Command) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    pyarrow.parquet.write_table(pa.Table.from_pylist(HELPSTEER), folder / "a.parquet")
    jsonl(folder / "b.jsonl", {"prompt": "a", "chosen": [TURN, GOOD], "rejected": "c"})
    assert "chosen is not one answer to the prompt: before its last turn it has 1 turns" in factory("import", folder)
    jsonl(folder / "b.jsonl", {"prompt": "a", "chosen": "b", "rejected": "c"})
    assert "data/: 4 rows as run import-" in factory("import", folder)
    assert rows(tmp_path, "(SELECT DISTINCT source FROM pairs)") == [("imported",), ("imported_scores",)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a"}, "line 1: there is no answer in it: it needs chosen and rejected, completions, response, or"),
        ({"prompt": "a", "chosen": "b"}, "line 1: rejected is missing: a preference has both chosen and rejected"),
        ({"prompt": "a", "chosen": [TURN], "rejected": "c"}, "line 1: chosen must end with a turn of the assistant"),
        (
            {"instruction": "a", "completions": [{"text": "b"}]},
            "completion 1: this must be an object with a 'response'",
        ),
        (
            {"instruction": "a", "completions": [{"response": "b", "overall_score": "high"}]},
            "completion 1: overall_score must be a number, got 'high'",
        ),
        ({"prompt": "a", "response1": "b", "response2": "c"}, "there is no overall_preference"),
        ({"prompt": "a", "chosen": "b\ud83d", "rejected": "c"}, "chosen has half a surrogate pair"),
        ({"question": "a", "chosen": "b", "rejected": "c"}, "name the right one, as in -c prompt=question"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(
    tmp_path: Path, factory: Command, row: dict[str, Any], said: str
) -> None:
    found = factory("import", jsonl(tmp_path / "a.jsonl", row))
    assert found.startswith("error: ") and said in found
    assert "no prompt file" in factory("import", tmp_path / "missing.jsonl")


def _state(folder: Path) -> Any:
    with Lake.open(folder / "lake") as lake:
        return lake.counts(), lake.latest_snapshot()
