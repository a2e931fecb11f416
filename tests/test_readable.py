"""A run in which hardly anything can be read says so early, stops, and does not end as finished."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from factory.inference.budget import BudgetReached
from factory.monitor.report import print_summary
from factory.monitor.status import picture_of, read_status
from factory.recipes.reading import load_recipe, recipe_of
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.readable import STOP_AFTER, WARN_AFTER, Readable, unreadable_sentence
from factory.runs.specification import specification_of
from schemas.tables import Comparison, Judgement, Node, Tree
from stores.lake import Lake
from tests.rows import row
from tests.runs import answer, run_spar, spar_overrides
from tests.scripted_endpoint import Request, running_endpoint

SPAR = load_recipe("spar")


def vote(verdict: str, **given: Any) -> Judgement:
    fixed = {"kind": "votes", "judge": "votes", "verdict": verdict, "decides": True, "critique": "I cannot judge this."}
    return row(Judgement, "j", **{**fixed, **given})


def readable() -> Readable:
    return Readable(SPAR, [])


# The rule


def test_it_warns_after_the_first_and_stops_some_later() -> None:
    counted = readable()
    counted.add([vote("unparsed")] * (WARN_AFTER - 1))
    assert counted.notes == []
    counted.add([vote("unparsed")] * 2)
    (note,) = counted.notes
    assert note.startswith(
        f"{WARN_AFTER} of {WARN_AFTER} votes of votes cannot be read (one ends 'I cannot judge this.')"
    )
    assert "stages.judge.verdict=json" in note and "templates.judge" in note
    with pytest.raises(BudgetReached, match=f"{STOP_AFTER} of {STOP_AFTER} votes") as stopped:
        counted.add([vote("unparsed")] * STOP_AFTER)
    assert stopped.value.limit == "budget.max_unreadable"
    assert len(counted.notes) == 1


def test_a_share_within_the_limit_goes_on() -> None:
    counted = readable()
    counted.add([vote("no"), *[vote("unparsed")] * 9] * 30)
    assert counted.notes == []


def test_a_judge_on_which_nothing_depends_only_warns() -> None:
    counted = readable()
    counted.add([vote("unparsed", decides=False)] * 3 * STOP_AFTER)
    assert len(counted.notes) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([vote("unparsed", kind="score", judge="rubric")], "scores of rubric .*'Score: '.*templates.score"),
        (
            [row(Comparison, "c", stage="compare", votes=["unparsed"] * 5, rationales=[""] * 5)],
            "comparisons of compare .*one is empty.*'Preferred response: 1'",
        ),
        (
            [
                row(Tree, "t", stage="search"),
                *[row(Node, "n", tree_id="t", state="unparsed", output="Hi.", depth=1)] * 3,
            ],
            "refinements of search .*one ends 'Hi.'.*'Refined response:'.*templates.refine",
        ),
    ],
)
def test_scores_comparisons_and_refinements_are_counted_alike(rows: Sequence[Any], said: str) -> None:
    with pytest.raises(BudgetReached, match=said):
        readable().add(list(rows) * STOP_AFTER)


def test_a_verifier_and_a_refiner_that_could_not_be_asked_are_not_counted() -> None:
    counted = readable()
    failed = [row(Tree, "t", stage="search"), row(Node, "n", tree_id="t", state="unparsed", output=None, depth=1)]
    counted.add([*[vote("no", kind="verifier")], *failed] * 2 * STOP_AFTER)
    assert not counted.total


def test_the_sentence_names_the_setting_of_a_judge_with_a_name_of_its_own() -> None:
    judges = [{"stage": "judge", "verdict": "json", "name": "strict"}]
    models = {role: {"endpoint": "http://localhost:1/v1"} for role in ("actor", "refiner")}
    recipe = recipe_of({"name": "x", "models": models, "stages": [{"stage": "sample"}, *judges]}, "recipe x")
    said = unreadable_sentence(recipe, ("votes", "strict"), 50, 50, "word " * 100)
    assert "templates.strict.judge" in said and "stages.strict.verdict=text" in said and len(said) < 600


# A run


def wordy(request: Request) -> Sequence[str]:
    """A judge that never comes to a verdict."""
    if "Final Judgement" in str(request.messages[-1]["content"]):
        return ["I would have to think about this."] * request.n
    return list(answer(request))


def status_of(lake: Path) -> dict[str, Any]:
    with Lake.open(lake) as opened:
        (found,) = opened.query("SELECT status, reason FROM current_runs").to_pylist()
    return dict(found)


def test_a_run_stops_early_and_keeps_what_it_paid_for(tmp_path: Path) -> None:
    few_at_once = {"models__actor__concurrency": 2, "models__refiner__concurrency": 2}
    with running_endpoint(wordy) as endpoint:
        stopped = r"votes of votes cannot be read .*factory resume spar-.* -o budget\.max"
        with pytest.raises(BudgetReached, match=stopped):
            run_spar(tmp_path / "lake", endpoint.url, prompts=24, **few_at_once)
        # Each prompt takes one request for its answers, and two for each of five answers.
        assert endpoint.stats().outcomes["ok"] < 24 * 11 / 2
        assert status_of(tmp_path / "lake")["status"] == "stopped"
        assert "cannot be read" in status_of(tmp_path / "lake")["reason"]
        with Lake.open(tmp_path / "lake") as lake:
            assert lake.query("FROM responses").num_rows > 0
            assert lake.query("SELECT DISTINCT verdict FROM judgements").column(0).to_pylist() == ["unparsed"]
            spec = specification_of(lake, "spar", {"budget.max_unreadable": 1})
        run_recipe(spec, str(tmp_path / "lake"), Progress())
        assert status_of(tmp_path / "lake")["status"] == "finished"
        assert endpoint.stats().repeated_answers == 0


def test_a_small_run_that_could_read_nothing_does_not_finish(tmp_path: Path) -> None:
    with running_endpoint(wordy) as endpoint:
        for _ in range(2):  # nor does the same order, given again
            with pytest.raises(BudgetReached, match="10 of 10 votes of votes cannot be read"):
                run_spar(tmp_path / "lake", endpoint.url, prompts=1, stages__sample__n=1)
        assert endpoint.stats().repeated_answers == 0
    assert status_of(tmp_path / "lake")["status"] == "stopped"


def test_the_command_ends_with_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from factory.cli.commands import app

    with running_endpoint(wordy) as endpoint:
        overrides = [f"{key}={value}" for key, value in spar_overrides(endpoint.url, 1).items()]
        words = [word for given in overrides for word in ("-o", given)]
        ended = CliRunner().invoke(app, ["run", "spar", "--lake", str(tmp_path / "lake"), *words])
    assert ended.exit_code != 0
    assert "cannot be read" in str(ended.exception) + ended.output


# What is shown


def test_summary_and_status_show_the_share_and_one_of_them(tmp_path: Path) -> None:
    def at_times(request: Request) -> Sequence[str]:
        said = list(answer(request))
        unclear = "Final Judgement" in str(request.messages[-1]["content"])
        return ["It is\x1b[31m hard to say.", *said[1:]] if unclear else said

    with running_endpoint(at_times) as endpoint:
        run_id, _ = run_spar(tmp_path / "lake", endpoint.url, prompts=2)
    with Lake.open(tmp_path / "lake") as lake:
        (votes,) = lake.query("FROM readings WHERE kind = 'votes'").to_pylist()
        out = StringIO()
        print_summary(lake, run_id, Console(file=out, width=400))
        said = f"{votes['unreadable']} of {votes['total']} votes of votes ({votes['unreadable'] / votes['total']:.0%})"
        assert 0 < votes["unreadable"] < votes["total"]
        assert f"{said}: one ends 'It is" in out.getvalue() and "\x1b[31m hard" not in out.getvalue()
        (status,) = read_status(lake)
        assert (status.unreadable, status.readings >= votes["total"]) == (votes["unreadable"], True)
        shown = StringIO()
        Console(file=shown, width=200).print(picture_of(status))
        assert f"{status.unreadable} of {status.readings} (" in shown.getvalue()


def test_the_summary_counts_flaws_by_kind(tmp_path: Path) -> None:
    def looping(request: Request) -> Sequence[str]:
        said = list(answer(request))
        asked = str(request.messages[-1]["content"])
        return said if "Final Judgement" in asked or "Refined" in asked else ["", "on and on " * 100, *said[2:]]

    with running_endpoint(looping) as endpoint:
        run_id, _ = run_spar(tmp_path / "lake", endpoint.url, prompts=3)
    with Lake.open(tmp_path / "lake") as lake:
        out = StringIO()
        print_summary(lake, run_id, Console(file=out, width=400))
        found = lake.query("SELECT flaw, count(*) AS n FROM responses WHERE kind = 'sampled' GROUP BY ALL").to_pylist()
    counts = {found["flaw"]: found["n"] for found in found}
    assert f"{counts['empty'] + counts['repetitive']} of {sum(counts.values())} sampled (" in out.getvalue()
    assert f"{counts['repetitive']} repetitive" in out.getvalue()
