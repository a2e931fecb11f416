"""What is printed about a run agrees with the lake, word for word."""

import re
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from rich.console import Console

from factory.monitor.difference import parts_of
from factory.monitor.report import histogram, pick_example, print_summary
from factory.monitor.table import table_of
from factory.recipes.reading import load_recipe
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from factory.view.in_terminal import SHOW, print_pair, print_tree
from schemas.tables import Call, Model, Response, Run
from stores.lake import Lake
from stores.likeness import words
from tests.rows import minutes, row, votes
from tests.scripted_endpoint import Reply, Request, running_endpoint

SENTENCE = "Close the door and open a small window"


def answer(request: Request) -> Sequence[str] | Reply:
    """Answers with one word that is wrong; a refinement changes it, and some of them are right."""
    asked = str(request.messages[-1]["content"])
    drawn = [int(request.body_hash[2 * i : 2 * i + 4], 16) for i in range(request.n)]
    if "Final Judgement" in asked:
        verdict = "Yes" if "mended" in asked.split("[Response]")[1] else "No"
        return [f"The window is what matters.\nFinal Judgement: {verdict}"] * request.n
    if "Refined response:" in asked:
        # One in four is right, one in eight cannot be read.
        ends = ["mended" if draw % 4 == 0 else f"broken {draw % 97}" for draw in drawn]
        return [
            "I cannot do that." if draw % 8 == 1 else f"Reflection: the end.\nRefined response:\n{SENTENCE} {end}."
            for draw, end in zip(drawn, ends, strict=True)
        ]
    if drawn[0] % 5 == 0:
        return Reply(400, {"error": {"message": "too long\x1b[31m for me", "type": "invalid_request_error"}})
    return [f"{SENTENCE} {'mended' if draw % 3 == 0 else f'slowly {draw}'}." for draw in drawn]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Progress]:
    """A finished run of SPaR: where its lake is, and its progress."""
    progress = Progress()
    where = str(tmp_path_factory.mktemp("report") / "lake")
    with running_endpoint(answer) as endpoint:
        recipe = load_recipe(
            "spar",
            {
                "models.actor.endpoint": endpoint.url,
                "models.refiner.endpoint": endpoint.url,
                "stages.judge.votes": 3,
                "prompts.limit": 8,
            },
        )
        run_recipe(RunSpecification(recipe), where, progress)
    return where, progress


@pytest.fixture(scope="module")
def searched(run: tuple[str, Progress]) -> Iterator[Lake]:
    with Lake.open(run[0]) as opened:
        yield opened


@pytest.fixture(scope="module")
def run_id(searched: Lake) -> str:
    return str(searched.query("SELECT run_id FROM current_runs").column(0)[0].as_py())


def printed(write: Callable[[Console], None], width: int = 200, color: bool = False) -> str:
    file = StringIO()
    write(Console(file=file, width=width, force_terminal=color, color_system="truecolor" if color else None))
    return file.getvalue()


def count(lake: Lake, query: str) -> int:
    return int(lake.query(f"SELECT count(*) {query}").column(0)[0].as_py())


def some(lake: Lake, query: str) -> str:
    return str(lake.query(query).column(0)[0].as_py())


def test_summary_counts_accepted_trees_and_pairs_as_sql_does(searched: Lake, run_id: str) -> None:
    text = printed(lambda console: print_summary(searched, run_id, console))
    accepted = count(searched, "FROM trees WHERE outcome = 'accepted'")
    assert accepted > 0
    assert f"{count(searched, 'FROM trees')} searched" in text
    assert f"{accepted} accepted" in text
    pairs = {
        s: count(searched, f"FROM pairs WHERE source = '{s}'") for s in ("refined_over_failed", "passing_over_failing")
    }
    assert all(re.search(rf"pairs +.*\b{pairs[source]} {source}", text) for source in pairs)


def test_progress_ends_where_the_lake_does(run: tuple[str, Progress], searched: Lake) -> None:
    _, progress = run
    assert progress.done == progress.prompts == count(searched, "FROM run_prompts")
    assert progress.trees == count(searched, "FROM trees")
    assert progress.accepted == count(searched, "FROM accepted_pairs")
    assert len(progress.set_aside) == count(searched, "FROM failed_prompts")
    assert set(progress.at_stage) == {"sample", "judge", "search"}
    assert not any(progress.at_stage.values())


def test_summary_gives_the_pass_rate_of_sampled_answers(searched: Lake, run_id: str) -> None:
    text = printed(lambda console: print_summary(searched, run_id, console))
    sampled = "FROM verdicts JOIN responses USING (response_id) WHERE responses.kind = 'sampled'"
    passed, judged = count(searched, f"{sampled} AND passed"), count(searched, sampled)
    assert 0 < passed < judged
    assert f"{judged} sampled: {passed} passed ({passed / judged:.0%})" in text


