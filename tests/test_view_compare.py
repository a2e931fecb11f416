"""Two sets, snapshots, runs or models compared, and the corpus."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from factory.view.comparing import compare, find
from factory.view.reviewing import Opinion, review
from schemas.errors import FactoryError
from schemas.tables import Constraint, Message, Model, Pair, Prompt, Response, RunPrompt
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.reviews import RUN, lake_of_pairs, pair_rows
from tests.rows import fill, row
from tests.sets import ALL
from tests.view_pages import check_harmless, pages_of, read_markup
from tests.views import stop_counting

SETS = "a=set:spar_dpo@1&b=set:spar_dpo@2"
RESULT = f"{SETS}&result=1"


def of_another_run(rows: list[Any], run_id: str) -> list[Any]:
    """The answers and pairs of rows, made by another run: other ids, the same prompt."""
    made: list[Any] = []
    for one in rows:
        if isinstance(one, Response):
            made.append(replace(one, response_id=f"{run_id} {one.response_id}", run_id=run_id, model_id="other"))
        elif isinstance(one, Pair):
            chosen, rejected = f"{run_id} {one.chosen_response_id}", f"{run_id} {one.rejected_response_id}"
            made.append(
                replace(one, pair_id=f"{run_id} {one.pair_id}", run_id=run_id, chosen_response_id=chosen,
                        rejected_response_id=rejected)
            )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a set, between them a rejection, an edit and a new pair; two runs of which one prompt differs."""
    where = tmp_path_factory.mktemp("compare") / "lake"
    with Lake.open(where, create=True) as lake:
        lake_of_pairs(lake, 4)
        fill(lake, *(row(Model, id, name=f"{id} name") for id in ("model", "other")))
        build_training_set(lake, "spar_dpo", ALL, ["run"])
        review(lake, "pair4", Opinion(reviewer="ann", verdict="reject"))
        review(lake, "pair3", Opinion(reviewer="ann", verdict="edit", edited="The answer 3 is quite right"))
        fill(lake, *pair_rows(5, "A new one", "An old one"))
        build_training_set(lake, "spar_dpo", ALL, ["run"])
        fill(lake, replace(RUN, run_event_id="event2", run_id="second"))
        fill(lake, *of_another_run(pair_rows(1, "Another answer", "The answer 1 is wrong"), "second"))
        fill(lake, *of_another_run(pair_rows(5, "A new one", "An old one"), "second"))
    return where


@pytest.fixture(scope="module")
def pages(place: Path) -> Iterator[TestClient]:
    with pages_of(place) as client:
        yield client


def counts(lake: Lake, a: str, b: str) -> dict[str, int]:
    return compare(lake, find(lake, a), find(lake, b)).counts


def test_rows_are_the_same_by_prompt_and_texts_whatever_their_ids(place: Path) -> None:
    with Lake.open(place) as lake:
        assert counts(lake, "set:spar_dpo@1", "set:spar_dpo@2") == {"same": 1, "changed": 1, "removed": 1, "added": 1}
        # The first pair of the two runs has another answer, the fifth the same; the others the second run has not.
        assert counts(lake, "run:run", "run:second") == {"same": 1, "changed": 1, "removed": 4, "added": 0}
        assert counts(lake, "run:run", "run:run")["same"] == 6
        assert counts(lake, "model:model name", "model:other") == {"same": 3, "changed": 1, "removed": 6, "added": 0}
        latest = lake.latest_snapshot()
        pairs = lake.query("SELECT count(*) FROM pairs").column(0)[0].as_py()
        assert counts(lake, "snapshot:1", f"snapshot:{latest}") == {
            "same": 0,
            "changed": 0,
            "removed": 0,
            "added": pairs,
        }


def test_an_id_that_a_set_has_twice_counts_as_two_rows(place: Path, tmp_path: Path) -> None:
    twice = tmp_path / "twice.sql"
    twice.write_text(
        "-- In: $run_ids VARCHAR[].\n-- Out: prompt_completion; ordered.\n"
        "SELECT 'train' AS split, messages AS prompt, [assistant_turn(text || n)] AS completion, 'mine' AS class, response_id "
        "FROM responses JOIN prompts USING (prompt_id), range(2) AS _(n) WHERE list_contains($run_ids, run_id) "
        "ORDER BY response_id, n"
    )
    shutil.copytree(place, tmp_path / "lake")
    with Lake.open(tmp_path / "lake") as lake:
        rows = build_training_set(lake, str(twice), {}, ["run"]).train.num_rows
        assert counts(lake, "set:twice@1", "set:twice@1") == {"same": rows, "changed": 0, "removed": 0, "added": 0}
    assert rows > 1


def test_the_figures_of_both_sides_are_shares_in_common_bins(place: Path) -> None:
    with Lake.open(place) as lake:
        found = compare(lake, find(lake, "set:spar_dpo@1"), find(lake, "set:spar_dpo@2"))
    by_title = {shift.title: shift for shift in found.shifts}
    words = by_title["words of the chosen text"]
    assert sum(words.a) == pytest.approx(1) and sum(words.b) == pytest.approx(1)
    assert len(words.ends) == len(words.a) + 1
    assert (words.median_a, words.median_b) == (5, 6)
    assert by_title["likeness to the rejected one"].ends[0] == 0
    assert found.kinds.to_pylist() == [{"kind": "none", "a": 3, "b": 3}]


