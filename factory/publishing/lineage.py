"""The rows that a training set's rows rest on, as further configs: with them a stranger asks the same SQL."""

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from schemas.columns import arrow_schema, from_arrow, to_arrow
from schemas.errors import FactoryError
from schemas.ids import content_id
from schemas.tables import TABLES, Review
from stores.lake import Lake
from stores.sql import sql

BY_PROMPT = (
    "run_prompts", "calls", "responses", "checklist_items", "judgements", "comparisons", "meta_judgements", "claims",
    "trees", "nodes", "pairs", "checks", "reviews",
)  # fmt: skip
CONFIGS = ("runs", "models", "prompts", "documents", *BY_PROMPT)
PRIVATE = "http://private.invalid"
"""stands for an address that means nothing outside of the publisher's network"""
_URL = re.compile(r"(?:https?|wss?)://[^\s\"'\\,\]]+", re.IGNORECASE)
_NAME_MODELS = ("calls", "responses", "judgements", "comparisons", "meta_judgements", "claims")
_TEXTS = {
    "prompts": "[array_to_string(list_transform(messages, lambda m: m.content), chr(10)), reference]",
    "responses": "[text]",
    "judgements": "[critique]",
    "comparisons": "rationales",
    "meta_judgements": "rationales",
    "claims": "list_concat([text, question], list_transform(evidence, lambda e: e.text))",
    "checklist_items": "[text]",
    "documents": "[title, text]",
    "nodes": "[reflection, output]",
    "calls": "list_concat(coalesce(reasonings, []), [note, error])",
    "runs": "list_concat([recipe, reason, parameters], map_values(templates))",
    "reviews": "[reason]",
}
"""The texts of a table that a model, a server or a person wrote, as SQL."""


def lineage_tables(lake: Lake, prompt_ids: list[str], run_ids: list[str]) -> Iterator[tuple[str, pa.Table]]:
    """The tables' rows, each ordered by its id: all that the runs did with these prompts.

    Addresses in private networks are replaced, and reviewers are numbered: neither is the public's business.

    Args:
        lake: open at the set's snapshot.
        prompt_ids: those of the set's rows, and of the rows that were left out.
    """
    asked = lake.connection
    asked.register("published_prompts", pa.table({"prompt_id": pa.array(prompt_ids, pa.string())}))
    try:
        family = lake.query(sql("publishing/lineage"))
        asked.register("published_family", family)
        given = {"runs": run_ids}
        models: set[str] = set()
        for name in BY_PROMPT:
            within = "list_contains($runs, run_id) AND prompt_id IN (SELECT prompt_id FROM published_family)"
            rows = _read(lake, name, within, given)
            if name in _NAME_MODELS:
                models |= set(rows.column("model_id").to_pylist()) - {None}
            yield name, rows
        cited = (
            "document_id IN (SELECT unnest(evidence).document_id FROM claims WHERE list_contains($runs, run_id) "
            "AND prompt_id IN (SELECT prompt_id FROM published_family))"
        )
        yield "documents", _read(lake, "documents", cited, given)
        yield "prompts", _read(lake, "prompts", "prompt_id IN (SELECT prompt_id FROM published_family)", {})
        yield "runs", _read(lake, "runs", "list_contains($runs, run_id)", given)
        yield "models", _read(lake, "models", "list_contains($models, model_id)", {"models": sorted(models)})
    finally:
        for name in ("published_prompts", "published_family"):
            asked.unregister(name)


def _read(lake: Lake, name: str, where: str, given: dict[str, Any]) -> pa.Table:
    schema = arrow_schema(TABLES[name])
    rows = lake.query(f"SELECT * FROM {name} WHERE {where} ORDER BY {schema.names[0]}", given)
    return rows.select(schema.names).cast(_without_nulls(schema))


def _without_nulls(schema: pa.Schema) -> pa.Schema:
    """The schema as a query's rows have it: every column may be NULL."""
    return pa.schema([field.with_nullable(True) for field in schema])


def texts_of(lake: Lake, tables: dict[str, pa.Table]) -> pa.Table:
    """id, text: every text of the tables that somebody wrote, to look for secrets in."""
    parts = []
    for name, expression in _TEXTS.items():
        if name not in tables:
            continue
        lake.connection.register("published_rows", tables[name])
        key = tables[name].column_names[0]
        parts.append(
            lake.query(
                f"SELECT * FROM (SELECT '{name} ' || {key} AS id, unnest({expression}) AS text FROM published_rows) "
                "WHERE text IS NOT NULL"
            )
        )
        lake.connection.unregister("published_rows")
    return pa.concat_tables(parts)


