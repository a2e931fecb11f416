"""Tables, ids and the page made from them: what one dataclass says is what Arrow, SQL and the reader see."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import arrow_schema, columns, ddl, from_arrow, to_arrow
from schemas.ids import canonical_json, content_id, messages_hash, model_id, prompt_id, seed_of
from schemas.page import schema_page
from schemas.tables import TABLES, Constraint, Message, Prompt
from tests.rows import any_row, row

TYPED = st.text(st.characters(exclude_categories=["Cs"]))  # a lone surrogate has no UTF-8

every_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


@every_table
@settings(max_examples=20)
@given(data=st.data())
def test_arrow_gives_back_the_rows_it_was_given(table: type, data: st.DataObject) -> None:
    rows = data.draw(st.lists(any_row(table), max_size=3))
    assert from_arrow(table, to_arrow(table, rows)) == rows


@every_table
def test_sql_and_arrow_agree_on_names_and_types(table: type) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(ddl("rows", table))
        made = connection.execute("FROM rows").to_arrow_table().schema
        nullable = {name: null == "YES" for name, _, null, *_ in connection.execute("DESCRIBE rows").fetchall()}
    expected = arrow_schema(table)
    assert made.names == expected.names
    assert made.types == expected.types
    assert nullable == {field.name: field.nullable for field in expected}


@every_table
def test_every_column_says_what_it_means_and_its_id_comes_first(table: type) -> None:
    described = columns(table)
    assert all(column.meaning.strip() == column.meaning != "" for column in described)
    assert described[0].name.endswith("_id") and not described[0].nullable
    assert described[0].meaning.startswith("hash of")


def test_the_schema_page_is_up_to_date() -> None:
    page = Path(__file__).parents[1] / "docs" / "schema.md"
    assert page.read_text("utf-8") == schema_page(), "run: python -m schemas.page > docs/schema.md"


def test_ids_are_those_of_old() -> None:
    # Changing these requires raising ID_RECIPE: a lake's old and new ids must not collide.
    messages = [Message("system", "Be brief."), Message("user", 'Größe? 😀 \n"x"')]
    assert content_id("response", "run", 1, None, 0.5, ["a"]) == "13ec4b868018d8dbb107198badd2752e"
    assert model_id("a model", "b179") == "bf6dec798cd682cd4d713bddd0d740f1"
    assert prompt_id(messages, [Constraint("a:b", '{"n":1}')], None, "p") == "e2a2a95c9067a0313fe5d671c9800ae8"
    assert messages_hash(messages) == "cfe1a13921735564084cd7b88eafa5d94b6e9088877912c97126e009b98f51ed"
    assert seed_of("run", "p", 3) == 1361782622


def test_an_id_depends_on_each_thing_asked_and_on_its_place() -> None:
    asked_for = [("a", "b"), ("b", "a"), ("ab",), ("a", "b", None), ("a", ["b"]), ("a", "b", 0), ("a", "b", False)]
    assert len({content_id("kind", *parts) for parts in asked_for} | {content_id("other", "a", "b")}) == 8


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none() | st.lists(st.text())))
def test_equal_values_have_equal_json_in_any_order(value: dict[str, Any]) -> None:
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


@given(st.integers(0, 2**40))
def test_a_seed_fits_what_endpoints_take(number: int) -> None:
    assert 0 <= seed_of(number) < 2**31


def test_half_an_emoji_has_an_id() -> None:
    assert content_id("response", "\ud83d") != content_id("response", "\ude00")


@given(st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TYPED), max_size=3))
def test_sql_derives_the_hash_of_messages_again(messages: list[Message]) -> None:
    rows = to_arrow(TABLES["prompts"], [row(Prompt, "p", messages=messages)])  # noqa: F841 (read by name in the query)
    found = duckdb.sql("SELECT sha256(to_json(messages)::VARCHAR) FROM rows").fetchone()
    assert found == (messages_hash(messages),)