def test_the_page_names_what_changed_and_leads_to_one_prompt_under_both(pages: TestClient) -> None:
    page = pages.get(f"/compare?{RESULT}")
    assert page.status_code == 200
    check_harmless(page.text)
    assert "prompt=p3" in page.text and "<svg" in page.text and "data-load" not in page.text
    rows = {row["prompt_id"]: row for row in pages.get(f"/compare.json?{SETS}").json()}
    assert {id: one["what"] for id, one in rows.items()} == {"p3": "changed", "p4": "removed", "p5": "added"}
    assert rows["p3"]["first_b"] == "The answer 3 is quite right"
    prompt = pages.get(f"/compare?{SETS}&prompt=p3").text
    assert "is<ins> quite</ins> right" in prompt
    assert "a has none" in pages.get(f"/compare?{SETS}&prompt=p5").text
    runs = pages.get("/compare?a=run:run&b=run:second&prompt=p1").text
    assert "/prompt/p1?run=run&amp;run=second" in runs and "<del>" in runs


def test_the_page_comes_before_the_result_and_asks_for_it(pages: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.view.pages.compare.compare", lambda *_: pytest.fail("compared too early"))
    page = read_markup(pages.get(f"/compare?{SETS}").text)
    (wanted,) = [value for name, value in page.attributes if name == "data-load"]
    assert parse_qs(urlsplit(wanted).query) == parse_qs(RESULT)
    assert ("id", "result") in page.attributes and any("comparing up to 20,000 rows" in text for text in page.texts)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("a=nothing&b=run:run", "cannot be compared"),
        ("a=set:none@1&b=run:run", "has no training set"),
        ("a=run:nope&b=run:run", "no one run is"),
        ("a=model:nope&b=run:run", "no one model is"),
        ("a=snapshot:x&b=run:run", "a snapshot is a number"),
        ("a=snapshot:99999&b=run:run", "no snapshot 99999"),
    ],
)
def test_what_cannot_be_compared_is_told(pages: TestClient, query: str, told: str) -> None:
    answer = pages.get(f"/compare?{query}")
    assert answer.status_code == 400 and told in answer.text


def test_a_name_of_several_models_asks_for_an_id(lake: Lake) -> None:
    fill(lake, row(Model, "m1", name="twin", revision="1"), row(Model, "m2", name="twin", revision="2"))
    with pytest.raises(FactoryError, match="one of the ids m1, m2"):
        find(lake, "model:twin")
    assert find(lake, "model:m2").name == "m2"


def test_the_empty_page_offers_what_there_is(pages: TestClient) -> None:
    page = pages.get("/compare").text
    for name in ("set:spar_dpo@2", "run:second", "model:other name", "snapshot:"):
        assert name in page


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    where = tmp_path_factory.mktemp("corpus") / "lake"
    no_commas = Constraint("punctuation:no_comma", "{}")
    with Lake.open(where, create=True) as lake:
        fill(
            lake,
            row(Prompt, "a", messages=[Message("user", "Write about Rivers")], source="one", language="en", licence="MIT"),
            row(Prompt, "b", messages=[Message("system", "Be brief"), Message("user", "<b>hi</b>")], source="two",
                constraints=[no_commas, no_commas], evolved_from="a"),
            row(RunPrompt, "rp", run_id="run", prompt_id="b"),
            row(Response, "r", prompt_id="b", kind="sampled", text="hello"),
        )  # fmt: skip
    with pages_of(where) as client:
        yield client


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["a", "b"]),
        ("?source=one", ["a"]),
        ("?language=unknown", ["b"]),
        ("?licence=MIT&language=en", ["a"]),
        ("?constraint=punctuation:no_comma", ["b"]),
        ("?constraint=none", ["a"]),
        ("?run=run", ["b"]),
        ("?text=rivers", ["a"]),
        ("?text=100%25", []),
    ],
)
def test_the_corpus_is_found_by_every_facet(corpus: TestClient, query: str, expected: list[str]) -> None:
    assert [row["prompt_id"] for row in corpus.get(f"/corpus.json{query}").json()] == expected
    page = corpus.get(f"/corpus{query}{'&' if query else '?'}facets=1")
    assert page.status_code == 200
    check_harmless(page.text)


def test_a_facet_of_the_corpus_that_takes_too_long_is_said_and_the_others_shown(
    corpus: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_counting(monkeypatch, "run_prompts USING")
    page = corpus.get("/corpus?facets=1").text
    assert page.count("was stopped") == 1 and "constraint=punctuation%3Ano_comma" in page


def test_a_prompts_row_says_what_it_has_led_to(corpus: TestClient) -> None:
    by_id = {row["prompt_id"]: row for row in corpus.get("/corpus.json").json()}
    assert by_id["b"]["answers"] == 1 and by_id["a"]["answers"] == 0
    assert by_id["b"]["constraints"] == ["punctuation:no_comma"]
    page = corpus.get("/corpus?facets=1").text
    assert "&lt;b&gt;hi" in page and 'href="/prompt/a"' in page and "constraint=punctuation%3Ano_comma" in page