def test_summary_names_each_prompt_set_aside_with_its_reason(searched: Lake, run_id: str) -> None:
    text = printed(lambda console: print_summary(searched, run_id, console), width=400)
    assert 0 < count(searched, "FROM failed_prompts") <= 5
    for position in searched.query("SELECT position FROM failed_prompts JOIN run_prompts USING (prompt_id)").column(0):
        assert re.search(rf"prompt {position.as_py() + 1} +sample +.*too long", text)


def test_summary_ends_with_commands_for_this_lake(searched: Lake, run_id: str) -> None:
    text = printed(lambda console: print_summary(searched, run_id, console), width=40)
    *_, query, build, train, view, end = text.split("\n")
    assert query.startswith("  factory sql ") and build == f"  factory build --lake {searched.place.where}"
    assert train.startswith("  factory train dpo --set spar_dpo ")
    assert view == f"  factory view --lake {searched.place.where}" and end == ""


def test_summary_draws_a_tree_and_shows_its_pair_each_under_the_command_that_does_so(
    searched: Lake, run_id: str
) -> None:
    text = printed(lambda console: print_summary(searched, run_id, console, SHOW))
    example = pick_example(searched, run_id)
    assert list(example) == ["tree", "pair"]
    for (noun, id), show in zip(example.items(), (print_tree, print_pair), strict=True):
        drawn = printed(lambda console, show=show, id=id: show(searched, id, console))  # type: ignore[misc]
        assert f"factory {noun} {id[:12]} --lake {searched.place.where}\n{drawn}" in text


def test_summary_of_a_run_that_failed_at_once_says_why_and_how_to_go_on(lake: Lake) -> None:
    run = row(Run, "e1", run_id="spar-1", status="failed", reason="the endpoint [x] is gone", ended_at=minutes(2))
    lake.append([run], message="test")
    text = printed(lambda console: print_summary(lake, "spar-1", console))
    assert pick_example(lake, "spar-1") == {}
    assert "run spar-1 failed: the endpoint [x] is gone, 2:00 in all" in text
    assert "factory resume spar-1" in text


def test_summary_says_how_often_the_model_judges_as_the_verifier_does(lake: Lake) -> None:
    rows: list[Any] = [row(Run, "e1", run_id="run", status="finished")]
    for name, by_votes, by_verifier in (("r1", "yyn", "y"), ("r2", "yyy", "n"), ("r3", "yn", "n")):
        rows.append(row(Response, name, run_id="run", kind="sampled"))
        rows += votes(name, by_votes, decides=False) + votes(name, by_verifier, judge="verifier")
    lake.append(rows, message="test")
    text = printed(lambda console: print_summary(lake, "run", console))
    assert "the model agrees with the verifier on 50% of 3 answers" in text
    assert "1 tied" in text
    assert "3 sampled: 1 passed (33%), 2 failed" in text


def test_summary_takes_the_time_of_a_killed_attempt_up_to_its_last_request(lake: Lake) -> None:
    attempts = [
        row(Run, "e1", run_id="run", status="running", attempt=0, started_at=minutes(0)),
        row(Run, "e2", run_id="run", status="running", attempt=1, started_at=minutes(60)),
        row(Run, "e3", run_id="run", status="finished", attempt=1, started_at=minutes(60), ended_at=minutes(70)),
    ]
    calls = [
        row(Call, f"c{at}", run_id="run", completion_tokens=120, model_id="m", started_at=minutes(at))
        for at in (1, 3, 62)
    ]
    lake.append([*attempts, *calls, row(Model, "m")], message="test")
    text = printed(lambda console: print_summary(lake, "run", console))
    assert "13:00 in all" in text  # 3 minutes and 10
    assert f"360 tokens generated, {round(360 / ((3 - 1) * 60 + (70 - 62) * 60), 0):.0f} tokens/s" in text


def test_what_a_model_writes_cannot_steer_the_terminal(searched: Lake, run_id: str) -> None:
    text = printed(lambda console: print_summary(searched, run_id, console), color=False)
    assert "too long" in text
    assert "\x1b" not in text


def test_tree_shows_every_node_once(searched: Lake) -> None:
    for tree_id in searched.query("SELECT tree_id FROM trees").column(0).to_pylist():
        text = printed(lambda console, tree_id=tree_id: print_tree(searched, tree_id, console))  # type: ignore[misc]
        visits = [int(visit) for visit in re.findall(r"── #(\d+) ", text)]
        assert visits and sorted(visits) == list(range(count(searched, f"FROM nodes WHERE tree_id = '{tree_id}'")))


def test_tree_shows_states_and_values_of_its_nodes(searched: Lake) -> None:
    tree_id = some(searched, "SELECT tree_id FROM nodes GROUP BY 1 ORDER BY count(DISTINCT state) DESC, 1 LIMIT 1")
    text = printed(lambda console: print_tree(searched, tree_id, console))
    for node in searched.query(f"SELECT visit, state, value FROM nodes WHERE tree_id = '{tree_id}'").to_pylist():
        state = "failed answer" if node["visit"] == 0 else node["state"]
        value = "" if node["value"] is None else f" {node['value']:.2f}"
        assert f"#{node['visit']} {state}{value} " in text


