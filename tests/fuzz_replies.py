"""python -m tests.fuzz_replies --replies 10000

Runs `spar` against an endpoint whose replies are odd more often than not (`odd_replies.py`), until so many odd ones were
sent. No run may end in a traceback or hang; a run that ends early must say why in one sentence and go on when resumed.
What is in the lake then must have been sent as an answer: no thinking, nothing made up, no count that was not told, and a
note wherever a value was odd. `--seed` repeats the same replies to the same requests.
"""

import argparse
import asyncio
import gzip
import hashlib
import json
import random
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.inference import failures
from factory.inference.values import is_blank, storable
from factory.recipes.reading import load_recipe
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from stores.lake import Lake
from stores.training_sets import NoRows, build_training_set
from tests.completions import Request, completion_body
from tests.odd_replies import THINKING, Sent, as_sent, draw
from tests.runs import answer, assert_ids_unique

ODD_SHARE = 0.65
PROMPTS_PER_RUN = 150
MOST_STARTS = 40
"""of one run, each after it ended with a sentence"""
LONGEST_RUN_S = 300.0
"""a run that takes longer hangs"""
SERIAL = re.compile(r"\br\d+\b")
KEY = "sk-fuzz-0123456789abcdef"


@dataclass
class OddEndpoint:
    """An endpoint of which nothing but the first line of a request is certain."""

    seed: int
    odd_share: float = ODD_SHARE
    port: int = 0
    odd: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    texts: set[str] = field(default_factory=set)
    """every content sent, as a table can hold it"""
    noted: set[str] = field(default_factory=set)
    """serials of the texts whose reply had a value that must become NULL with a note"""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            body = await reader.readexactly(length)
            sent = self._reply(json.loads(body)) if head.startswith(b"POST") else as_sent({"data": [{"id": "mock"}]})
            await _write(writer, sent)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has left, or the endpoint ends
        finally:
            writer.close()

    def _reply(self, body: dict[str, Any]) -> Sent:
        # What a request gets depends on it and on how often it was asked, not on the order in which they come.
        self.sent += 1
        asked = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        self.attempts[asked] += 1
        rng = random.Random(f"{self.seed} {asked} {self.attempts[asked]}")
        serial = f"r{rng.randrange(10**12)}"
        request = Request(body, serial, self.attempts[asked], "mock", body["messages"], body.get("n", 1), None)
        texts = [f"{serial} {text}" if "Final Judgement" in text else f"{text} {serial}" for text in answer(request)]
        document = completion_body(request, texts)
        if body.get("logprobs"):
            for choice, text in zip(document["choices"], texts, strict=True):
                tokens = [{"token": word + " ", "logprob": -0.5, "top_logprobs": []} for word in text.split()]
                choice["logprobs"] = {"content": tokens}
        is_probe = body.get("max_tokens") == 1
        if rng.random() < self.odd_share and not is_probe:
            kind, sent = draw(rng, document)
            self.odd[kind] += 1
        else:
            sent = as_sent(document)
        self._remember(sent)
        return sent

    def _remember(self, sent: Sent) -> None:
        """Notes what may be in the lake after this reply, and whether a note must be."""
        try:
            packed = ("Content-Encoding", "gzip") in sent.headers
            body = gzip.decompress(sent.body) if packed else sent.body
            document = json.loads(body, parse_int=lambda digits: int(digits) if len(digits) < 999 else float(digits))
        except (ValueError, RecursionError, OSError, EOFError):
            return
        todo = [document]
        while todo:
            within = todo.pop()
            if isinstance(within, str):
                self.texts.add(storable(within))
            elif isinstance(within, dict):
                todo += within.values()
            elif isinstance(within, list):
                parts = [part.get("text") if isinstance(part, dict) else part for part in within[:50]]
                todo += [*within, "".join(part for part in parts if isinstance(part, str))]
        if has_odd_value(document):
            self.noted |= set(SERIAL.findall(json.dumps(document)))


