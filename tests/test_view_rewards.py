"""What an online training paid: its view, and the pages of its run and of its prompts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from factory.view.plots import HEIGHT, WIDTH, line
from factory.view.run_report import page_of, read_report
from schemas.tables import Judgement, Prompt, Run, TrainingRun, TrainingSet
from stores.lake import Lake
from stores.sql import sql
from tests.rewarded import PAID, RUN, TRAINING, online_training
from tests.rows import fill, row, rows_of, sampled, scores
from tests.view_pages import check_harmless, pages_of, read_markup
from trainers.rewards import reward_of


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with an online training, and a run for data whose answer to the same prompt was scored, too."""
    folder = tmp_path_factory.mktemp("rewards") / "lake"
    with Lake.open(folder, create=True) as lake:
        fill(
            lake,
            *online_training(),
            row(TrainingSet, "set", name="prompts", version=1),
            row(TrainingRun, TRAINING, training_set_id="set", objective="online", base_model="<b>base</b>", status="finished",
                output="actor-9"),
            row(Run, "run/0", run_id="run", purpose="data"),
            sampled("of data", text="Hm."),
            *scores("of data", 7.0),
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def pages(where: Path) -> Iterator[TestClient]:
    with pages_of(where) as client:
        yield client


def words_of(page: str) -> str:
    return " ".join(" ".join(read_markup(page).texts).split())


def test_rewards_are_those_of_online_trainings_alone(where: Path) -> None:
    with Lake.open(where) as lake:
        found = rows_of(lake, "rewards", "stage, prompt_id, step, reward")
    steps = {"before": 0, "step 1": 1, "step 2": 2, "after": None}
    expected = [
        (stage, prompt, steps[stage], None if points is None else (points - 5.5) / 4.5)
        for stage, answers in PAID.items()
        for prompt, points in answers
    ]
    assert sorted(found, key=str) == sorted(expected, key=str)


@pytest.mark.parametrize(
    ("kind", "given", "reward"),
    [
        ("reward_model", [(-2.5, 0.1)], -2.5),
        ("verifier", [(0.5, 0.25)], 0.5),
        ("score", [(10.0, 1.0), (1.0, 0.0), (None, None)], 0.0),
        ("votes", [(None, 1.0), (None, 1.0), (None, 0.0)], pytest.approx(1 / 3)),
        ("votes", [(None, None)], None),
    ],
)
def test_rewards_are_what_the_policy_was_paid(
    lake: Lake, kind: str, given: list[tuple[float | None, float | None]], reward: float | None
) -> None:
    of: dict[str, Any] = {"run_id": "t", "prompt_id": "p"}
    judged = [
        row(Judgement, f"j{i}", response_id="r", kind=kind, vote=i, points=points, value=value, **of)
        for i, (points, value) in enumerate(given)
    ]
    fill(lake, row(Run, "t/0", run_id="t", purpose="training"), *judged, sampled("r", **of))
    assert rows_of(lake, "rewards", "reward") == [(reward,)] and reward_of(judged) == reward


def test_a_strangers_steps_and_rewards_leave_the_page_whole(tmp_path: Path) -> None:
    odd = {
        "step 9223372036854775807": 1.0,
        "step 2": float("nan"),
        "step 3": float("inf"),
        "step 4": -1e308,
        "<b>x</b>": 1e308,
    }
    of: dict[str, Any] = {"run_id": "t", "prompt_id": "p"}
    with Lake.open(tmp_path / "lake", create=True) as lake:
        fill(lake, row(Run, "t/0", run_id="t", purpose="training"), row(Prompt, "p"))
        for stage, value in odd.items():
            judged = row(Judgement, stage, response_id=stage, kind="score", points=value, value=value, **of)
            fill(lake, sampled(stage, stage=stage, **of), judged)
        assert sorted(rows_of(lake, "rewards", "step"), key=str) == [(2,), (3,), (4,), (None,), (None,)]
    with pages_of(tmp_path / "lake") as pages:
        for page in ("/run/t", "/prompt/p"):
            answer = pages.get(page)
            assert answer.status_code == 200 and "<b>x" not in answer.text


def test_many_steps_are_put_together(lake: Lake) -> None:
    fill(lake, row(Run, "t/0", run_id="t", purpose="training"))
    for step in (1, 25, 26, 50, 51, 100):
        fixed = {"run_id": "t", "prompt_id": "p"}
        judged = row(
            Judgement, f"j{step}", response_id=f"r{step}", kind="verifier", points=float(step), value=1.0, **fixed
        )
        fill(lake, sampled(f"r{step}", stage=f"step {step}", **fixed), judged)
    rows = lake.query(sql("report/rewards"), {"run_id": "t", "parts": 4}).to_pylist()
    assert [(r["stage"], r["answers"], r["paid"], r["mean"], r["lowest"], r["highest"]) for r in rows] == [
        ("step 1 to 25", 2, 2, 13.0, 1.0, 25.0),
        ("step 26 to 50", 2, 2, 38.0, 26.0, 50.0),
        ("step 51", 1, 1, 51.0, 51.0, 51.0),
        ("step 100", 1, 1, 100.0, 100.0, 100.0),
    ]


def test_a_run_s_page_draws_the_rewards_between_the_lowest_and_the_highest(pages: TestClient) -> None:
    page = pages.get(f"/run/{RUN}")
    assert page.status_code == 200
    check_harmless(page.text)
    words = words_of(page.text)
    assert "9 of 10 paid, 1 not paid · all with their rewards" in words and "mean reward -1 before, 1 after" in words
    assert "finished: online on prompts@1 from <b>base</b>, which made actor-9" in words
    assert "searched" not in words
    # From -1 at the bottom to 1 at the top: step 1 has mean 0 of -1 to 1, step 2 mean 0.75 of 0 to 1.
    assert 'points="0.0,48.0 320.0,12.0"' in page.text
    assert 'class="area" points="0.0,96.0 320.0,48.0 320.0,0.0 0.0,0.0"' in page.text
    assert "step 1: 0, -1 to 1" in words and "step 2: 0.75, 0 to 1" in words
    attributes = read_markup(page.text).attributes
    assert ("href", f"/sql?name=answers_paid&p_run={RUN}") in attributes
    assert ("href", f"/prompt/p1?run={RUN}") in attributes


def test_the_figures_of_the_plot_are_files(pages: TestClient) -> None:
    rows = pages.get(f"/run/{RUN}.json").json()
    assert [(r["stage"], r["answers"], r["paid"], r["mean"]) for r in rows] == [
        ("before", 1, 1, -1.0), ("step 1", 4, 3, 0.0), ("step 2", 4, 4, 0.75), ("after", 1, 1, 1.0),
    ]  # fmt: skip
    ends = pages.get(f"/run/{RUN}.json?table=paid_answers").json()
    rewards = [r["reward"] for r in ends]
    assert rewards == sorted(rewards, reverse=True) and len(rewards) == 9
    assert pages.get(f"/run/{RUN}.json?table=cost").json() != rows


def test_all_answers_with_their_rewards_are_a_ready_made_query(pages: TestClient) -> None:
    rows = pages.get("/sql.json", params={"name": "answers_paid", "p_run": RUN}).json()
    assert len(rows) == 10 and rows[0]["reward"] == 1.0 and rows[-1]["reward"] is None
    assert {row["stage"] for row in rows} == set(PAID)
    assert pages.get("/sql.json", params={"name": "answers_paid", "p_run": "run"}).json() == []


def test_a_prompt_s_page_says_at_which_step_an_answer_was_paid_what(pages: TestClient) -> None:
    page = pages.get("/prompt/p2")
    assert page.status_code == 200 and "<script>alert" not in page.text
    words = words_of(page.text)
    for said in ("step 1, reward 0 ", "step 1, not paid", "step 2, reward 1 "):
        assert said in words, said
    assert words.index("step 1, not paid") < words.index("step 2, reward 1")
    of_data = words_of(pages.get("/prompt/p1?run=run").text)
    assert "1 answer" in of_data and "reward" not in of_data and "not paid" not in of_data
    rows = pages.get("/prompt/p1.json").json()
    assert [(r["stage"], r["reward"]) for r in rows if r["run_id"] == RUN] == [
        ("step 1", 1.0), ("step 1", -1.0), ("step 2", 1.0), ("step 2", 0.0),
    ]  # fmt: skip
    assert [(r["stage"], r["reward"]) for r in rows if r["run_id"] == "run"] == [("sample", None)]


def test_an_online_training_that_has_paid_nothing_yet_has_a_page(tmp_path: Path) -> None:
    with Lake.open(tmp_path / "lake", create=True) as lake:
        fill(lake, row(Run, "t/0", run_id="online-0", purpose="training", status="running", recipe_name="online"))
    with pages_of(tmp_path / "lake") as client:
        words = words_of(client.get("/run/online-0").text)
    assert "0 of 0 paid" in words and "mean reward unknown before, unknown after" in words


def test_a_line_s_area_skips_what_was_not_measured() -> None:
    drawn = line("t", [1.0, None, 3.0], ["a", "b", "c"], least=None, spans=[(0.0, 2.0), (9.0, 9.0), (3.0, 4.0)])
    assert drawn is not None and (drawn.low, drawn.high) == ("0", "4")
    assert drawn.points == f"0.0,{HEIGHT * 0.75:.1f} {WIDTH:.1f},{HEIGHT * 0.25:.1f}"
    assert drawn.area == f"0.0,{HEIGHT:.1f} {WIDTH:.1f},{HEIGHT * 0.25:.1f} {WIDTH:.1f},0.0 0.0,{HEIGHT * 0.5:.1f}"


def test_the_report_file_of_a_training_draws_its_rewards(where: Path) -> None:
    with Lake.open(where) as lake:
        page = page_of(read_report(lake, RUN))
    assert 'points="0.0,48.0 320.0,12.0"' in page and "<script>alert" not in page


def test_the_query_of_the_page_on_trainers_says_it_in_sql(where: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "trainers.md").read_text("utf-8")
    [text] = [block for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) if "FROM rewards" in block]
    with Lake.open(where) as lake:
        found = lake.query(text.partition(";")[0]).to_pylist()
    assert [(r["output"], r["stage"], r["answers"], r["paid"], r["mean"]) for r in found] == [
        ("actor-9", "before", 1, 1, -1.0), ("actor-9", "step 1", 4, 3, 0.0), ("actor-9", "step 2", 4, 4, 0.75),
        ("actor-9", "after", 1, 1, 1.0),
    ]  # fmt: skip