def test_accepted_node_is_green(searched: Lake, run_id: str) -> None:
    tree_id = pick_example(searched, run_id)["tree"]
    text = printed(lambda console: print_tree(searched, tree_id, console), color=True)
    assert re.search(r"\x1b\[1;32m#\d+ accepted", text)


def test_example_is_an_accepted_tree_and_its_own_pair(searched: Lake, run_id: str) -> None:
    tree_id, pair_id = pick_example(searched, run_id).values()
    assert some(searched, f"SELECT outcome FROM trees WHERE tree_id = '{tree_id}'") == "accepted"
    assert some(searched, f"SELECT tree_id FROM pairs WHERE pair_id = '{pair_id}'") == tree_id


def test_pair_marks_exactly_the_changed_words(searched: Lake, run_id: str) -> None:
    pair_id = pick_example(searched, run_id)["pair"]
    text = printed(lambda console: print_pair(searched, pair_id, console))
    (pair,) = searched.query(f"FROM accepted_pairs WHERE pair_id = '{pair_id}'").to_pylist()
    wrong = pair["rejected"].removeprefix(f"{SENTENCE} ")
    assert f"{SENTENCE} [-{wrong}-] {{+mended.+}}" in text
    assert f"similarity {pair['similarity']:.2f}" in text


def test_pair_names_where_it_comes_from(searched: Lake, run_id: str) -> None:
    pair_id = pick_example(searched, run_id)["pair"]
    text = printed(lambda console: print_pair(searched, pair_id, console))
    (row,) = searched.query(f"FROM pairs WHERE pair_id = '{pair_id}'").to_pylist()
    for name, value in row.items():
        if name.endswith("_id"):
            assert re.search(rf"{name} +{value}", text)


def test_pair_is_coloured_in_a_terminal(searched: Lake, run_id: str) -> None:
    pair_id = pick_example(searched, run_id)["pair"]
    text = printed(lambda console: print_pair(searched, pair_id, console), color=True)
    assert "\x1b[1;32mmended.\x1b[0m" in text
    assert re.search(r"\x1b\[9;31mslowly", text)


texts = st.lists(st.sampled_from(["red", "blue", "青", "い", " ", "  ", "\n", "."]), max_size=14).map("".join)


def word_difference(old: str, new: str) -> list[tuple[str, str]]:
    return [(part.kind, part.text) for part in parts_of(old, new, fold=False) or ()]


@given(old=texts, new=texts)
def test_difference_holds_the_new_text_whole_and_every_word_of_the_old(old: str, new: str) -> None:
    parts = word_difference(old, new)
    assert "".join(text for kind, text in parts if kind != "removed") == new
    assert words(" ".join(text for kind, text in parts if kind != "added")) == words(old)


@given(old=texts, new=texts)
def test_difference_changes_as_few_words_as_the_edit_distance(old: str, new: str) -> None:
    parts = word_difference(old, new)
    kept = sum(len(words(text)) for kind, text in parts if kind == "same")
    longer = max(len(words(old)), len(words(new)))
    assert longer - kept <= Levenshtein.distance(words(old), words(new))
    assert (old != new) or all(kind == "same" for kind, _ in parts)


def test_difference_of_chinese_is_by_character() -> None:
    assert word_difference("我喜欢茶", "我喜欢水") == [("same", "我喜欢"), ("removed", "茶"), ("added", "水")]


def test_histogram_shows_the_least_count_and_fills_the_greatest() -> None:
    assert histogram([0, 1, 100]) == "··▁▁██"


def test_table_shows_null_apart_from_text_and_counts_all_rows() -> None:
    rows = pa.table({"name": ["a", None, "[red]c"], "size": [1, 2, None]})
    text = printed(lambda console: table_of(rows, console, 3))
    assert text.count("NULL") == 2
    assert "[red]c" in text
    assert text.endswith("3 rows\n")


def test_table_says_how_many_rows_are_left_out() -> None:
    text = printed(lambda console: table_of(pa.table({"n": list(range(60))}), console))
    assert "60 rows, the first 50 shown" in text
    assert "49" in text
    assert "50\n" not in text


@pytest.mark.parametrize("width", [20, 60, 300])
def test_table_of_many_columns_shows_every_name_and_value_at_any_width(width: int) -> None:
    rows = pa.table({f"column{i}": [f"value{i}", f"other{i}"] for i in range(12)})
    text = printed(lambda console: table_of(rows, console), width)
    assert all(f"column{i}" in text and f"value{i}" in text and f"other{i}" in text for i in range(12))
    assert max(map(len, text.splitlines())) <= width


def test_table_shortens_nested_values_unless_there_is_one_row() -> None:
    nested: list[Any] = [{"role": "user", "content": "word " * 100}]
    several = printed(lambda console: table_of(pa.table({"messages": [nested, nested]}), console))
    single = printed(lambda console: table_of(pa.table({"messages": [nested]}), console))
    assert several.count("word") < 100
    assert single.count("word") == 100
