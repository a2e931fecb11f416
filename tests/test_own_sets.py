"""A training set of one's own: what would train on wrong rows is refused before anything is pinned."""

from pathlib import Path

import pytest

from schemas.errors import FactoryError
from schemas.tables import TrainingSet
from stores.door.asked import judge
from stores.door.checking import Known
from stores.door.question import Question
from stores.lake import Lake
from stores.training_sets import build_training_set
from stores.training_sets.fitting import check_rows
from tests.sets import RUN, answer, prompts

HEAD = "-- mine.sql: answers, to imitate.\n-- In: $run_ids VARCHAR[], $limit BIGINT = 5.\n-- Out: prompt_completion; ordered.\n"
PARTS = {
    "split": "split_of(prompt_id, 0.5) AS split",
    "prompt": "q.messages AS prompt",
    "completion": "[assistant_turn(r.text)] AS completion",
    "class": "'mine' AS class",
    "id": "response_id",
}
FROM = "FROM responses AS r JOIN prompts AS q USING (prompt_id) WHERE list_contains($run_ids, run_id)"
ORDER = "ORDER BY split DESC, response_id"


def query(order: str = ORDER, source: str = FROM, **changed: str) -> str:
    return f"{HEAD}SELECT {', '.join(part for part in {**PARTS, **changed}.values() if part)}\n{source}\n{order}"


@pytest.fixture
def full(lake: Lake) -> Lake:
    lake.append([RUN, *prompts(*range(9)), *(answer(f"r{n}", f"p{n}") for n in range(9))], message="by hand")
    return lake


def build(lake: Lake, folder: Path, text: str, **given: object) -> list[TrainingSet]:
    (folder / "mine.sql").write_text(text, "utf-8")
    build_training_set(lake, str(folder / "mine.sql"), given, ["run"])
    return lake.read(TrainingSet)


def test_a_set_of_ones_own_is_pinned(full: Lake, tmp_path: Path) -> None:
    (row,) = build(full, tmp_path, query())
    assert (row.name, row.train_rows + row.held_out_rows) == ("mine", 9) and row.train_rows not in (0, 9)
    assert build(full, tmp_path, query()) == [row]
    (_, other) = sorted(build(full, tmp_path, query(ORDER + " LIMIT $limit"), limit=3), key=lambda row: row.version)
    assert other.train_rows + other.held_out_rows == 3


TURN = "{'role': 'assistant', 'content': %s}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (query(split="", order="ORDER BY response_id"), "its rows lack split: a prompt_completion set returns split, prompt"),
        (query(completion=""), "its rows lack completion"),
        (query(split="if(response_id = 'r3', NULL, 'train') AS split"), "its column split must be .* and is NULL"),
        (query(split="'test' AS split"), "its column split must be 'train' or 'held_out' in every row, and is 'test'"),
        (query(split="1 AS split"), "its column split must be .* and is 1"),
        (query(completion="r.text AS completion"), "column completion must be a list of turns"),
        (query(completion="[r.text] AS completion"), "column completion must be a list of turns"),
        (query(completion="[{'role': 'assistant'}] AS completion"), "column completion must be a list of turns"),
        (query(completion="NULL AS completion"), "column completion must be a list of turns"),
        (query(completion="if(response_id = 'r3', NULL, [assistant_turn('a')]) AS completion"), "completion is NULL or has no turn in"),
        (query(completion="if(response_id = 'r3', [], [assistant_turn('a')]) AS completion"), "completion is NULL or has no turn in"),
        (query(completion=f"[{TURN % 'NULL::VARCHAR'}] AS completion"), "completion has a turn whose content is NULL in row 1"),
        (query(completion="[{'role': NULL::VARCHAR, 'content': 'a'}] AS completion"), "has a turn whose role is NULL in row 1"),
        (query(completion="[assistant_turn('')] AS completion"), "column completion is empty in row 1"),
        (query(completion="[assistant_turn(E' \\n\\t')] AS completion"), "column completion is empty in row 1"),
        (query(prompt="[user_turn('')] AS prompt"), "column prompt is empty in row 1"),
        (query(id="response_id, 1 AS response_id"), "two columns response_id"),
        (query(id="response_id, INTERVAL 1 DAY AS wait"), "column wait has type"),
        (query(id="response_id, 'a'::BLOB AS bytes"), "column bytes has type"),
        (query(id="response_id, MAP {'a': 'b'::BLOB} AS bytes"), "column bytes has type"),
        (query(id="response_id, 'much' AS similarity"), "column similarity must be a number"),
        (query(**{"class": "NULL::VARCHAR AS class"}), "column class must be text"),
        (query(**{"class": "1 AS class"}), "column class must be text"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_refused(full: Lake, text: str, said: str) -> None:
    rows = full.query(text, {"run_ids": ["run"]})
    with pytest.raises(FactoryError, match=f"training set mine.*{said}"):
        check_rows(rows, "mine", "prompt_completion")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (query(order=""), "gives its rows no order: end it with ORDER BY"),
        (f"{HEAD}FROM ({query().replace(HEAD, '')})", "gives its rows no order"),
        (query(order=ORDER + ", random()"), "other rows each time, as it uses random"),
        (query(id="response_id, now()::VARCHAR AS at"), "other rows each time, as it uses now"),
        (query(id="response_id, current_date AS at"), "other rows each time, as it uses current_date"),
        (query(source=FROM + " USING SAMPLE 3"), "other rows each time, as it uses a sample"),
        (query(order=ORDER + " LIMIT $most"), "uses \\$most, which has no value: declare it in the header"),
        ("COPY (SELECT 1) TO 'x.csv'; " + query(), "only one read-only query at a time"),
        (query(source=FROM.replace("responses", "read_csv('x.csv')")), "may not call read_csv"),
        (query(source=FROM.replace("responses", "'x.csv'")), "may not read x.csv"),
    ],
)  # fmt: skip
def test_queries_that_cannot_be_pinned_are_refused(text: str, said: str) -> None:
    asked = Question("lake", text, {"run_ids": ["run"], "limit": 5}, what="training set mine", steady=True)
    with pytest.raises(FactoryError, match=f"training set mine.*{said}"):
        judge(asked, Known(macros=frozenset({"assistant_turn", "split_of"})))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (query(split="'test' AS split"), "column split must be"),
        (query(id="response_id, INTERVAL 1 DAY AS wait"), "column wait has type"),
        (query(order=""), "gives its rows no order"),
        (query(order=ORDER + " LIMIT ?"), "is not valid SQL: .*positional"),
        (query(completion="nothing AS completion"), "its query fails: Binder Error"),
        (query().replace("-- Out: prompt_completion", "-- Gives: rows"), "header must declare its output format"),
    ],
)
def test_a_set_that_is_refused_is_not_pinned(full: Lake, tmp_path: Path, text: str, said: str) -> None:
    before = full.latest_snapshot()
    with pytest.raises(FactoryError, match=f"training set mine.*{said}"):
        build(full, tmp_path, text)
    assert full.read(TrainingSet) == [] and full.latest_snapshot() == before


def test_rows_that_change_when_asked_again_are_refused(
    full: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stores.door.asking import ask

    asked: list[object] = []

    def ask_one_row_less_each_time(question: object) -> object:
        asked.append(question)
        return ask(question).slice(len(asked))  # type: ignore[arg-type]

    monkeypatch.setattr("stores.training_sets.rows.ask", ask_one_row_less_each_time)
    with pytest.raises(FactoryError, match="gave other rows when it was asked again"):
        build(full, tmp_path, query())
    assert full.read(TrainingSet) == [] and len(asked) == 2
