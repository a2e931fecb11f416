"""Each view on a lake small enough to count by hand, and the rules that all SQL files follow."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stores
from factory.templates.rendering import conversation, refine_turns, render
from schemas.ids import messages_hash, sha256_text
from schemas.tables import Call, Judgement, Message, Model, Node, Pair, Prompt, Run, RunPrompt, Tree
from stores.lake import Lake
from tests.rows import asked, fill, minutes, row, rows_of, sampled, votes

SQL_FILES = sorted(Path(stores.__file__).parent.rglob("*.sql"))
MADE = ("views", "migrations")  # not queries
PLACEHOLDERS = (
    "prompt", "response", "critique", "reference", "first", "second", "item", "examples", "claim", "passages", "question",
)  # fmt: skip
BRACES = st.lists(
    st.sampled_from(["{prompt}", "{response}", "{critique}", "{", "}", "{{", "{other}", "prompt", "\n", "ü", "語", " "])
).map("".join)
ANY_TEXT = BRACES | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


# All files


@pytest.mark.parametrize("file", SQL_FILES, ids=lambda file: file.name)
def test_a_file_opens_with_its_name_and_what_comes_out(file: Path) -> None:
    assert re.match(rf"-- {re.escape(file.name)}: \w.+", file.read_text("utf-8"))


@pytest.mark.parametrize("file", [f for f in SQL_FILES if f.parent.name not in MADE], ids=lambda file: file.name)
def test_a_final_query_has_an_order_or_gives_one_row(file: Path) -> None:
    text = file.read_text("utf-8")
    if "\nDELETE FROM " in text:
        return  # gives no rows
    if "Out: one row: " in text and "GROUP BY" not in text:
        return
    by_id = r"WHERE \w+\.(\w+_id) = \$\1;\s*\Z"
    assert re.search(r"^ORDER BY ", text, re.MULTILINE) or re.search(by_id, text)


@pytest.mark.parametrize("file", [f for f in SQL_FILES if f.parent.name == "views"], ids=lambda file: file.stem)
def test_every_view_is_made_when_a_lake_is_opened(lake: Lake, file: Path) -> None:
    made = re.findall(r"^CREATE TEMP (VIEW|MACRO) (\w+)", file.read_text("utf-8"), re.MULTILINE)
    assert made
    for kind, name in made:
        if kind == "VIEW":
            assert rows_of(lake, name) == []
        else:
            assert lake.query(f"SELECT * FROM duckdb_functions() WHERE function_name = '{name}'").num_rows == 1


def test_a_lake_stores_tables_alone(lake: Lake) -> None:
    for kind in ("views", "functions"):
        assert lake.query(f"SELECT * FROM duckdb_{kind}() WHERE database_name = 'lake'").num_rows == 0


# Rendering


@given(template=ANY_TEXT, prompt=ANY_TEXT, response=ANY_TEXT, critique=ANY_TEXT)
def test_sql_renders_a_template_as_the_factory_does(
    macros: Any, template: str, prompt: str, response: str, critique: str
) -> None:
    values = [template, prompt, response, critique]
    query = "SELECT render($1, MAP {'prompt': $2, 'response': $3, 'critique': $4})"
    filled = render(template, prompt=prompt, response=response, critique=critique)
    assert macros.execute(query, values).fetchall() == [(filled,)]


@given(
    template=st.lists(st.sampled_from([*(f"{{{name}}}" for name in PLACEHOLDERS), "{", "}", "{other}", " "])).map(
        "".join
    ),
    texts=st.lists(st.none() | ANY_TEXT, min_size=len(PLACEHOLDERS), max_size=len(PLACEHOLDERS)),
)
def test_sql_fills_every_placeholder_in_one_pass(macros: Any, template: str, texts: list[str | None]) -> None:
    values = dict(zip(PLACEHOLDERS, texts, strict=True))
    filled = re.sub(r"\{(\w+)\}", lambda m: (values[m[1]] or "") if m[1] in values else m[0], template)
    query = "SELECT render($1, map_from_entries($2::STRUCT(k VARCHAR, v VARCHAR)[]))"
    entries = [{"k": name, "v": text} for name, text in values.items()]
    assert macros.execute(query, [template, entries]).fetchall() == [(filled,)]


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), ANY_TEXT), min_size=1, max_size=4))
def test_sql_writes_a_conversation_as_the_factory_does(macros: Any, turns: list[tuple[str, str]]) -> None:
    plain = [{"role": role, "content": content} for role, content in turns]
    kind = "STRUCT(role VARCHAR, content VARCHAR)[]"
    found = macros.execute(f"SELECT conversation($1::{kind})", [plain]).fetchall()
    assert found == [(conversation([Message(*turn) for turn in turns]),)]


# Trees and pairs


def test_tree_paths_lead_from_the_root_to_every_node(lake: Lake) -> None:
    shape = {"r": (None, 0, 0.0), "a": ("r", 1, 0.4), "b": ("r", 1, None), "c": ("a", 2, 1.0), "r2": (None, 0, 0.2)}
    for id, (parent, depth, value) in shape.items():
        fill(
            lake,
            row(Node, id, run_id="run", tree_id="t2" if id == "r2" else "t", parent_node_id=parent, depth=depth,
                value=value, state="open"),
        )  # fmt: skip
    assert rows_of(lake, "tree_paths", "tree_id, node_id, depth, node_ids, node_values") == [
        ("t", "a", 1, ["r", "a"], [0.0, 0.4]),
        ("t", "b", 1, ["r", "b"], [0.0, None]),
        ("t", "c", 2, ["r", "a", "c"], [0.0, 0.4, 1.0]),
        ("t", "r", 0, ["r"], [0.0]),
        ("t2", "r2", 0, ["r2"], [0.2]),
    ]


def test_accepted_pairs_are_those_of_trees_with_their_texts(lake: Lake) -> None:
    sides = {"chosen_response_id": "good", "rejected_response_id": "bad", "prompt_id": "p1", "run_id": "run"}
    turns = [Message("system", "Be kind."), Message("user", "Hello?")]
    fill(
        lake,
        row(Prompt, "p1", messages=turns, language="en"),
        sampled("good", text="Hello!"),
        sampled("bad", text="Go."),
        row(
            Pair,
            "of a tree",
            source="refined_over_failed",
            tree_id="t",
            node_id="n",
            chosen_value=0.8,
            rejected_value=0.2,
            **sides,
        ),
        row(Pair, "control", source="passing_over_failing", **sides),
    )
    assert rows_of(lake, "accepted_pairs", "pair_id, language, prompt, chosen, rejected, chosen_value, tree_id") == [
        ("of a tree", "en", "[system]\nBe kind.\n\n[user]\nHello?", "Hello!", "Go.", 0.8, "t")
    ]


# Runs


def test_a_runs_newest_event_is_its_state(lake: Lake) -> None:
    fill(
        lake,
        row(Run, "a", run_id="run", attempt=0, status="running"),
        row(Run, "b", run_id="run", attempt=0, status="stopped", ended_at=minutes(1)),
        row(Run, "c", run_id="run", attempt=1, status="running"),
        row(Run, "d", run_id="done", attempt=0, status="running"),
        row(Run, "e", run_id="done", attempt=0, status="finished", ended_at=minutes(2)),
    )
    assert rows_of(lake, "current_runs", "run_id, status, attempt") == [("done", "finished", 0), ("run", "running", 1)]


def test_run_progress_counts_prompts_at_each_stage(lake: Lake) -> None:
    fill(
        lake,
        row(Run, "event", run_id="run", status="running"),
        row(Run, "other", run_id="new", status="running"),
        *(row(RunPrompt, f"rp{i}", run_id="run", prompt_id=f"p{i}") for i in range(1, 5)),
        *(sampled(f"a{i}", prompt_id=f"p{i}") for i in range(1, 4)),
        sampled("a1 again", prompt_id="p1"),
        *votes("a1", "n"), *votes("a1 again", "n"), *votes("a2", "y", prompt_id="p2"),
        row(Tree, "t1", run_id="run", outcome="accepted"),
        row(Tree, "t2", run_id="run", outcome="exhausted"),
        row(Call, "lost", run_id="run", prompt_id="p4", error="refused: no"),
    )  # fmt: skip
    columns = "run_id, prompts, answered, judged, failing, trees, accepted, set_aside"
    assert rows_of(lake, "run_progress", columns) == [
        ("new", 0, 0, 0, None, 0, 0, 0),
        ("run", 4, 3, 2, 1, 2, 1, 1),
    ]


def test_run_cost_adds_up_calls_by_stage_template_and_model(lake: Lake) -> None:
    same = {"run_id": "run", "model_id": "m", "stage": "judge", "template": "judge", "choices": 5}
    fill(
        lake,
        row(Model, "m", name="mock"),
        row(Call, "c1", prompt_tokens=10, completion_tokens=50, latency_s=1.5, retries=1, **same),
        row(Call, "c2", prompt_tokens=12, completion_tokens=None, latency_s=0.5, from_journal=True, **same),
        row(Call, "c3", error="timeout: no answer", **same),
        row(Call, "c4", run_id="run", model_id="m", stage="sample", choices=1, completion_tokens=7),
    )
    assert rows_of(
        lake,
        "run_cost",
        "stage, template, model, calls, from_journal, errors, choices, retries, prompt_tokens, completion_tokens, latency_s",
    ) == [
        ("judge", "judge", "mock", 3, 1, 1, 15, 1, 22, 50, 2.0),
        ("sample", "prompt", "mock", 1, 0, 0, 1, 0, None, 7, None),
    ]


def test_run_cost_prices_what_was_paid_by_the_model_that_was_asked(lake: Lake) -> None:
    prices = {
        "actor": {"prompt_price": 1.0, "completion_price": 10.0},
        "refiner": {"prompt_price": 0.0, "completion_price": 2e6},
    }
    unpriced = {"own": {"prompt_price": None, "completion_price": 1.0}}
    recipe = json.dumps({"models": prices | unpriced})
    spent = {"run_id": "run", "model_id": "m", "prompt_tokens": 1_000_000, "completion_tokens": 3}
    fill(
        lake,
        row(Model, "m", name="mock"),
        row(Run, "event", run_id="run", status="running", recipe=recipe),
        row(Call, "c1", stage="sample", role="actor", **spent),
        row(Call, "c2", stage="sample", role="actor", **spent),
        row(Call, "c3", stage="judge", role="refiner", template="judge", from_journal=True, **spent),
        row(Call, "c4", stage="search", role="refiner", template="judge", **spent),
        row(Call, "c5", stage="search", role="own", template="refine", **spent),
        row(Call, "c6", stage="evolve", template="evolve", **spent),
    )
    assert rows_of(lake, "run_cost", "stage, template, cost") == [
        ("evolve", "evolve", None),
        ("judge", "judge", 0.0),
        ("sample", "prompt", 2 * (1.0 + 30 / 1e6)),
        ("search", "judge", 6.0),
        ("search", "refine", None),
    ]


def test_failed_prompts_say_what_went_wrong_first(lake: Lake) -> None:
    failed = {"run_id": "run", "prompt_id": "p1"}
    fill(
        lake,
        row(Call, "c1", stage="judge", error="second", started_at=minutes(2), **failed),
        row(Call, "c2", stage="sample", error="first", started_at=minutes(1), **failed),
        row(Call, "c3", run_id="run", prompt_id="p2"),
    )
    assert rows_of(lake, "failed_prompts") == [("run", "p1", "first", "sample")]


@pytest.mark.parametrize("refine", ["Mend {response}!", "{response} of {prompt} is bad: {critique}"])
def test_call_messages_are_those_that_were_sent(lake: Lake, refine: str) -> None:
    templates = {"judge": "Q: {prompt}\nA: {response}", "refine": refine, "evolve": "Harder: {prompt}"}
    question, answer = asked("{response}?"), "an {prompt} answer"
    judge = Message("user", render(templates["judge"], prompt=question[0].content, response=answer))
    critique = row(Judgement, "j", response_id="a1", critique="Too short.")
    sent = {
        "sample": (None, question),
        "evolve": ("evolve", [Message("user", render(templates["evolve"], prompt=question[0].content))]),
        "judge": ("judge", [judge]),
        "search": ("refine", refine_turns(templates["judge"], refine, question[0].content, answer, "Too short.")),
    }
    fill(
        lake,
        row(Run, "event", run_id="run", templates=templates),
        row(Prompt, "p1", messages=question),
        sampled("a1", text=answer),
        critique,
        *(row(Node, f"n{i}", call_id="search", critique_judgement_id="j") for i in range(3)),
        *(
            row(Call, stage, run_id="run", prompt_id="p1", template=template, messages_hash=messages_hash(messages),
                response_ids=["a1"] if template in ("judge", "refine") else [])
            for stage, (template, messages) in sent.items()
        ),
        row(Call, "lost", run_id="run", prompt_id="p1", error="refused: no"),
    )  # fmt: skip
    found = lake.query("SELECT *, sha256(to_json(messages)::VARCHAR) AS derived FROM call_messages").to_pylist()
    assert {r["call_id"]: [Message(**m) for m in r["messages"]] for r in found} == {
        stage: messages for stage, (_, messages) in sent.items()
    }
    assert len(found) == len(sent) and all(r["derived"] == r["messages_hash"] for r in found)


def test_call_messages_find_two_responses_the_reference_and_the_judges_own_template(lake: Lake) -> None:
    templates = {
        "judge": "not this one",
        "strict": "Strictly: {response}",
        "mend": "Mend {response}.",
        "compare": "{prompt}: {first} or {second}? {response} {reference} {critique}",
    }
    of = {"run_id": "run", "prompt_id": "p1"}
    fill(
        lake,
        row(Run, "event", run_id="run", templates=templates),
        row(Prompt, "p1", messages=asked("Which"), reference="the right one"),
        sampled("a", text="one"), sampled("b", text="two"),
        row(Judgement, "j", response_id="a", critique="Too short.", template_hash=sha256_text(templates["strict"])),
        row(Node, "n", call_id="mend", critique_judgement_id="j"),
        row(Call, "mend", template="mend", response_ids=["a"], **of),
        row(Call, "compare", template="compare", response_ids=["b", "a"], **of),
    )  # fmt: skip
    found = lake.query("SELECT call_id, [m.content FOR m IN messages] AS said FROM call_messages ORDER BY call_id")
    assert [tuple(r.values()) for r in found.to_pylist()] == [
        ("compare", ["Which: two or one? two the right one "]),
        ("mend", ["Strictly: one", "Too short.", "Mend one."]),
    ]
