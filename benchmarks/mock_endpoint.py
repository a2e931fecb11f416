"""python -m benchmarks.mock_endpoint --slots 64 --latency-ms 400 --jitter 0.9 --fault-500 0.05

Runs the tests' scripted endpoint in its own process, with a script that answers every call the factory
makes in the format its templates ask for. Prints its URL on the first line and, when stopped (SIGTERM or
Ctrl-C), its statistics as one line of JSON; until then they are at `/stats`. The answers depend only on
the requests, and their content is meaningless.
"""

import argparse
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from tests.completions import Tokens
from tests.scripted_endpoint import Faults, Request, draw_fraction, running_endpoint

# How the factory's templates are recognised, in the last message: update these when the templates change.
JUDGE_MARK = "Final Judgement"
REFINE_MARK = "Refined response:"
COMPARE_MARK, COMPARE_WORD_MARK = "Preferred response: 1", "Answer with the number alone: 1 or 2"
SCORE_MARK, SCORE_WORD_MARK = "Score: ", "from 1 (useless) to 10"

DRAFT = "draft:"

WORDS = ["amber", "bridge", "candle", "delta", "ember", "forest", "garden", "harbour", "island"]
WORDS += ["jasmine", "kettle", "lantern", "meadow", "north", "orchard", "pepper", "quarry", "river"]


def answer_factory(
    request: Request,
    yes_rate: float = 0.5,
    words: int = 30,
    failing_drafts: bool = False,
    votes_so_far: Counter[str] | None = None,
    agreement: float | None = None,
) -> Sequence[str | Tokens]:
    """`n` texts that fit the request: votes (Yes at `yes_rate`, 0..1), refinements, comparisons, scores, or answers.

    failing_drafts: every vote on an unrefined answer is No.
    agreement: if given, a share `yes_rate` of the texts is good, and each vote is right about a text with this probability.
    votes_so_far: if given, the k-th vote on a text does not depend on how many are requested at once.
    """
    chance = random.Random(request.body_hash)
    texts = [" ".join(chance.choices(WORDS, k=words)) for _ in range(request.n)]
    asked = str(request.messages[-1].get("content"))
    if request.body.get("response_format"):
        votes = ["yes" if chance.random() < yes_rate else "no" for _ in texts]
        return [json.dumps({"critique": f"It says {t}.", "verdict": v}) for t, v in zip(texts, votes, strict=True)]
    if JUDGE_MARK in asked:
        if agreement is not None:
            yes_rate = agreement if draw_fraction("quality", asked) < yes_rate else 1 - agreement
        if failing_drafts and DRAFT in asked:
            yes_rate = 0.0
        draws = [chance.random() for _ in texts]
        if votes_so_far is not None:
            first = votes_so_far[asked]
            votes_so_far[asked] += request.n
            draws = [draw_fraction("vote", asked, first + index) for index in range(request.n)]
        votes = ["Yes" if draw < yes_rate else "No" for draw in draws]
        pairs = zip(texts, votes, strict=True)
        return [f"The response says {text}.\n{JUDGE_MARK}: {vote}" for text, vote in pairs]
    if COMPARE_WORD_MARK in asked:
        first = chance.random()
        return [Tokens([("1" if first > 0.5 else "2", {"1": first, "2": 1 - first})]) for _ in texts]
    if COMPARE_MARK in asked:
        return [f"They say {text}.\nPreferred response: {chance.randint(1, 2)}" for text in texts]
    if SCORE_WORD_MARK in asked:
        return [str(chance.randint(1, 10)) for _ in texts]
    if SCORE_MARK in asked:
        return [f"It says {text}.\nScore: {chance.randint(0, 5)}" for text in texts]
    if REFINE_MARK in asked:
        return [f"Reflection: another wording.\n{REFINE_MARK}\n{text}" for text in texts]
    return [f"{DRAFT} {text}" for text in texts] if failing_drafts else texts


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    options = _parser().parse_args(arguments)
    stopping = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)  # before the endpoint's thread inherits it
    script = partial(
        answer_factory,
        yes_rate=options.judge_yes,
        words=options.words,
        failing_drafts=options.failing_drafts,
        agreement=options.vote_agreement,
        votes_so_far=Counter() if options.votes_in_order else None,
    )
    with running_endpoint(
        script,
        slots=options.slots,
        latency_ms=options.latency_ms,
        jitter=options.jitter,
        queue_limit=options.queue_limit,
        retry_after_s=options.retry_after_s,
        faults=Faults(
            status_429=options.fault_429,
            status_500=options.fault_500,
            garbage=options.fault_garbage,
            drop=options.fault_drop,
            hang=options.fault_hang,
            seed=options.fault_seed,
        ),
        models=options.model or ["mock"],
        api_key=os.environ[options.api_key_env] if options.api_key_env else None,
        port=options.port,
        keep_requests=False,
    ) as endpoint:
        print(endpoint.url, flush=True)
        signal.sigwait(stopping)
        print(json.dumps(asdict(endpoint.stats())), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mock_endpoint")
    add = partial(parser.add_argument, metavar="")
    add("--slots", type=int, default=64, help="requests served at once")
    add("--latency-ms", type=float, default=0.0, help="time in a slot, whatever n is")
    add("--jitter", type=float, default=0.0, help="0..1, spread of the latency around its middle")
    add("--queue-limit", type=int, help="requests that may queue; beyond it, 429")
    add("--retry-after-s", type=int, help="the Retry-After of that 429")
    for fault in ("429", "500", "garbage", "drop", "hang"):
        add(f"--fault-{fault}", type=float, default=0.0, help="probability, 0..1")
    add("--fault-seed", type=int, default=0, help="which requests fail")
    add("--judge-yes", type=float, default=0.5, help="0..1, how often a vote is Yes")
    add(
        "--vote-agreement", type=float, help="0..1, how often votes agree on a text (default: each vote is independent)"
    )
    parser.add_argument("--failing-drafts", action="store_true", help="every vote on an unrefined answer is No")
    parser.add_argument("--votes-in-order", action="store_true", help="the k-th vote on a text is always the same")
    add("--words", type=int, default=30, help="words in an answer")
    add("--model", action="append", help="a model's name, repeatable (default: mock)")
    add("--api-key-env", help="environment variable with the key that callers must send")
    add("--port", type=int, default=0, help="0 picks a free one")
    return parser


if __name__ == "__main__":
    main()
