"""What an evaluation adds to the server's time: `factory evaluate ifbench` relative to its bare requests.

    python -m benchmarks.evaluation_time --slots 16 --latency-ms 3000

The endpoint is the project's mock with the given slots and latency per request (16 slots of the embedded model take about
twenty seconds for an answer of 250 tokens: a shorter latency is harder on us). First IFBench is measured on it from an
empty lake, everything included: reading the prompts, loading the checkers, checking, committing rows, the figures. Then a
bare client with as many in flight sends the same requests again, in the same process.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.mock_endpoint import answer_factory
from benchmarks.run_loop import send_again
from factory.evaluation.measuring import run_benchmark
from factory.inference.settings import ModelSettings
from factory.runs.progress import Progress
from stores.lake import Lake
from tests.scripted_endpoint import Request, running_endpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--benchmark", default="ifbench")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--latency-ms", type=float, default=3000)
    parser.add_argument("--words", type=int, default=200, help="in an answer")
    options = parser.parse_args()

    def script(request: Request) -> list[str]:
        return list(answer_factory(request, words=options.words))

    with (
        tempfile.TemporaryDirectory() as folder,
        running_endpoint(script, slots=options.slots, latency_ms=options.latency_ms) as endpoint,
    ):
        model = ModelSettings(endpoint=(endpoint.url,), concurrency=2 * options.slots)
        started = time.monotonic()
        with Lake.open(Path(folder) / "lake", create=True) as lake:
            rows = run_benchmark(lake, options.benchmark, model, "actor", 0, Progress())
        evaluated_s = time.monotonic() - started
        requests = list(endpoint.requests)
        started = time.monotonic()
        asyncio.run(send_again(endpoint, requests, 2 * options.slots))
        bare_s = time.monotonic() - started
    print(
        f"{rows[0].examples} prompts: evaluated in {evaluated_s:.1f} s, the bare requests {bare_s:.1f} s: "
        f"{evaluated_s / bare_s:.3f} times"
    )


if __name__ == "__main__":
    main()
