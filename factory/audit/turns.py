"""The form of conversations: roles, empty turns, nulls, and where two sides part."""

from typing import Any

import polars as pl

from factory.audit.finding import Check, Measured, share
from factory.audit.rows import Audited


def message_faults(given: Audited) -> Measured:
    found = given.turns.select(
        "id",
        empty=pl.any_horizontal(_any(side, _blank()) for side in _sides(given)),
        null=pl.any_horizontal(_any(side, fault) for side in _sides(given) for fault in _nulls(given, side)),
        order=_out_of_order(given),
        system=_system_on_one_side(given),
    )
    detail = {
        "empty message": found["empty"].sum(),
        "null in a message": found["null"].sum(),
        "roles out of order": found["order"].sum(),
        "system prompt on one side only": found["system"].sum(),
    }
    return share(found, pl.any_horizontal("empty", "null", "order", "system"), detail=detail)


def multi_turn(given: Audited) -> Measured:
    several = given.turns.filter((pl.col("chosen").list.len() > 1) | (pl.col("rejected").list.len() > 1))
    if not several.height:
        return Measured(None, why_not="every answer is one turn")
    before = [pl.col(side).list.head(pl.col(side).list.len() - 1) for side in ("chosen", "rejected")]
    return share(several, before[0] != before[1])


def _sides(given: Audited) -> list[str]:
    return ["prompt", "chosen", *(["rejected"] if given.format == "preference" else [])]


def _any(column: str, fault: pl.Expr) -> pl.Expr:
    return pl.col(column).list.eval(fault).list.any().fill_null(False)


def _field(name: str) -> pl.Expr:
    return pl.element().struct.field(name)


def _blank() -> pl.Expr:
    return _field("content").cast(pl.String).fill_null("").str.strip_chars() == ""


def _nulls(given: Audited, column: str) -> list[pl.Expr]:
    kind: Any = given.turns.schema[column]
    return [_field(part.name).is_null() for part in kind.inner.fields]


def _roles(column: str) -> pl.Expr:
    return pl.col(column).list.eval(_field("role").cast(pl.String)).list.join(" ")


def _out_of_order(given: Audited) -> pl.Expr:
    """A prompt is system?, user, (assistant, user)*; an answer assistant, (user, assistant)*, after it or, as some sets have
    it, with the whole conversation before."""
    answer = r"^(system )?(user )?assistant( user assistant)*$"
    faults = [_roles("prompt").str.contains(r"^(system )?user( assistant user)*$").not_()]
    faults += [_roles(side).str.contains(answer).not_() for side in _sides(given)[1:]]
    return pl.any_horizontal(faults)


def _system_on_one_side(given: Audited) -> pl.Expr:
    if given.format != "preference":
        return pl.lit(False)
    first, second = (_any(side, _field("role").cast(pl.String) == "system") for side in ("chosen", "rejected"))
    return first != second


CHECKS = (
    Check(
        "message_faults",
        "Share of rows with an empty message, a null in one, roles out of order, or a system prompt on one side only.",
        message_faults,
        0.0,
        beyond="fail",
    ),
    Check(
        "multi_turn",
        "Share of pairs of several turns whose sides differ before the last turn.",
        multi_turn,
        0.0,
        needs=("rejected",),
    ),
)
