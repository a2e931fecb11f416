"""A call to a model as it was sent, what came back, and the same request as a `curl` line without the key."""

import json
import shlex
from dataclasses import dataclass
from typing import Any

from factory.view.asking import json_object, query, query_one
from schemas.tables import Message
from stores.lake import Lake

KEY = "$API_KEY"
"""what stands for the key: a shell's variable"""
_AS_KEPT = (
    "call_id", "run_id", "prompt_id", "stage", "role", "endpoint", "template", "choices", "seed", "prompt_tokens",
    "completion_tokens", "latency_s", "retries", "from_journal", "error", "note",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SentCall:
    """A call, its request and its reply."""

    call_id: str
    run_id: str
    prompt_id: str
    stage: str
    role: str | None
    model: str
    endpoint: str
    template: str | None
    messages: tuple[Message, ...]
    """rendered from rows; empty: the call has no answer"""
    as_sent: bool
    """whether their SHA-256 is that of what was sent"""
    parameters: dict[str, Any]
    choices: int
    seed: int
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_s: float | None
    retries: int
    from_journal: bool
    error: str | None
    note: str | None
    finish_reasons: tuple[str, ...]
    reasonings: tuple[str, ...]
    replies: tuple[str, ...]
    """each choice, as rows keep it"""

    @property
    def body(self) -> dict[str, Any]:
        """The request's body, its parameters by OpenAI's names."""
        messages = [{"role": message.role, "content": message.content} for message in self.messages]
        return {"model": self.model, "messages": messages, **self.parameters, "n": self.choices, "seed": self.seed}

    @property
    def curl(self) -> str:
        """A line for a shell; the key is read from a variable. A model that the run served itself has no address."""
        base = self.endpoint if self.endpoint.startswith(("http://", "https://")) else None
        address = (
            '"$BASE_URL/chat/completions"' if base is None else shlex.quote(f"{base.rstrip('/')}/chat/completions")
        )
        return (
            f"curl {address} -H 'Content-Type: application/json' -H \"Authorization: Bearer {KEY}\" "
            f"-d {shlex.quote(json.dumps(self.body))}"
        )


def read_call(lake: Lake, call_id: str) -> SentCall:
    """Raises:
    NotThere: there is no such call.
    """
    row = query_one(lake, "call", "calls", call_id)
    replies = query(lake, "call_replies", {"call_id": call_id}).column("text").to_pylist()
    return SentCall(
        **{name: row[name] for name in _AS_KEPT},
        model=row["model"] or "",
        messages=tuple(Message(m["role"], m["content"]) for m in row["messages"] or ()),
        as_sent=row["sent"] == row["messages_hash"],
        parameters=json_object(row["parameters"]),
        finish_reasons=tuple(row["finish_reasons"] or ()),
        reasonings=tuple(row["reasonings"] or ()),
        replies=tuple("" if text is None else text for text in replies),
    )
