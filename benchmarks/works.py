"""python -m benchmarks.works a b sppo faults savings memory

How full the endpoint is kept, and what a request costs the client. The endpoint is the project's mock in its own
process, with S = 64 slots and L = 400 ms per request whatever `n` is; the client is `factory run`, timed from its start.

    a        300 prompts, 5 answers each in one request, each answer judged by 5 votes in one request: 1,800 requests,
             at least 11.25 s; once with even latencies and once with latencies that vary by 90%
    b        tree search over 100 failed answers (BFS, branch 3, keep 2, depth 3, 5 votes per node, whole levels); the
             answers and their verdicts are already in the journal, so only the search is timed
    sppo     300 prompts by the recipe `sppo`: 5 answers in one request, 10 pairs of them compared in 2 orders: 6,300 requests,
             at least 39.38 s
    faults   work a with 5% 429 (no Retry-After), 5% 500 and 1% garbage, compared with work a without
    savings  work b, then with eager expansion, then with votes in two rounds too: requests and generated tokens per
             accepted pair. A third of the texts are good, and nine in ten votes are right about a text
    memory   one answer each to 10,000 and to 100,000 prompts, from an endpoint without latency: peak memory of both

`full`: busy slots over all slots, from the first arrival to the last finish. CPU is the client's, including its children
and its start and end (imports, making and compacting the lake), which a run over one prompt measures separately.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.recipes.reading import RECIPES
from stores.lake import Lake

HERE = Path(__file__).parent
SLOTS, LATENCY_MS = 64, 400


@dataclass(frozen=True, slots=True)
class Measured:
    wall_s: float
    cpu_s: float
    peak_mb: float
    requests: int
    fullness: float
    lake: Path

    def row(self, name: str, bare: "Measured | None" = None) -> str:
        least_s = self.requests * LATENCY_MS / 1000 / SLOTS
        cpu_ms = 1000 * self.cpu_s / self.requests
        beyond = f", {1000 * (self.cpu_s - bare.cpu_s) / self.requests:.2f} beyond start and end" if bare else ""
        return (
            f"{name:<28} {self.requests:>5} requests  {self.wall_s:6.2f} s (at least {least_s:5.2f})  full {self.fullness:.3f}  "
            f"CPU {cpu_ms:.2f} ms per request{beyond}  peak {self.peak_mb:.0f} MB"
        )


@contextmanager
def mock_endpoint(*options: str) -> Iterator[str]:
    """The base URL of a mock endpoint in its own process."""
    words = [sys.executable, "-m", "benchmarks.mock_endpoint", "--slots", str(SLOTS), "--latency-ms", str(LATENCY_MS)]
    process = subprocess.Popen([*words, *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def statistics(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats") as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def prompts_file(folder: Path, count: int) -> Path:
    file = folder / f"prompts-{count}.jsonl"
    line = '{{"prompt": "Write {} words about the harbour in the rain, and end with a question."}}\n'
    file.write_text("".join(line.format(number) for number in range(count)))
    return file


def run(url: str, folder: Path, recipe: Path, prompts: int, *overrides: str) -> Measured:
    """`factory run` from start to end; the lake is `folder`/lake, new or continued."""
    words = [
        sys.executable,
        "-m",
        "factory.cli.main",
        "run",
        str(recipe),
        "--lake",
        str(folder / "lake"),
        "--model",
        url,
    ]
    words += ["--prompts", str(prompts_file(folder, prompts))]
    for override in overrides:
        words += ["-o", override]
    before = statistics(url)
    started_s = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - started_s
    if status:
        sys.exit(f"{' '.join(words)} failed:\n{said}")
    after = statistics(url)
    requests = after["received"] - before["received"]
    return Measured(
        wall_s,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        requests,
        after["fullness"] or 0.0,
        folder / "lake",
    )


def work_a(*options: str) -> Measured:
    with tempfile.TemporaryDirectory() as folder, mock_endpoint(*options) as url:
        return run(url, Path(folder), HERE / "work_a.yaml", 300)


def answers_alone(prompts: int) -> Measured:
    with tempfile.TemporaryDirectory() as name, mock_endpoint("--latency-ms", "0") as url:
        folder = Path(name)
        document = (HERE / "work_a.yaml").read_text().splitlines()
        recipe = folder / "answers.yaml"
        recipe.write_text("\n".join(line for line in document if not line.startswith("  judge:")))
        return run(url, folder, recipe, prompts, "stages.sample.n=1")


def start_and_end() -> Measured:
    """The costs besides requests: imports, and making, compacting and reading a lake."""
    with tempfile.TemporaryDirectory() as folder, mock_endpoint("--latency-ms", "0") as url:
        return run(url, Path(folder), HERE / "work_a.yaml", 1)


@contextmanager
def prepared(*options: str) -> Iterator[tuple[str, Path]]:
    """An endpoint whose 100 answers and verdicts of work b are in the journal, with its counts reset."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        document = (HERE / "work_b.yaml").read_text().splitlines()
        unsearched = folder / "work_b_unsearched.yaml"
        unsearched.write_text("\n".join(line for line in document if not line.startswith("  search:")))
        fixed = ("--failing-drafts", "--judge-yes", "0.28", "--vote-agreement", "0.9", "--votes-in-order", *options)
        with mock_endpoint("--latency-ms", "0", *fixed) as url:
            run(url, folder, unsearched, 100)
            port = url.split(":")[2].split("/")[0]
        with mock_endpoint(*fixed, "--port", port) as url:
            yield url, folder


