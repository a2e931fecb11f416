"""Texts that try to run, to break out or to break a page, and a lake that has one in every text."""

import dataclasses
import typing
from pathlib import Path
from typing import Any

from schemas.tables import TABLES, Constraint, Loop, Message, Run
from stores.lake import Lake
from tests.rows import row

MARK = "pwned"
TEXTS = (
    f"<script>window.{MARK} = 1</script>",
    f"<img src=x onerror=window.{MARK}=2>",
    f'"><svg/onload=window.{MARK}=3>',
    f"' autofocus onfocus=window.{MARK}=4 x='",
    f"javascript:window.{MARK}=5",
    f"[a](javascript:window.{MARK}=6) ![b](http://evil.example/x.png)",
    "<style>* { display: none }</style>",
    "<link rel=stylesheet href=http://evil.example/x.css>",
    "<iframe src=http://evil.example></iframe>",
    "<form action=http://evil.example><input name=q></form>",
    "<meta http-equiv=refresh content='0;url=http://evil.example'>",
    "</textarea></pre></title></script><h1>out</h1>",
    "\x1b[31mred\x1b]8;;http://evil.example\x07link",
    "abc\u202egnp.exe\u2066 \u200b\ufeff",
    "{{ 7 * 7 }} {% raw %} ${7*7} #{7*7}",
    "&lt;b&gt; &#x3c;script&#x3e;",
    "'; DROP TABLE runs; --",
    "../../../etc/passwd",
    "%3Cscript%3E %00 %0d%0aX-Header: 1",
    "\ud7ff\U0010ffff\ue000 \u0301\u0301\u0301",
    "long " * 200_000,
    "line\n" * 100_000,
)
CONSTRAINTS = (
    ("length_constraints:number_words", "{}"),
    ("length_constraints:number_words", '{"num_words": "many", "relation": 7}'),
    ("keywords:existence", '{"keywords": "<b>"}'),
    ("keywords:existence", "not JSON"),
    ("detectable_format:title", "[]"),
    ("no:such_kind", "null"),
)
"""kinds of constraints with arguments that no checker takes"""


def fill_hostile(where: Path) -> None:
    """Adds rows to every table that point to each other, with a hostile text in every column that is only text."""
    with Lake.open(where, create=True) as lake:
        rows: list[Any] = []
        for at, text in enumerate(TEXTS):
            for table in TABLES.values():
                rows.append(_hostile(table, at, text))
        lake.append(rows, message="hostile")


_IDS = {
    "response_ids": lambda at: [f"response_id{at}"],
    "accepted_node_id": lambda at: f"node_id{at}",
    "parent_node_id": lambda at: None,
    "root_response_id": lambda at: f"response_id{at}",
    "chosen_response_id": lambda at: f"response_id{at}",
    "rejected_response_id": lambda at: f"response_id{(at + 1) % len(TEXTS)}",
    "first_response_id": lambda at: f"response_id{at}",
    "second_response_id": lambda at: f"response_id{(at + 1) % len(TEXTS)}",
    "judged_response_id": lambda at: f"response_id{at}",
    "critique_judgement_id": lambda at: f"judgement_id{at}",
    "other_model_id": lambda at: None,
    "evolved_from": lambda at: None,
    "parent_run_id": lambda at: None,
    "forked_from": lambda at: None,
}
_JSON = {
    "recipe": "{}", "parameters": "{}", "configuration": "{}", "metrics": "{}", "settings": '{"loop": {"rounds": 1}}',
    "environment": "{}", "audit": None, "logprobs": None, "views": None,
}  # fmt: skip
_KINDS = {
    "verdict": "yes", "state": "accepted", "outcome": "accepted", "strategy": "bfs", "status": "finished", "kind": "sampled",
    "format": "preference", "step": "run",
}  # fmt: skip


def _hostile(table: type, at: int, text: str) -> Any:
    hints = typing.get_type_hints(table)
    key, *names = [field.name for field in dataclasses.fields(table)]
    given: dict[str, Any] = {}
    for name in names:
        if name in _IDS:
            given[name] = _IDS[name](at)
        elif name.endswith("_id"):
            given[name] = f"{name}{at}"
        elif name in _JSON:
            given[name] = _JSON[name]
        elif name in _KINDS:
            given[name] = _KINDS[name]
        elif name == "messages":
            given[name] = [Message("user", text)]
        elif name == "constraints":
            given[name] = [Constraint(text[:500], "{}"), Constraint(*CONSTRAINTS[at % len(CONSTRAINTS)])]
        elif hints[name] in (str, str | None):
            given[name] = text
        elif hints[name] == list[str]:
            given[name] = [text[:1_000]]
    # The ids themselves are harmless but for one row: they stand in addresses.
    id = f"{key}{at}" if key.endswith("_id") else text
    if table in (Run, Loop):
        given[f"{'run' if table is Run else 'loop'}_id"] = f"{'run' if table is Run else 'loop'}_id{at}"
    return row(table, id, **given)
