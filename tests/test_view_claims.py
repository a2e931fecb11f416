"""Claims where people look and what leaves the lake: pages of pairs, answers, calls and the corpus; lineage; reruns."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from factory.monitor.estimate import estimate
from factory.publishing.lineage import lineage_tables, texts_of
from factory.reruns.runs import Asked, repeat_run
from factory.runs.progress import Progress
from schemas.tables import Claim, Document
from stores.lake import Lake
from tests.claims import DOCUMENTS, corpus, facts, run, specification
from tests.scripted_endpoint import ScriptedEndpoint, running_endpoint
from tests.view_pages import check_harmless, pages_of, read_markup

UNCITED = {"title": "Salt", "text": "Salt keeps food."}
Made = tuple[Path, str, ScriptedEndpoint]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A lake with a run of facttune_fs and a document that nothing cites, the run, and the endpoint that answered."""
    where = tmp_path_factory.mktemp("claims") / "lake"
    hostile = {"title": "<script>alert(1)</script>", "text": "The Elbe & <b>its</b> harbour."}
    corpus(where, [*DOCUMENTS, hostile, UNCITED])
    with running_endpoint(facts) as endpoint:
        yield where, run(where, "facttune_fs", endpoint, prompts=1), endpoint


@pytest.fixture(scope="module")
def pages(made: Made) -> Iterator[TestClient]:
    with pages_of(made[0]) as client:
        yield client


def words_of(pages: TestClient, address: str) -> str:
    page = pages.get(address)
    assert page.status_code == 200
    if "/prompt/" not in address:  # it has a second script of the page's own
        check_harmless(page.text)
    assert "<script>alert" not in page.text
    return " ".join(" ".join(read_markup(page.text).texts).split())


def test_a_pair_shows_the_claims_of_both_sides_with_their_evidence(pages: TestClient, made: Made) -> None:
    rows = pages.get("/pairs.json").json()
    best = max(rows, key=lambda row: row["chosen_value"] - row["rejected_value"])
    words = words_of(pages, f"/pair/{best['pair_id']}")
    assert (
        "The Elbe flows through Dresden. support 0.8" in words and "The Elbe flows through Paris. support 0.1" in words
    )
    assert "The Elbe rises in Bohemia. cannot be verified" in words and "Elbe The Elbe is a river." in words
    given = pages.get(f"/pair/{best['pair_id']}.json?table=claims").json()
    assert [(one["of"], one["support"]) for one in given] == [
        ("chosen", None), ("chosen", pytest.approx(0.8)), ("rejected", pytest.approx(0.1)),
    ]  # fmt: skip
    weights = [one["weight"] for one in given[1]["evidence"]]
    assert weights == sorted(weights, reverse=True) and given[1]["evidence"][0]["document_id"]
    reply = words_of(pages, f"/call/{given[1]['call_id']}")
    assert "Claim: The Elbe flows through Dresden." in reply  # the messages are rendered from rows


def test_the_answers_to_a_prompt_list_their_claims(pages: TestClient, made: Made) -> None:
    with Lake.open(made[0]) as lake:
        claims = lake.read(Claim, "position = 0")
    words = words_of(pages, f"/prompt/{claims[0].prompt_id}")
    assert words.count("The Elbe flows through Paris. support 0.1") == 2 and "passages" in words
    assert words.count("not judged") == 1  # the answer without a claim
    assert "The Elbe flows through Dresden." in words_of(pages, f"/call/{claims[0].call_ids[0]}") + words_of(
        pages, f"/call/{claims[1].call_ids[0]}"
    )


def test_the_corpus_shows_the_documents(pages: TestClient) -> None:
    assert "Documents that claims are checked against" in words_of(pages, "/corpus")
    (source,) = pages.get("/corpus.json?table=documents").json()
    assert (source["source"], source["licence"], source["documents"]) == ("rivers", "CC0-1.0", len(DOCUMENTS) + 2)


def test_the_published_lineage_has_the_claims_and_the_documents_they_cite(made: Made) -> None:
    where, run_id, _ = made
    with Lake.open(where) as lake:
        claims = lake.read(Claim)
        tables = dict(lineage_tables(lake, sorted({claim.prompt_id for claim in claims}), [run_id]))
        texts = texts_of(lake, tables).to_pylist()
        everything = {document.document_id: document for document in lake.read(Document)}
    assert tables["claims"].column("claim_id").to_pylist() == [claim.claim_id for claim in claims]
    published = tables["documents"].column("document_id").to_pylist()
    cited = {one.document_id for claim in claims for one in claim.evidence}
    assert published == sorted(cited) and "Salt" not in {everything[id].title for id in published}
    assert set(tables["calls"].column("call_id").to_pylist()) >= {id for claim in claims for id in claim.call_ids}
    assert any("alert(1)" in row["text"] for row in texts)  # what is looked for in texts is looked for in documents


def test_a_run_with_claims_is_done_again_and_estimated_from_the_same_documents(made: Made) -> None:
    where, run_id, endpoint = made
    sent = endpoint.stats().received
    with Lake.open(where) as lake:
        again = repeat_run(lake, run_id, Asked(), lambda progress: nullcontext())
    assert again.first_difference is None and endpoint.stats().received == sent
    spec = specification("facttune_fs", endpoint, where.parent, prompts=1)
    assert estimate(spec, str(where), Progress()).pairs.mean == 3
