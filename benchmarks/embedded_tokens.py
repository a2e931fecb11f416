"""Generated tokens per second of the embedded model, by answers per request.

    python -m benchmarks.embedded_tokens --prompts 24 --answers 5 --slots 16

Two ways to the same answers: one request with `n`, and `n` requests with the seeds that the server would give its
choices. Every choice's tokens are counted; for one request, by tokenizing the texts, because the server's usage covers
only the first choice. Start-up is not counted. Run it on an idle machine.
"""

import argparse
import asyncio
import time
from typing import Any

import aiohttp

from factory.inference.embedded import EmbeddedServer, serve
from factory.inference.weights import fetch

TOPICS = ["a lighthouse", "the first snow", "how bread rises", "a job interview", "bees", "the printing press"]


class Client:
    """A minimal client, so that no client library is measured with the server."""

    def __init__(self, server: EmbeddedServer, session: aiohttp.ClientSession) -> None:
        self.server, self.session = server, session

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        key = {"Authorization": f"Bearer {self.server.api_key}"}
        async with self.session.post(self.server.base_url + path, json=body, headers=key) as answer:
            answer.raise_for_status()
            result: dict[str, Any] = await answer.json()
            return result

    async def generated_tokens(self, prompt: int, seed: int, n: int, max_tokens: int) -> int:
        text = f"Write about {TOPICS[prompt % len(TOPICS)]} in 150 words, without commas, naming {prompt}."
        answer = await self.post(
            "/chat/completions",
            messages=[{"role": "user", "content": text}],
            **{"n": n, "seed": seed, "max_tokens": max_tokens, "temperature": 0.9, "top_p": 0.9},
        )
        if n == 1:
            return int(answer["usage"]["completion_tokens"])
        return sum([await self._count(choice) for choice in answer["choices"]])

    async def _count(self, choice: dict[str, Any]) -> int:
        tokens: list[int] = (await self.post("/../tokenize", content=choice["message"]["content"]))["tokens"]
        return len(tokens) + int(choice["finish_reason"] == "stop")  # the stop token was generated too


async def run(args: argparse.Namespace) -> None:
    async with (
        serve(fetch(args.model), slots=args.slots, context_tokens=args.context) as server,
        aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(None), connector=aiohttp.TCPConnector(limit=args.concurrency)
        ) as session,
    ):
        client = Client(server, session)
        for label, n, apart in (("one request with n", args.answers, 1), ("n requests", 1, args.answers)):
            start = time.monotonic()
            counts = await asyncio.gather(
                *[
                    client.generated_tokens(prompt, 1000 * prompt + answer, n, args.max_tokens)
                    for prompt in range(args.prompts)
                    for answer in range(apart)
                ]
            )
            took_s = time.monotonic() - start
            print(f"{label}: {sum(counts)} tokens in {took_s:.1f} s, {sum(counts) / took_s:.0f} tokens/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a known model's name, or a GGUF file")
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--answers", type=int, default=5, help="for each prompt")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--context", type=int, default=4096, help="tokens for each slot")
    parser.add_argument("--concurrency", type=int, default=24, help="requests under way at once")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
