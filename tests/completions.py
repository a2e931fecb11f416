"""A chat completion in OpenAI's shape, made of what a script answers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One chat request as it came in."""

    body: dict[str, Any]
    body_hash: str  # of the body as JSON with sorted keys
    attempt: int  # 1 when this body is seen for the first time
    model: str
    messages: list[dict[str, Any]]
    n: int
    seed: int | None


@dataclass(frozen=True, slots=True)
class Tokens:
    """An answer with log-probabilities: its tokens, each with the probabilities of the alternatives, its own among them.

    They are sent if the request asks for `logprobs`, with the `top_logprobs` likeliest alternatives.
    """

    tokens: Sequence[tuple[str, Mapping[str, float]]]

    @property
    def text(self) -> str:
        return "".join(token for token, _ in self.tokens)

    def logprobs(self, most: int) -> dict[str, Any]:
        """OpenAI's `logprobs` of a choice."""
        content = []
        for token, alternatives in self.tokens:
            likeliest = sorted(alternatives, key=lambda text: -alternatives[text])[:most]
            top = [_with_logprob(text, alternatives[text]) for text in likeliest]
            content.append(_with_logprob(token, alternatives.get(token, 1.0)) | {"top_logprobs": top})
        return {"content": content, "refusal": None}


def _with_logprob(token: str, probability: float) -> dict[str, Any]:
    return {"token": token, "bytes": list(token.encode()), "logprob": math.log(probability)}


def completion_body(request: Request, answers: Sequence[str | Tokens]) -> dict[str, Any]:
    """OpenAI's `chat.completion`; `completion_tokens` covers all choices."""
    prompt_tokens = sum(len(str(message.get("content")).split()) for message in request.messages)
    completion_tokens = sum(len(a.split()) if isinstance(a, str) else len(a.tokens) for a in answers)
    return {
        "id": f"chatcmpl-{request.body_hash}-{request.attempt}",
        "object": "chat.completion",
        "created": 0,  # the answer depends on the request alone
        "model": request.model,
        "choices": [_choice(request, index, answer) for index, answer in enumerate(answers)],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _choice(request: Request, index: int, answer: str | Tokens) -> dict[str, Any]:
    logprobs = None
    if isinstance(answer, Tokens) and request.body.get("logprobs"):
        logprobs = answer.logprobs(request.body.get("top_logprobs") or 0)
    return {
        "index": index,
        "message": {"role": "assistant", "content": answer if isinstance(answer, str) else answer.text},
        "finish_reason": "stop",
        "logprobs": logprobs,
    }
