"""Serves a reward model: `python -m trainers.scoring_server`, started by `factory/inference/reward_model.py`.

It speaks the part of vLLM's protocol that scores: `POST /classify` with a conversation, answered with its raw logit, and
`GET /v1/models`. Its settings are one line of JSON on standard input; its answer is one line on standard output, the
address or, in one sentence, why there is none. It ends with its parent.
"""

import asyncio
import hmac
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from schemas.errors import FactoryError
from schemas.parents import die_with
from trainers.scoring import RewardModel, Unscorable, check_reward_model, load_reward_model

AT_ONCE = 16
"""conversations in one forward pass on an accelerator; on a processor one, whose score then depends on no other"""
MAX_BODY_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Asked:
    """What the parent asks for."""

    parent_pid: int
    folder: str
    where: str
    """what names the folder, for errors"""
    name: str
    """the model's name in requests"""
    api_key: str
    threads: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A conversation whose score somebody waits for."""

    tokens: list[int]
    score: "asyncio.Future[float]"


def main() -> None:
    asked = Asked(**json.loads(sys.stdin.readline()))
    die_with(asked.parent_pid)
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print; the parent expects exactly one line
    try:
        asyncio.run(_serve(asked, _loaded(asked), report))
    except FactoryError as error:
        print(str(error), file=report, flush=True)


def _loaded(asked: Asked) -> RewardModel:
    check_reward_model(Path(asked.folder), asked.where)  # before the seconds that torch takes
    try:
        import torch
    except ModuleNotFoundError:
        raise FactoryError(
            f"{asked.where}: serving a reward model needs torch, which is not installed: pip install torch and "
            "'preference-factory[train]', or give the base URL of a vLLM server"
        ) from None
    torch.set_num_threads(asked.threads)
    return load_reward_model(Path(asked.folder), asked.where)


async def _serve(asked: Asked, model: RewardModel, report: Any) -> None:
    queue: asyncio.Queue[Waiting] = asyncio.Queue()
    application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_with_key(asked.api_key)])
    application.add_routes(
        [web.post("/classify", _classify(asked, model, queue)), web.get("/v1/models", _models(asked, model))]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", file=report, flush=True)
    await _score_for_ever(model, queue)


async def _score_for_ever(model: RewardModel, queue: asyncio.Queue[Waiting]) -> None:
    most = 1 if model.model.device.type == "cpu" else AT_ONCE
    while True:
        batch = [await queue.get()]
        while len(batch) < most and not queue.empty():
            batch.append(queue.get_nowait())
        try:
            scores = await asyncio.to_thread(model.score, [one.tokens for one in batch])
        except Exception as error:  # whatever it is: those who wait for it would wait for ever
            for one in batch:
                if not one.score.done():
                    one.score.set_exception(
                        web.HTTPInternalServerError(text=_error(" ".join(str(error).split())[:300]))
                    )
            continue
        for one, score in zip(batch, scores, strict=True):
            if not one.score.done():  # its client may have left
                one.score.set_result(score)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _with_key(key: str) -> Any:
    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
            raise web.HTTPUnauthorized(text=_error("wrong key"), content_type="application/json")
        return await handler(request)

    return check


def _models(asked: Asked, model: RewardModel) -> Handler:
    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": asked.name, "max_model_len": model.most_tokens}]})

    return models


def _classify(asked: Asked, model: RewardModel, queue: asyncio.Queue[Waiting]) -> Handler:
    async def classify(request: web.Request) -> web.Response:
        body = await request.json()
        try:
            tokens = await asyncio.to_thread(model.tokens, body["messages"])
        except Unscorable as error:
            raise web.HTTPBadRequest(text=_error(str(error)), content_type="application/json") from error
        waiting = Waiting(tokens, asyncio.get_running_loop().create_future())
        queue.put_nowait(waiting)
        score = await waiting.score
        return web.json_response(
            {
                "object": "list",
                "model": asked.name,
                "data": [{"index": 0, "label": None, "probs": [score], "num_classes": 1}],
                "usage": {"prompt_tokens": len(tokens), "total_tokens": len(tokens), "completion_tokens": 0},
            }
        )

    return classify


def _error(words: str) -> str:
    return json.dumps({"error": {"message": words}})


if __name__ == "__main__":
    main()
