"""Rows for tests: `row(Response, "r1", text="hello")` sets what a test is about; the rest is filled in."""

import typing
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st

from schemas.columns import columns
from schemas.tables import Comparison, Judgement, Message, Response, Run
from stores.lake import Lake

Row = TypeVar("Row")

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_FILLER = {"VARCHAR": "", "BIGINT": 0, "DOUBLE": 0.0, "BOOLEAN": False, "TIMESTAMPTZ": NOON}


def row(table: type[Row], id: str, **given: Any) -> Row:
    """A row with that id; columns not given are NULL if allowed, else empty, 0 or noon."""
    key, *rest = columns(table)
    filled = {c.name: None if c.nullable else _filler(c.sql) for c in rest}
    if table is Run:
        filled["recipe"] = "{}"  # views look into it
    return table(**{key.name: id, **filled, **given})


def _filler(sql: str) -> Any:
    if sql.endswith("[]"):
        return []
    return {} if sql.startswith("MAP") else _FILLER[sql]


def minutes(count: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=count)


def asked(content: str) -> list[Message]:
    return [Message("user", content)]


def votes(response_id: str, verdicts: str, **given: Any) -> list[Judgement]:
    """One judgement per letter, y(es), n(o) or u(nparsed), with ids `response_id/0`, `/1`, ..."""
    words = {"y": "yes", "n": "no", "u": "unparsed"}
    fixed = {"response_id": response_id, "judge": "votes", "decides": True, "run_id": "run", "prompt_id": "p1", **given}
    fixed.setdefault("kind", fixed["judge"])
    name = f"{response_id}/{fixed['judge'][0]}" if fixed["judge"] != "votes" else response_id
    return [
        row(Judgement, f"{name}/{i}", vote=i, verdict=words[v], value={"y": 1.0, "n": 0.0, "u": None}[v],
            critique=f"{name}/{i} says {words[v]}", **fixed)
        for i, v in enumerate(verdicts)
    ]  # fmt: skip


def scores(response_id: str, *points: float | None, **given: Any) -> list[Judgement]:
    """A judgement of a judge that gives points of 10 for each of them (None: it could not be read)."""
    fixed = {"judge": "score", "kind": "score", "decides": True, "run_id": "run", "prompt_id": "p1", **given}
    return [
        row(Judgement, f"{response_id}/{fixed['judge']}/{i}", response_id=response_id, vote=i, points=p,
            value=None if p is None else p / 10, **fixed)
        for i, p in enumerate(points)
    ]  # fmt: skip


def compared(first: str, second: str, probability: float | None, **given: Any) -> Comparison:
    """A comparison that showed `first` before `second`."""
    fixed = {"run_id": "run", "prompt_id": "p1", "stage": "compare", **given}
    return row(Comparison, f"{first}>{second}/{fixed['stage']}", first_response_id=first, second_response_id=second,
               probability=probability, **fixed)  # fmt: skip


_SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    # UTF-8 cannot encode a lone surrogate, nor SQL a NUL inside a list or map: both are rejected before they reach rows.
    str: st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    datetime: st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)),
    type(None): st.none(),
}


def any_row(table: type[Row]) -> st.SearchStrategy[Row]:
    """Any row the table may hold."""
    return st.builds(table, **{name: _any(kind) for name, kind in typing.get_type_hints(table).items()})


def _any(kind: Any) -> st.SearchStrategy[Any]:
    if kind in _SCALARS:
        return _SCALARS[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return st.lists(_any(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(*map(_any, arguments), max_size=3)
    return st.one_of(*map(_any, arguments)) if arguments else any_row(kind)


def fill(lake: Lake, *rows: Any) -> None:
    lake.append(rows, message="by hand")


def sampled(id: str, **given: Any) -> Response:
    return row(Response, id, **{"run_id": "run", "prompt_id": "p1", "kind": "sampled", "stage": "sample", **given})


def rows_of(lake: Lake, view: str, columns: str = "*") -> list[tuple[Any, ...]]:
    return lake.connection.execute(f"SELECT {columns} FROM {view} ORDER BY ALL").fetchall()
