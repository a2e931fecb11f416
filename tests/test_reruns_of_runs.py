"""A run done again into a new lake: identical from the journal, and told where it is not."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mock_endpoint import answer_factory
from schemas.tables import Rerun
from stores.lake import Lake
from tests.command_line import told
from tests.runs import answer, assert_same_tables, run_spar, tables
from tests.scripted_endpoint import Request, ScriptedEndpoint, running_endpoint

DIFFERENT = 4


@pytest.fixture
def endpoint() -> Iterator[ScriptedEndpoint]:
    with running_endpoint(answer) as found:
        yield found


def newest(lake: Path) -> Rerun:
    with Lake.open(lake) as opened:
        return max(opened.read(Rerun), key=lambda row: row.started_at)


def test_from_the_journal_every_row_is_the_same_and_nothing_is_asked(
    endpoint: ScriptedEndpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, _ = run_spar(tmp_path / "lake", endpoint.url)
    before, asked = tables(tmp_path / "lake"), len(endpoint.requests)
    code, said, _ = told(capsys, "rerun", run_id, "--lake", tmp_path / "lake", "--into", tmp_path / "again")
    assert code == 0, said
    assert len(endpoint.requests) == asked
    assert "0 asked anew" in said and said.rstrip().endswith("identical")
    assert_same_tables(before, tables(tmp_path / "again"))
    kept = newest(tmp_path / "lake")
    assert (kept.run_id, kept.training_run_id, kept.outcome) == (run_id, None, "identical")
    assert (kept.data_identical, kept.first_difference, kept.environment) == (True, None, "{}")


def test_answers_that_are_others_are_named_with_the_first_row_and_the_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turned = []

    def changing(request: Request) -> Any:
        return answer(request) if not turned else answer_factory(request, yes_rate=0.35, words=13)

    with running_endpoint(changing) as endpoint:
        run_id, _ = run_spar(tmp_path / "lake", endpoint.url, prompts=2)
        turned.append(True)
        code, said, _ = told(capsys, "rerun", run_id, "--lake", tmp_path / "lake", "--anew")
    assert code == DIFFERENT
    assert "prompts: identical, 2 rows" in said and "responses: " in said and "changed" in said
    assert "were not in the journal and were asked anew: a server does not promise the same tokens" in said
    kept = newest(tmp_path / "lake")
    assert (kept.outcome, kept.data_identical) == ("different", False)
    assert kept.first_difference is not None and kept.first_difference.startswith(("calls: ", "responses: "))


def test_where_an_answer_is_missing_in_the_journal_only_that_is_asked(
    endpoint: ScriptedEndpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, _ = run_spar(tmp_path / "lake", endpoint.url, prompts=2)
    with closing(sqlite3.connect(tmp_path / "lake" / "journal.sqlite")) as journal, journal:
        journal.execute("DELETE FROM replies WHERE request_hash = (SELECT min(request_hash) FROM replies)")
    asked = len(endpoint.requests)
    code, said, _ = told(capsys, "rerun", run_id, "--lake", tmp_path / "lake")
    assert (code, len(endpoint.requests) - asked) == (0, 1)  # this server does repeat its answers
    assert "1 asked anew" in said


def test_a_folder_that_is_not_empty_and_an_unknown_run_are_refused(
    endpoint: ScriptedEndpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, _ = run_spar(tmp_path / "lake", endpoint.url, prompts=1)
    code, _, errors = told(capsys, "rerun", run_id, "--lake", tmp_path / "lake", "--into", tmp_path / "lake")
    assert code == 1 and "is not empty: give a new folder" in errors
    code, _, errors = told(capsys, "rerun", f"{run_id[:-1]}x", "--lake", tmp_path / "lake")
    assert code == 1 and f"did you mean '{run_id}'?" in errors
    code, _, errors = told(capsys, "rerun", "", "--lake", tmp_path / "lake")
    assert code == 1 and "has nothing called ''" in errors


def test_a_run_of_a_lake_that_may_only_be_read_is_done_again_and_not_noted(
    endpoint: ScriptedEndpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lake"
    run_id, _ = run_spar(folder, endpoint.url, prompts=2)
    asked, allowed = len(endpoint.requests), os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda path, mode: allowed(path, mode) and not (mode == os.W_OK and folder in [path, *Path(path).parents]),
    )
    code, said, _ = told(capsys, "rerun", run_id[:9], "--lake", folder, "--into", tmp_path / "again")
    assert code == 0 and len(endpoint.requests) == asked
    assert "identical\nthe outcome is not kept in the lake: " in said and "can only be read" in said
    assert {path.name for path in (tmp_path / "again").glob("*.sqlite")} == {"catalog.sqlite", "journal.sqlite"}


def test_offline_the_models_need_not_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_endpoint(answer) as endpoint:
        run_id, _ = run_spar(tmp_path / "lake", endpoint.url, prompts=3)
    words = ("rerun", run_id, "--lake", tmp_path / "lake", "--offline")
    code, said, _ = told(capsys, *words, "--into", tmp_path / "again")
    assert code == 0, said
    assert_same_tables(tables(tmp_path / "lake") | {"reruns": []}, tables(tmp_path / "again"))
    with closing(sqlite3.connect(tmp_path / "lake" / "journal.sqlite")) as journal, journal:
        journal.execute("DELETE FROM replies WHERE request_hash = (SELECT min(request_hash) FROM replies)")
    code, said, _ = told(capsys, *words)
    assert code == DIFFERENT and "the journal does not answer 1 request, and --offline asks nobody" in said
    code, _, errors = told(capsys, *words, "--anew")
    assert code == 1 and "give one of them" in errors
