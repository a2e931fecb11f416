"""What the run loop adds to the endpoint's time: SPaR's wall time relative to its bare requests.

    python -m benchmarks.run_loop --prompts 100 --slots 16 --latency-ms 400

The endpoint is the project's mock with the given slots and latency per request. First SPaR runs against it from an empty
lake, everything included (reading prompts, connecting models, committing rows, merging small files). Then a bare client
with as many in flight sends the same requests again. Both run on the same machine, so the ratio is meaningful.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import aiohttp

from benchmarks.mock_endpoint import answer_factory
from factory.recipes.reading import load_recipe
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from tests.scripted_endpoint import Request, ScriptedEndpoint, running_endpoint


async def send_again(endpoint: ScriptedEndpoint, requests: list[Request], in_flight: int) -> None:
    left = iter(requests)

    async def worker(session: aiohttp.ClientSession) -> None:
        for request in left:
            async with session.post(f"{endpoint.url}/chat/completions", json=request.body) as reply:
                await reply.read()

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(worker(session) for _ in range(in_flight)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--latency-ms", type=float, default=400)
    options = parser.parse_args()

    def script(request: Request) -> list[str]:
        return answer_factory(request, yes_rate=0.4, words=60)

    with (
        tempfile.TemporaryDirectory() as folder,
        running_endpoint(script, slots=options.slots, latency_ms=options.latency_ms) as endpoint,
    ):
        overrides = {"prompts.limit": options.prompts}
        for role in ("actor", "refiner"):
            overrides |= {f"models.{role}.endpoint": endpoint.url, f"models.{role}.concurrency": 2 * options.slots}
        started = time.monotonic()
        run_recipe(RunSpecification(load_recipe("spar", overrides)), str(Path(folder) / "lake"), Progress())
        run_s = time.monotonic() - started
        stats, requests = endpoint.stats(), list(endpoint.requests)
        started = time.monotonic()
        asyncio.run(send_again(endpoint, requests, 2 * options.slots))
        bare_s = time.monotonic() - started
    needed_s = len(requests) * options.latency_ms / 1000 / options.slots
    flow_s = (stats.last_finish_s or 0) - (stats.first_arrival_s or 0)
    print(f"{len(requests)} requests, {needed_s:.1f} s at least for {options.slots} slots")
    print(f"bare client {bare_s:.1f} s; run {run_s:.1f} s, from first request to last answer {flow_s:.1f} s")
    print(f"run / bare {run_s / bare_s:.3f}; first request to last answer / bare {flow_s / bare_s:.3f}")


if __name__ == "__main__":
    main()