def work_b(*overrides: str) -> tuple[Measured, dict[str, Any]]:
    with prepared() as (url, folder):
        measured = run(url, folder, HERE / "work_b.yaml", 100, *overrides)
        with Lake.open(folder / "lake") as lake:
            (found,) = lake.query(
                "SELECT count(*) FILTER (stage = 'search') AS requests, "
                "sum(completion_tokens) FILTER (stage = 'search')::BIGINT AS tokens, "
                "(SELECT count(*) FROM trees WHERE outcome = 'accepted') AS accepted, "
                "(SELECT md5(string_agg(prompt_id || outcome, ',' ORDER BY prompt_id)) FROM trees) AS outcomes FROM calls "
                "WHERE run_id IN (SELECT run_id FROM trees)"
            ).to_pylist()
        return measured, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("works", nargs="+", choices=("a", "b", "sppo", "faults", "savings", "memory"))
    works = parser.parse_args().works
    bare = start_and_end()
    print(f"start and end: {bare.wall_s:.2f} s, CPU {bare.cpu_s:.2f} s, peak {bare.peak_mb:.0f} MB", flush=True)
    if "a" in works:
        print(work_a().row("a", bare), flush=True)
        print(work_a("--jitter", "0.9").row("a, latencies ±90%", bare), flush=True)
    if "b" in works:
        print(work_b()[0].row("b", bare), flush=True)
    if "sppo" in works:
        with tempfile.TemporaryDirectory() as folder, mock_endpoint() as url:
            print(run(url, Path(folder), RECIPES / "sppo.yaml", 300).row("sppo", bare), flush=True)
    if "faults" in works:
        without = work_a()
        faulty = work_a("--fault-429", "0.05", "--fault-500", "0.05", "--fault-garbage", "0.01")
        print(faulty.row("a, 11% faults", bare), flush=True)
        print(f"    {faulty.wall_s / without.wall_s:.2f} times the wall time without faults ({without.wall_s:.2f} s)")
    if "memory" in works:
        few, many = (answers_alone(prompts) for prompts in (10_000, 100_000))
        print(few.row("10,000 prompts", bare), flush=True)
        print(many.row("100,000 prompts", bare), flush=True)
        print(
            f"    {many.peak_mb / few.peak_mb:.2f} times the memory, {many.requests / many.wall_s:.0f} requests per second"
        )
    if "savings" in works:
        (_, full), (_, eager), (_, both) = (
            work_b(),
            work_b("stages.search.expansion=eager"),
            work_b("stages.search.expansion=eager", "stages.judge.first_votes=3"),
        )
        for name, found in (("whole levels, all votes", full), ("eager", eager), ("eager, votes in rounds", both)):
            shares = [found[what] / found["accepted"] for what in ("requests", "tokens")]
            of_full = [
                share * full["accepted"] / full[what]
                for share, what in zip(shares, ("requests", "tokens"), strict=True)
            ]
            same = "the same trees accepted" if found["outcomes"] == full["outcomes"] else "OTHER trees accepted"
            print(
                f"{name:<28} {found['accepted']} accepted, {shares[0]:.2f} requests ({of_full[0]:.2f}) and "
                f"{shares[1]:.0f} generated tokens ({of_full[1]:.2f}) per accepted pair; {same}",
                flush=True,
            )


if __name__ == "__main__":
    main()
