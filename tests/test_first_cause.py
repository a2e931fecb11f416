"""Whatever ends a run, the cause that came first is what the user reads, not what followed from it."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from factory.runs.loop import Execution, answering, run_on
from factory.runs.pending import all_prompts
from factory.runs.progress import Progress
from factory.runs.session import RunSession
from factory.runs.writer import Writer
from schemas.errors import FactoryError
from stores.lake import Lake
from tests.runs import answer, run_spar, spar_specification
from tests.scripted_endpoint import Reply, Request, running_endpoint

REFUSED = r"refuses the key \(HTTP 401\): put the right one where"


def refuse(request: Request) -> Any:
    return Reply(401, {"error": {"message": "no", "type": "invalid"}})


def test_blocks_that_only_waited_say_what_ended_the_block_before_them(tmp_path: Path) -> None:
    """As in a worker of a cluster, which answers several blocks at once."""
    said: list[BaseException | None] = []

    def in_two_blocks(session: RunSession, pending: pa.Table) -> None:
        async def both() -> None:
            with closing(session.open_journal()) as journal:
                async with answering(session, journal, session.new_spending()) as answer:
                    said.extend(await asyncio.gather(answer(pending[:2]), answer(pending[2:]), return_exceptions=True))

        asyncio.run(both())

    # One slot: the others wait for it when the key is refused.
    one_slot = {"models__actor__concurrency": 1, "models__refiner__concurrency": 1}
    with running_endpoint(refuse) as endpoint, Lake.open(tmp_path / "lake", create=True) as lake:
        spec = spar_specification(endpoint.url, 4, **one_slot)
        causes: list[BaseException] = []

        def noted(session: RunSession, pending: pa.Table) -> None:
            session.on_cause = causes.append
            in_two_blocks(session, pending)

        run_id = run_on(lake, spec, Progress(), Execution(noted))
        assert all_prompts(lake, run_id).num_rows == 4
    assert [REFUSED.replace("\\", "") in str(error) for error in said] == [True, True]
    assert len(causes) == 1
    assert endpoint.stats().received == 1


@pytest.mark.parametrize("late", [FactoryError("the disk is full"), OSError("the disk is gone")])
def test_a_fault_in_writing_the_last_rows_does_not_hide_what_ended_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: Exception
) -> None:
    flush = Writer.flush

    async def failing(writer: Writer) -> None:
        if endpoint.stats().received:
            raise late
        await flush(writer)

    monkeypatch.setattr(Writer, "flush", failing)
    with running_endpoint(refuse) as endpoint, pytest.raises(FactoryError, match=REFUSED):
        run_spar(tmp_path / "lake", endpoint.url, 4)


def test_a_fault_in_writing_the_last_rows_is_the_cause_where_nothing_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(writer: Writer) -> None:
        raise FactoryError("the disk is full")

    monkeypatch.setattr(Writer, "flush", failing)
    with running_endpoint(answer) as endpoint, pytest.raises(FactoryError, match="the disk is full"):
        run_spar(tmp_path / "lake", endpoint.url, 2)
