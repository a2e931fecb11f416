"""Whatever a row of somebody's file holds, it is read or refused in one sentence."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from factory.importing.rows import Imported
from factory.importing.shapes import sample_of
from factory.prompts.questions import Columns, check_columns, question_of
from factory.prompts.sources import prompt_of
from schemas.columns import arrow_schema
from schemas.errors import FactoryError
from schemas.tables import TABLES

NAMES = st.sampled_from(
    ["prompt", "messages", "conversations", "system", "language", "reference", "constraints", "instruction_id_list", "kwargs",
     "chosen", "rejected", "score_chosen", "chosen-rating", "rejected_model", "instruction", "completions", "context", "tools",
     "response1", "response2", "overall_preference", "response", "completion", "label", "helpfulness", "model", "licence"]
)  # fmt: skip
KEYS = st.sampled_from(
    ["role", "content", "from", "value", "type", "text", "tool_calls", "response", "model", "annotations", "Rating",
     "Rationale", "overall_score", "fine-grained_score", "critique", "id", "helpfulness"]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(
        ["user", "assistant", "human", "gpt", "system", "tool", "text", "N/A", "5", "[", "[[]]", "{}", "null", "3"]
    ),
    st.sampled_from(
        ["\n\nHuman:", "\n\nHuman: a\n\nAssistant:", "\n\nAssistant: b", "[{'role': 1}]", '[{"role": 1}]', "\ud83d"]
    ),
    st.sampled_from(["punctuation:no_comma", "keywords:existence", '{"keywords": 3}', '[{"id": "a"}]']),
    st.text(max_size=5),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
TURNS = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant"]), "content": st.sampled_from(["a", "b", None])}
    ),
    max_size=3,
)
ROWS = st.dictionaries(NAMES, VALUES | TURNS | st.sampled_from(["a", "b"]), max_size=6)


@given(ROWS)
@settings(max_examples=150, deadline=None)
def test_a_row_is_a_prompt_or_a_sentence(row: dict[str, Any]) -> None:
    try:
        check_columns(Columns(), row, "here")
        question = question_of(row, Columns(), "here")
        found = prompt_of(row, question.messages, question.answer, Columns(), "source", "here")
    except FactoryError as error:
        assert str(error).startswith("here: ")
        return
    assert found.messages[-1].role == "user" and found.messages[-1].content.strip()


@given(st.lists(ROWS, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_row_is_imported_or_a_sentence(rows: list[dict[str, Any]]) -> None:
    imported = Imported("run")
    for row in rows:
        try:
            sample = sample_of(row, Columns(), "here")
            prompt = prompt_of(row, sample.messages, None, Columns(), "source", "here")
        except FactoryError as error:
            assert str(error).startswith("here: ")
            continue
        imported.add(prompt, sample)
    for name, table in imported.tables().items():
        assert table.schema == arrow_schema(TABLES[name])
        key = table.column(0).to_pylist()
        assert len(set(key)) == len(key), name