def has_odd_value(document: Any) -> bool:
    """Whether a completion has a finish reason or a count of tokens that no table can hold."""
    if not isinstance(document, dict) or not isinstance(document.get("choices"), list):
        return False
    usage = document.get("usage") or {}
    counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")] if isinstance(usage, dict) else ["odd"]
    reasons = [choice.get("finish_reason") for choice in document["choices"] if isinstance(choice, dict)]
    whole = [isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2e9 for count in counts]
    known = [isinstance(reason, str) and len(reason) < 50 and reason.isprintable() for reason in reasons]
    return any(not ok and count is not None for ok, count in zip(whole, counts, strict=True)) or any(
        not ok and reason not in (None, "") for ok, reason in zip(known, reasons, strict=True)
    )


async def _write(writer: asyncio.StreamWriter, sent: Sent) -> None:
    if sent.raw is not None:
        writer.write(sent.raw)
        return
    chunked = sent.length == -1
    headers = [*sent.headers, ("Connection", "close")]
    headers.append(
        ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(sent.length or len(sent.body)))
    )
    lines = [f"HTTP/1.1 {sent.status} Said", *(f"{name}: {value}" for name, value in headers)]
    writer.write("\r\n".join(lines).encode("utf-8") + b"\r\n\r\n")
    step = max(1, -(-len(sent.body) // sent.pieces))
    for at in range(0, len(sent.body), step):
        piece = sent.body[at : at + step]
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if sent.pieces > 1:
            await writer.drain()
            await asyncio.sleep(0)
    if chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    if sent.hangs:
        await asyncio.sleep(60)


@contextmanager
def running_odd_endpoint(endpoint: OddEndpoint) -> Iterator[OddEndpoint]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    serving = asyncio.start_server(endpoint.handle, "127.0.0.1", 0, limit=2**24)
    server = asyncio.run_coroutine_threadsafe(serving, loop).result()
    endpoint.port = server.sockets[0].getsockname()[1]

    async def stop() -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield endpoint
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def fuzz_run(endpoint: OddEndpoint, lake: str, seed: int, prompts: int) -> Counter[str]:
    """One run, resumed until it is finished; returns how its starts ended.

    Raises:
        AssertionError: something is in the lake that was not sent, or a run that did not end.
    """
    settings = _settings(endpoint, lake, seed, prompts)
    ends: Counter[str] = Counter()
    began_s = time.monotonic()
    for _ in range(MOST_STARTS):
        assert time.monotonic() - began_s < LONGEST_RUN_S, f"seed {seed}: the run does not end"
        try:
            run_id = run_recipe(RunSpecification(load_recipe("spar", settings), seed), lake, Progress())
        except FactoryError as error:
            said = str(error)
            assert said and "\n" not in said and "Traceback" not in said, said
            ends[said[:60]] += 1
            continue
        ends["finished"] += 1
        check(endpoint, lake, run_id)
        return ends
    raise AssertionError(f"seed {seed}: {MOST_STARTS} starts and no end: {ends}")


def _settings(endpoint: OddEndpoint, lake: str, seed: int, prompts: int) -> dict[str, Any]:
    return {
        "models.actor.endpoint": endpoint.url,
        "models.refiner.endpoint": endpoint.url,
        "models.actor.timeout_s": 2,
        "models.refiner.timeout_s": 2,
        "models.actor.max_retry_after_s": 0.01,
        "models.refiner.max_retry_after_s": 0.01,
        "budget.max_unreadable": 1,
        "prompts.source": str(_prompts_file(Path(lake).parent, seed, prompts)),
        "stages.sample.logprobs": seed % 2 == 0,
    }


def _prompts_file(folder: Path, seed: int, prompts: int) -> Path:
    file = folder / f"prompts-{seed}.jsonl"
    rows = [{"prompt": f"Say something about the number {number} of list {seed}."} for number in range(prompts)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def check(endpoint: OddEndpoint, lake: str, run_id: str) -> None:
    """The lake holds only what was sent as an answer."""
    assert_ids_unique(lake)
    with Lake.open(lake) as opened:
        for row in opened.query("SELECT kind, text, flaw, note FROM responses JOIN calls USING (call_id)").to_pylist():
            text = row["text"].strip()
            assert THINKING not in text, text
            if is_blank(text):
                assert row["flaw"] == "empty" and row["note"], row
            assert text in endpoint.texts or any(text in sent for sent in endpoint.texts), f"never sent: {text}"
            if row["kind"] == "sampled" and endpoint.noted & set(SERIAL.findall(text)):
                assert row["note"], f"no note: {text}"
        for column in ("critique FROM judgements", "output FROM nodes", "reflection FROM nodes"):
            found = opened.query(f"SELECT {column}").column(0).to_pylist()
            assert not any(text and THINKING in text for text in found), column
        assert not opened.query("FROM calls WHERE least(prompt_tokens, completion_tokens) < 0").num_rows
        assert not opened.query(
            "FROM pairs JOIN responses ON response_id IN (chosen_response_id, rejected_response_id) "
            "WHERE flaw = 'empty'"
        ).num_rows
        for name in ("spar_dpo", "spar_rft"):
            try:
                built = build_training_set(opened, name, {}, [run_id])
            except NoRows:
                continue
            assert THINKING not in str(built.train.to_pylist()) + str(built.held_out.to_pylist())
        for table in ("responses", "judgements", "calls", "nodes"):
            assert not opened.query(f"FROM {table} AS t WHERE contains(t::VARCHAR, '{KEY}')").num_rows, table


def check_journal(lake: str, seed: int, prompts: int) -> None:
    """What the odd endpoint left in the journal spoils no later run, at an endpoint that is sound."""
    sound = OddEndpoint(seed, odd_share=0)
    again = Path(lake).with_name("again")
    Lake.open(str(again), create=True).close()
    shutil.copy(Path(lake) / "journal.sqlite", again / "journal.sqlite")
    with running_odd_endpoint(sound):
        recipe = load_recipe("spar", _settings(sound, str(again), seed, prompts))
        run_recipe(RunSpecification(recipe, seed), str(again), Progress())


def fuzz(seed: int, replies: int, prompts: int = PROMPTS_PER_RUN) -> tuple[Counter[str], Counter[str]]:
    """Sends at least so many odd replies; returns how many of each kind, and how the runs' starts ended."""
    odd: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    pauses_s = failures.FIRST_WAIT_S, failures.LONGEST_WAIT_S
    failures.FIRST_WAIT_S, failures.LONGEST_WAIT_S = 0.002, 0.02
    try:
        while odd.total() < replies:
            with tempfile.TemporaryDirectory() as folder:
                endpoint = OddEndpoint(seed)
                with running_odd_endpoint(endpoint):
                    ends += fuzz_run(endpoint, f"{folder}/lake", seed, prompts)
                check_journal(f"{folder}/lake", seed, prompts)
            odd += endpoint.odd
            seed += 1
            print(f"seed {seed - 1}: {endpoint.odd.total():,} odd of {endpoint.sent:,} replies", flush=True)
    finally:
        failures.FIRST_WAIT_S, failures.LONGEST_WAIT_S = pauses_s
    return odd, ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--replies", type=int, default=10_000, help="odd ones")
    parser.add_argument("--seed", type=int, default=0, help="of the first run; the next ones count on")
    options = parser.parse_args()
    started_s = time.monotonic()
    try:
        odd, ends = fuzz(options.seed, options.replies)
    except AssertionError as error:
        sys.exit(f"FAILED: {error}")
    for kind, count in odd.most_common():
        print(f"{count:>6} {kind}")
    print(f"{odd.total():,} odd replies in {time.monotonic() - started_s:.0f} s; runs: {dict(ends)}")


if __name__ == "__main__":
    main()
