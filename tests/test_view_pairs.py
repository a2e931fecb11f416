"""The pages of pairs: the list by what is doubtful, its filters, and one pair with its lineage."""

import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from factory.monitor.console import Console
from factory.view.in_terminal import print_pair
from factory.view.pair import read_pair
from factory.view.pair_list import Filter, count_facets, list_pairs
from schemas.errors import FactoryError
from schemas.tables import Call, Model
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.reviews import lake_of_pairs, pair_rows, with_tree
from tests.rows import compared, fill, row
from tests.sets import ALL
from tests.view_pages import check_harmless, pages_of, read_markup
from tests.views import stop_counting


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs 1 to 4 of answers, pair 9 of a tree; the first three are doubtful."""
    where = tmp_path_factory.mktemp("pairs") / "lake"
    with Lake.open(where, create=True) as lake:
        lake_of_pairs(lake, 4)
        fill(
            lake, *with_tree(9), row(Model, "model", name="actor model"),
            row(Call, "c9", run_id="run", prompt_id="p9", stage="search", model_id="model", role="refiner"),
        )  # fmt: skip
        build_training_set(lake, "spar_dpo", ALL, ["run"])
    return where


@pytest.fixture(scope="module")
def pages(place: Path) -> Iterator[TestClient]:
    with pages_of(place) as client:
        yield client


def listed(pages: TestClient, query: str = "") -> list[str]:
    return [row["pair_id"] for row in pages.get(f"/pairs.json{query}").json()]


def test_the_most_doubtful_pairs_come_first(pages: TestClient) -> None:
    assert listed(pages) == ["pair1", "pair2", "pair3", "pair4", "pair9"]
    assert listed(pages, "?sort=longest")[0] == "pair1"
    assert listed(pages, "?sort=unlike")[0] == "pair1"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?doubt=longer", ["pair1"]),
        ("?doubt=flawed", ["pair2"]),
        ("?doubt=disputed", ["pair3"]),
        ("?doubt=close", []),
        ("?run=run&source=refined_over_failed&language=en&reviewed=no", ["pair1", "pair2", "pair3", "pair4", "pair9"]),
        ("?run=other", []),
        ("?set=spar_dpo@1", ["pair1", "pair3", "pair4", "pair9"]),
        ("?likeness=13", ["pair9"]),
        ("?margin=19", ["pair1", "pair2", "pair3", "pair4", "pair9"]),
        ("?margin=10", []),
    ],
)
def test_every_filter_is_in_the_address(pages: TestClient, query: str, expected: list[str]) -> None:
    assert listed(pages, query) == expected
    assert pages.get(f"/pairs{query}&facets=1").status_code == 200


def test_a_comparison_that_ranks_them_the_other_way_is_a_dispute(lake: Lake) -> None:
    fill(lake, *pair_rows(1, "good words", "bad words"), compared("p1 bad", "p1 good", 0.9, prompt_id="p1"))
    assert list_pairs(lake, Filter(doubt="disputed"), None, 0, 9, cheap=False).num_rows == 1
    assert read_pair(lake, "pair1").doubts == ("disputed",)


def test_one_pairs_doubts_are_those_of_the_list(place: Path) -> None:
    with Lake.open(place) as lake:
        for found in lake.query("FROM pair_doubts").to_pylist():
            names = tuple(name for name in ("longer", "unlike", "close", "flawed", "disputed") if found[name])
            assert read_pair(lake, found["pair_id"]).doubts == names


def test_facets_count_what_the_filters_leave(place: Path) -> None:
    with Lake.open(place) as lake:
        counted = count_facets(lake, Filter(doubt="longer"), cheap=False)
        assert {name: [(one.value, one.rows) for one in values or ()] for name, values in counted.items()} == {
            "doubt": [("longer", 1), ("unlike", 1)],
            "language": [("en", 1)],
            "likeness": [("3", 1)],
            "margin": [("19", 1)],
            "reviewed": [("no", 1)],
            "run": [("run", 1)],
            "source": [("refined_over_failed", 1)],
        }


def test_a_page_comes_without_its_counts_and_fetches_them(pages: TestClient) -> None:
    first, counts = pages.get("/pairs").text, pages.get("/pairs?facets=1").text
    assert 'data-load="/pairs?facets=1"' in first and "<svg" not in first
    part = counts[counts.index('<div id="facets"') : counts.index("<table>")]
    assert "<svg" in part and "data-load" not in part and "/pairs?facets" not in part


def test_a_facet_that_takes_too_long_is_said_and_the_others_shown(
    pages: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, stopped in (("SELECT doubt AS value", 1), ("similarity * 20", 1), ("", 7)):
        stop_counting(monkeypatch, part)
        page = pages.get("/pairs?facets=1").text
        assert page.count("was stopped") == stopped and page.count("<svg") == (
            0 if not part else 2 - ("similarity" in part)
        )


@pytest.mark.parametrize("query", ["?sort=age", "?doubt=ugly", "?likeness=20", "?likeness=x", "?page=0", "?set=none@1"])
def test_an_address_that_asks_for_what_is_not_there_is_told_so(pages: TestClient, query: str) -> None:
    answer = pages.get(f"/pairs{query}")
    assert answer.status_code == 400 and "alert" in answer.text


def test_a_pairs_page_shows_both_sides_with_their_difference_and_where_they_came_from(pages: TestClient) -> None:
    page = pages.get("/pair/pair9").text
    assert "a<ins> better</ins> answer" in page and "a<del> worse</del> answer" in page
    for link in ("/tree/t9?node=r9", "/tree/t9?node=n9", "/call/c9", "/prompt/p9", "/run/run", "/review?pair=pair9"):
        assert f'href="{link}"' in page
    assert pages.get("/pair/pair9.json").json()[0]["model"] == "actor model"
    pages.get("/pairs?set=spar_dpo@1")  # so that the set has been read
    page = pages.get("/pair/pair9").text
    assert "in the training set spar_dpo@1, train" in page
    assert "in none of the training sets built from its run: spar_dpo@1" in pages.get("/pair/pair2").text
    disputed = pages.get("/pair/pair3").text
    assert "rejected ⚑" in disputed and "3 yes, 0 no" in disputed


def test_the_judges_of_a_pair_are_a_table_whose_files_have_figures(pages: TestClient) -> None:
    decides, strict = pages.get("/pair/pair3.json?table=judges").json()
    assert (decides["judge"], decides["decides"], decides["prefers"]) == ("votes", True, "chosen")
    assert (decides["chosen_value"], decides["chosen_yes"], decides["chosen_no"], decides["rejected_no"]) == (
        1,
        3,
        0,
        3,
    )
    assert (strict["judge"], strict["chosen_passed"], strict["prefers"]) == ("strict", False, "rejected")
    for ending in ("csv", "parquet"):
        assert pages.get(f"/pair/pair3.{ending}?table=judges").status_code == 200
    assert pages.get("/pair/pair3?sort=judges.prefers").status_code == 200


def test_a_pair_in_a_terminal_names_its_judges_and_its_path(place: Path) -> None:
    def printed(pair_id: str) -> str:
        file = StringIO()
        with Lake.open(place) as lake:
            print_pair(lake, pair_id, Console(file=file, width=200))
        return file.getvalue()

    assert re.search(
        r"judge strict +chosen fails, .*0 yes, 1 no; rejected passes, .*; prefers rejected", printed("pair3")
    )
    assert re.search(
        r"judge votes +chosen passes, value 1, 3 yes, 0 no; .*; prefers chosen \(.*decides\)", printed("pair1")
    )
    assert re.search(
        r"path +failed answer: open, value 0.00, node r9 *\n +refinement 1: accepted, value 1.00, node n9",
        printed("pair9"),
    )


def test_an_unknown_pair_offers_those_with_the_nearest_ids(pages: TestClient) -> None:
    answer = pages.get("/pair/pair33")
    assert answer.status_code == 404 and "pair3" in answer.text


HOSTILE = [
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "</textarea></details><svg onload=alert(1)> javascript:alert(1)",
    "left \u202e right \x00 nul \x1b[31m \u200b",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "word " * 200_000,
    "line\n" * 100_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_shown_as_text(tmp_path: Path, text: str) -> None:
    where = tmp_path / "lake"
    id = '"><script>alert(2)</script>'
    with Lake.open(where, create=True) as lake:
        fill(lake, *pair_rows(1, text, f"other {text}", prompt=text.replace("\0", ""), run_id=id, source=text[:500]))
    with pages_of(where) as pages:
        for path in (
            "/pairs?facets=1",
            "/pair/pair1",
            "/pair/pair1?whole=1",
            "/review?reviewer=ann&pair=pair1",
            "/review",
        ):
            answer = pages.get(path)
            assert answer.status_code == 200 and len(answer.text) < 1_500_000
            check_harmless(answer.text)
            assert not {"\u202e", "\x00", "\x1b"} & set("".join(read_markup(answer.text).texts)) or "review?" in path
        assert "<script>alert(1)" not in pages.get("/pair/pair1").text


def test_a_filter_that_no_pair_can_have_is_refused() -> None:
    with pytest.raises(FactoryError, match="did you mean 'longer'"):
        Filter(doubt="long")
