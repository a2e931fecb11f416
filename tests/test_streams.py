"""Standard streams that are closed, that nobody reads, or that are not in UTF-8: no traceback, and the same exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stores.lake import Lake
from tests.runs import run_spar
from tests.scripted_endpoint import running_endpoint
from tests.terminals import answering

ROOT = Path(__file__).parents[1]
SHOWN = "窗户🙂é — ”…"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("streams") / "lake"
    with running_endpoint(answering(SHOWN)) as endpoint:
        run_spar(place, endpoint.url, 3)
    yield place


def in_shell(line: str, lake: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of bash in which $factory is the command line; its exit code is that of the first of piped commands."""
    return subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        check=False,
        env={
            **os.environ,
            "factory": f"{sys.executable} -m factory.cli",
            "PYTHONPATH": str(ROOT),
            "FACTORY_LAKE": str(lake),
            **environment,
        },
    )


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "gbk", "ascii"])
def test_an_encoding_that_lacks_characters_gets_escapes(lake: Path, encoding: str) -> None:
    with Lake.open(lake) as opened:
        pair = opened.query("SELECT pair_id FROM pairs LIMIT 1").column(0)[0].as_py()
    query = "sql 'SELECT text FROM responses ORDER BY response_id LIMIT 2'"
    commands = [query, f"{query} -f csv", f"{query} -f json", "build spar_rft", "status", f"pair {pair}", "sql 窗户"]
    line = "; ".join(f"$factory {command} || echo code $?" for command in commands)
    done = in_shell(line, lake, PYTHONIOENCODING=encoding)
    written = done.stdout.decode(encoding)
    assert "Traceback" not in done.stderr.decode(encoding) and written.count("code 1") == 1
    [*_, row] = [line for line in written.splitlines() if line.startswith('{"text"')]
    if encoding != "gbk":
        assert "\\u7a97\\u6237\\U0001f642" in written
    else:
        assert "窗户\\U0001f642" in written
    assert encoding == "gbk" or "\\u7a97" in row


def test_a_run_whose_output_is_not_in_utf8_ends_well(tmp_path: Path) -> None:
    with running_endpoint(answering(SHOWN)) as endpoint:
        line = f"$factory run spar --limit 2 --model {endpoint.url}"
        done = in_shell(line, tmp_path / "lake", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert b"finished" in done.stdout


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("command", ["sql 'FROM runs'", "sql 'FROM runs' -f csv", "status", "build spar_rft", "views"])
def test_a_closed_stream_changes_nothing_else(lake: Path, command: str, closed: str) -> None:
    done = in_shell(f"$factory {command} {closed}", lake)
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) == (">&-" not in closed.replace("2>&-", ""))
    with Lake.open(lake) as opened:  # the catalog has not taken the stream's place
        assert opened.query("SELECT count(*) AS n FROM responses").column(0)[0].as_py() > 0


@pytest.mark.parametrize("command", ["sql '{}'", "sql '{}' -f csv", "sql '{}' -f json", "status", "views", "--help"])
def test_a_reader_that_has_gone_changes_no_exit_code(lake: Path, command: str) -> None:
    many = "SELECT range AS n, repeat(chr(97), 200) AS t FROM range(20000)"
    done = in_shell(f"$factory {command.format(many)} | head -1", lake)
    assert (done.returncode, done.stderr) == (0, b"")
    gone = in_shell(f"sleep 1 | $factory {command.format(many)} | true", lake)
    assert gone.stderr == b""


def test_a_full_disk_under_the_output_is_one_sentence(lake: Path) -> None:
    done = in_shell("$factory sql 'SELECT 1 AS a' -f csv > /dev/full", lake)
    assert done.returncode == 1
    assert done.stderr == b"error: a file cannot be used: No space left on device; free some space\n"


def test_json_to_a_pipe_stays_json(lake: Path) -> None:
    done = in_shell("$factory sql 'SELECT text FROM responses LIMIT 3' -f json", lake)
    assert all(SHOWN in json.loads(line)["text"] for line in done.stdout.decode().splitlines())