# What is nobody's business


def without_names(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """The tables with addresses of private networks and names of reviewers replaced."""
    changed = dict(tables)
    for name, columns in (
        ("calls", ("endpoint", "error", "note")),
        ("models", ("origin",)),
        ("runs", ("recipe", "reason")),
    ):
        if name in changed:
            for column in columns:
                changed[name] = _mapped(changed[name], column, without_addresses)
    if "reviews" in changed:
        changed["reviews"] = _numbered(changed["reviews"])
    return changed


def _numbered(reviews: pa.Table) -> pa.Table:
    """Reviews whose reviewers are 'reviewer 1', 'reviewer 2', ..., with the ids that these would have had."""
    rows: list[Review] = from_arrow(Review, reviews)
    names = sorted({row.reviewer for row in rows})
    times: Counter[tuple[str, str]] = Counter()
    made = []
    for row in sorted(rows, key=lambda row: (row.reviewed_at, row.review_id)):
        reviewer = f"reviewer {names.index(row.reviewer) + 1}"
        id = content_id("review", row.pair_id, reviewer, times[row.pair_id, reviewer])
        times[row.pair_id, reviewer] += 1
        made.append(replace(row, reviewer=reviewer, review_id=id))
    return to_arrow(Review, sorted(made, key=lambda row: row.review_id))


def without_addresses(text: str) -> str:
    """A text in which addresses of hosts that are not public are replaced."""
    return _URL.sub(lambda found: found[0] if _is_public(found[0]) else PRIVATE, text)


def _is_public(url: str) -> bool:
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".local", ".internal", ".lan", ".home", ".corp", ".localdomain"))


def _mapped(rows: pa.Table, column: str, change: Any) -> pa.Table:
    place = rows.column_names.index(column)
    known: dict[str, str] = {}
    values = [
        None if value is None else known.setdefault(value, change(value)) for value in rows.column(column).to_pylist()
    ]
    return rows.set_column(place, column, pa.array(values, pa.string()))


# Maps, which `datasets` cannot hold


def for_hub(rows: pa.Table) -> pa.Table:
    """The rows with maps as lists of {key, value}."""
    for place, field in enumerate(rows.schema):
        if pa.types.is_map(field.type):
            kind = pa.list_(pa.struct([("key", field.type.key_type), ("value", field.type.item_type)]))
            values = [
                None if v is None else [{"key": key, "value": value} for key, value in v]
                for v in rows.column(place).to_pylist()
            ]
            rows = rows.set_column(place, field.name, pa.array(values, kind))
    return rows.replace_schema_metadata(None)


def from_hub(rows: pa.Table, name: str, whose: str) -> pa.Table:
    """The rows of a published config as the lake's table takes them.

    Raises:
        FactoryError: they do not fit the table.
    """
    schema = arrow_schema(TABLES[name])
    if rows.column_names != schema.names:
        raise FactoryError(
            f"{whose}: its config {name} has the columns {', '.join(rows.column_names)[:200]}, and the table has "
            f"{', '.join(schema.names)}"
        )
    columns = []
    for field in schema:
        given = rows.column(field.name)
        if pa.types.is_map(field.type):
            given = _as_map(given, field, name, whose)
        if given.type != field.type:
            raise FactoryError(
                f"{whose}: column {field.name} of its config {name} has type {given.type}, and the table {field.type}"
            )
        if given.null_count and not field.nullable:
            raise FactoryError(f"{whose}: column {field.name} of its config {name} is NULL in some rows")
        columns.append(given)
    return pa.Table.from_arrays(columns, schema=schema)


def _as_map(given: pa.ChunkedArray, field: pa.Field, name: str, whose: str) -> pa.ChunkedArray:
    kind = pa.list_(pa.struct([("key", field.type.key_type), ("value", field.type.item_type)]))
    try:
        values = [
            None if v is None else [(entry["key"], entry["value"]) for entry in v] for v in given.cast(kind).to_pylist()
        ]
        return pa.chunked_array([pa.array(values, field.type)])
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise FactoryError(
            f"{whose}: column {field.name} of its config {name} is not a list of key and value"
        ) from error


def recipe_of_run(recipe: str) -> dict[str, Any]:
    """A run's recipe as plain values, without private addresses."""
    found = json.loads(without_addresses(recipe))
    return found if isinstance(found, dict) else {}
