"""What methods leave behind is in the published lineage, comes back with `factory pull`, and is on the pages of that lake.

Comparisons, checklists, judgements of judgements, and claims with their evidence; rewards: test_view_rewards.py and
test_published_rewards.py.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from factory.audit.checks import NAMES
from factory.publishing.checks import OWN
from factory.publishing.hub import Place
from factory.publishing.publish import Asked, publish
from factory.publishing.pull import make_lake
from schemas.method_tables import Evidence
from schemas.tables import ChecklistItem, Claim, Document, Judgement, MetaJudgement, Model, Pair, Run, RunPrompt
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.rewarded import HOSTILE, RUN, online_training
from tests.rows import compared, fill, row, sampled, scores
from tests.view_pages import check_harmless, pages_of, read_markup

OF = {"run_id": "run", "prompt_id": "p1"}
TABLES = (
    "responses", "judgements", "comparisons", "checklist_items", "meta_judgements", "claims", "documents", "pairs",
)  # fmt: skip
Lakes = tuple[Path, Path]


def behind_a_pair() -> list[Any]:
    """A pair of `good` over `bad`, and a row of each kind that a method may have about them."""

    def meta(first: str, second: str, probability: float | None) -> MetaJudgement:
        return row(MetaJudgement, f"{first}>{second}", response_id="good", stage="meta_judge", first_judgement_id=first,
                   second_judgement_id=second, probability=probability, model_id="m", rationales=[HOSTILE], **OF)  # fmt: skip

    def claim(id: str, response: str, text: str, support: float | None, evidence: list[Evidence]) -> Claim:
        return row(Claim, id, response_id=response, stage="claims", text=text, method="corpus", support=support, evidence=evidence,
                   model_id="m", **OF)  # fmt: skip

    def met(item: str, response: str, value: float) -> Judgement:
        return row(Judgement, f"{item} {response}", response_id=response, judge="checklist", kind="checklist", decides=False,
                   item_id=item, weight=1.0, value=value, model_id="m", **OF)  # fmt: skip

    return [
        row(Run, "run/0", run_id="run", purpose="data", status="finished", recipe_name="mine", recipe='{"name": "mine"}'),
        row(Model, "m", name="judge-m", origin="http://10.0.0.9/v1"),
        row(RunPrompt, "run/p1", **OF),
        sampled("good", text="The Elbe flows through Dresden, as maps show.", model_id="m", **OF),
        sampled("bad", text="I think that it is somewhere in Paris.", model_id="m", **OF),
        row(Pair, "pair", chosen_response_id="good", rejected_response_id="bad", source="best_over_worst", chosen_value=0.9,
            rejected_value=0.2, similarity=0.1, length_ratio=1.0, **OF),
        compared("good", "bad", 0.9, model_id="m"),
        compared("bad", "good", None, model_id="m"),
        row(ChecklistItem, "i1", stage="checklist", position=0, text=f"Is a town named? {HOSTILE}", weight=3.0, **OF),
        met("i1", "good", 0.75),
        met("i1", "bad", 0.5),
        *scores("good", 8.0, 4.0),
        meta("good/score/0", "good/score/1", 0.75),
        meta("good/score/1", "good/score/0", None),
        row(Document, "d1", source="rivers", title="Elbe", text="It flows through Dresden. And on.", licence="CC0-1.0"),
        row(Document, "d2", source="rivers", title="Uncited", text="Bread.", licence="CC0-1.0"),
        claim("c1", "good", "The Elbe flows through Dresden.", 0.8, [Evidence("d1", f"through Dresden {HOSTILE}", 2.5)]),
        claim("c2", "bad", "It is in Paris.", None, []),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Lakes:
    """The lake with the pair, an online training on the same prompt, and a set; and one made of what is published of the set."""
    folder = tmp_path_factory.mktemp("shown")
    with Lake.open(folder / "lake", create=True) as lake:
        fill(lake, *online_training(), *behind_a_pair())
        build_training_set(lake, "best_over_worst", {"held_out": 0.0}, ["run"])
        asked = Asked(Place("me/set", "dataset"), lineage=True, allowed=(*NAMES, *OWN), against=())
        publish(lake, "best_over_worst@1", asked, lambda words: None, out=folder / "out")
    make_lake(folder / "out", folder / "pulled", "me/set", "0" * 40, lambda words: None)
    return folder / "lake", folder / "pulled"


@pytest.fixture(scope="module")
def pages(lakes: Lakes) -> Iterator[TestClient]:
    with pages_of(lakes[1]) as client:
        yield client


def test_the_lineage_has_each_row_and_nothing_of_a_training_on_the_same_prompt(lakes: Lakes) -> None:
    with Lake.open(lakes[0]) as lake, Lake.open(lakes[1]) as pulled:
        for table in TABLES:
            of_run = "document_id = 'd1'" if table == "documents" else "run_id = 'run'"
            expected = lake.query(f"FROM {table} WHERE {of_run} ORDER BY ALL").to_pylist()
            assert expected and pulled.query(f"FROM {table} ORDER BY ALL").to_pylist() == expected, table


def words_of(page: Any) -> str:
    assert page.status_code == 200 and "<script>alert" not in page.text
    return " ".join(" ".join(read_markup(page.text).texts).split())


def test_a_pair_s_page_shows_how_its_sides_were_compared_checked_and_supported(pages: TestClient) -> None:
    page = pages.get("/pair/pair")
    check_harmless(page.text)
    words = words_of(page)
    for said in (
        "run compare judge-m 0.9 true",
        f"run checklist Is a town named? {HOSTILE} 3 0.75 0.5",
        f"chosen The Elbe flows through Dresden. support 0.8 2.5: through Dresden {HOSTILE}",
        "rejected It is in Paris. cannot be verified",
    ):
        assert said in words, said
    [first, second] = sorted(pages.get("/pair/pair.json?table=comparisons").json(), key=lambda one: one["chosen_first"])
    assert (second["probability"], first["probability"]) == (0.9, None)


def test_a_prompt_s_page_shows_them_of_all_answers_and_judgements_that_were_compared(pages: TestClient) -> None:
    words = words_of(pages.get("/prompt/p1"))
    places = {one["response_id"]: at for at, one in enumerate(pages.get("/prompt/p1.json").json(), 1)}
    good, bad = places["good"], places["bad"]
    for said in (
        f"{good} {bad} 0.9 judge-m compare",
        f"{bad} {good} not readable judge-m compare",
        f"{good} judgement 1, 8 points judgement 2, 4 points 0.75 judge-m meta_judge",
        f"{good} judgement 2, 4 points judgement 1, 8 points not readable judge-m meta_judge",
        f"Is a town named? {HOSTILE} weight 3, run",
        f"75 of 100 by checklist: Is a town named? {HOSTILE}",
        "The Elbe flows through Dresden. support 0.8 1 passage",
    ):
        assert said in words, said
    rows = pages.get("/prompt/p1.json?table=meta_judgements").json()
    assert sorted((one["first_judgement_id"], one["probability"]) for one in rows) == [
        ("good/score/0", 0.75), ("good/score/1", None),
    ]  # fmt: skip
    assert len(pages.get("/prompt/p1.json?table=comparisons").json()) == 2


def test_of_other_runs_only_what_is_between_their_answers_is_shown(lakes: Lakes) -> None:
    with pages_of(lakes[0]) as client:
        words = words_of(client.get(f"/prompt/p1?run={RUN}"))
    assert "step 1, reward 1" in words and "compared" not in words
