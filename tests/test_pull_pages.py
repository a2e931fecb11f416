"""The pages of a pulled lake open, and one without lineage still leads to its rows."""

import re
from html import unescape
from pathlib import Path

from starlette.testclient import TestClient

from factory.view.app import NAVIGATION
from stores.lake import Lake
from tests.hub import Repository
from tests.publications import REPO, Run, out_of, publish
from tests.publications import against as against
from tests.publications import hub as hub
from tests.publications import published as published
from tests.publications import run as run
from tests.publications import spar_lake as spar_lake
from tests.publications import written as written
from tests.views import pages_of


def opened(pages: TestClient, path: str) -> str:
    answer = pages.get(path)
    assert answer.status_code == 200, (path, answer.text)
    return answer.text


def test_with_lineage_its_trees_and_pairs_open_too(published: Repository, run: Run, tmp_path: Path) -> None:
    out_of(run, "pull", REPO, "--lake", tmp_path / "pulled")
    with Lake.open(tmp_path / "pulled") as lake:
        (found,) = lake.query(
            "SELECT run_id, tree_id, pair_id FROM accepted_pairs ORDER BY pair_id LIMIT 1"
        ).to_pylist()
    with pages_of(tmp_path / "pulled") as pages:
        for path, _ in NAVIGATION:
            opened(pages, path)
        assert "Training sets" not in opened(pages, "/")
        assert found["run_id"] in opened(pages, "/?figures=1")
        for path in (f"/run/{found['run_id']}", f"/tree/{found['tree_id']}", f"/pair/{found['pair_id']}"):
            opened(pages, path)


def test_without_lineage_the_overview_names_the_set_and_links_to_its_rows(
    spar_lake: Path, against: str, run: Run, tmp_path: Path
) -> None:
    publish(spar_lake, against, run)
    out_of(run, "pull", REPO, "--lake", tmp_path / "pulled")
    with pages_of(tmp_path / "pulled") as pages:
        for path, _ in NAVIGATION:
            opened(pages, path)
        link = re.search(r'<a href="(/sql[^"]+)">spar_dpo@1</a>', opened(pages, "/"))
        assert link is not None
        rows = opened(pages, unescape(link[1]))
        assert "8 rows" in rows and "chosen" in rows
        (told,) = pages.get("/index.json?table=sets").json()
        assert (told["train_rows"], told["held_out_rows"], told["format"]) == (6, 2, "preference")
