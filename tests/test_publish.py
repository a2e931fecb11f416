"""Publishing and fetching a training set: the real clients against a Hub of our own, there and back, and every fault."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from factory.publishing.hub import Place, upload
from factory.publishing.manifest import MANIFEST, read_manifest
from factory.publishing.publish import Prepared, prepare
from schemas.errors import FactoryError
from stores.lake import Lake
from stores.training_sets import build_training_set, find_training_set, read_training_set
from tests.hub import READER, TOKEN, Blob, Hub, client_environment
from tests.publications import LICENCES, REPO, Run
from tests.publications import against as against
from tests.publications import hub as hub
from tests.publications import own_lake as own_lake
from tests.publications import run as run
from tests.publications import spar_lake as spar_lake

LOADED = """
import json, sys
import datasets, pyarrow as pa
from factory.publishing.columns import own_rows
from stores.training_sets import fingerprint_of
repo, manifest = sys.argv[1], json.loads(sys.argv[2])
found = datasets.load_dataset(repo)
splits = {name: rows.data.table for name, rows in found.items()}
print(json.dumps({
    "fingerprint": fingerprint_of(own_rows(splits, manifest["columns"], manifest["renamed"], manifest["left_out"])),
    "columns": found["train"].column_names,
    "first": found["train"][0],
    "configs": datasets.get_dataset_config_names(repo),
    "removed": datasets.load_dataset(repo, "removed")["train"].to_list(),
    "streamed": next(iter(datasets.load_dataset(repo, "default", split="test", streaming=True))),
    "probabilities": datasets.load_dataset(repo, "judgements")["train"].column_names if sys.argv[3] else None,
}))
"""


def words(lake: Path, against: str, *more: object, name: str = "spar_dpo@1", repo: str = REPO) -> tuple[object, ...]:
    return ("publish", name, repo, "--lake", lake, "--against", against, *LICENCES, *more)


def fingerprint(lake: Path, name: str = "spar_dpo@1") -> str:
    with Lake.open(lake) as opened:
        return find_training_set(opened, name).fingerprint


def test_a_set_goes_to_the_hub_and_load_dataset_gives_the_same_rows(
    spar_lake: Path, against: str, hub: Hub, run: Run, tmp_path: Path
) -> None:
    code, out, err = run(*words(spar_lake, against, "--private", "--with-lineage"))
    assert code == 0, err
    assert f"fingerprint {fingerprint(spar_lake)}" in out and f"published as {REPO}" in out
    made = hub.dataset(REPO)
    assert made.private and made.refs["v1"] == made.refs["main"] and made.messages[-1] == "spar_dpo@1"
    files = made.files()
    assert {"README.md", MANIFEST, "errata.json", "CITATION.cff", "spar_dpo.sql", "views.sql"} <= set(files)
    assert any(name.startswith("recipes/spar-") for name in files) and any(name.endswith(".svg") for name in files)
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED, REPO, files[MANIFEST].decode(), "lineage"],
        capture_output=True,
        text=True,
        env={**os.environ, **client_environment(hub, str(tmp_path / "home"))},
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    found = json.loads(loaded.stdout.splitlines()[-1])
    assert found["fingerprint"] == fingerprint(spar_lake)
    assert {"prompt", "chosen", "rejected", "score_chosen", "score_rejected", "pair_id", "prompt_id"} <= set(
        found["columns"]
    )
    assert found["first"]["chosen"][0]["role"] == "assistant" and found["first"]["prompt"][-1]["role"] == "user"
    assert found["configs"][0] == "default" and {"removed", "trees", "nodes", "calls"} <= set(found["configs"])
    assert [row["removed_because"] for row in found["removed"]] == ["overlap with an evaluation set"] * 2
    assert set(found["streamed"]) == set(found["columns"])


def test_publishing_again_changes_nothing_and_sends_no_data(spar_lake: Path, against: str, hub: Hub, run: Run) -> None:
    run(*words(spar_lake, against))
    before, sent = dict(hub.dataset(REPO).refs), len([r for r in hub.requests if r.startswith("PUT")])
    code, _, err = run(*words(spar_lake, against))
    # On a busy machine it takes long enough for a word of progress.
    assert (code, [line for line in err.splitlines() if not line.startswith("publishing: ")]) == (0, [])
    assert dict(hub.dataset(REPO).refs) == before
    assert len([r for r in hub.requests if r.startswith("PUT")]) == sent


@pytest.mark.parametrize("broken", ["/storage/", "/commit/"])
def test_an_upload_that_broke_off_goes_on_where_it_was(
    broken: str, spar_lake: Path, against: str, hub: Hub, run: Run
) -> None:
    hub.fail(broken, cut=True, after=4, times=10)
    code, _, err = run(*words(spar_lake, against, "--with-lineage"))
    assert code == 1 and "the connection to it broke" in err and "it goes on where it broke off" in err
    made = hub.dataset(REPO)
    assert "README.md" not in made.files()  # nothing half-done is shown
    there = {path for path in made.files() if path.startswith("data/")}
    assert there
    hub.faults.clear()
    hub.requests.clear()
    assert run(*words(spar_lake, against, "--with-lineage"))[0] == 0
    shards = {path for path in made.files() if path.startswith("data/")}
    assert there < shards and set(read_paths(made.files()[MANIFEST])) == shards
    sent = [request for request in hub.requests if request.startswith("PUT")]
    assert len(sent) <= len(shards) - len(there)


def read_paths(manifest: bytes) -> list[str]:
    return [shard.path for shard in read_manifest(manifest, "ours").shards]


FAULTS = [
    (r"/repos/create", 403, {}, "the token may not write to dataset user/spar-dpo"),
    (r"/commit/", 409, {}, "somebody has changed dataset user/spar-dpo meanwhile"),
    (r"/commit/", 412, {}, "somebody has changed dataset user/spar-dpo meanwhile"),
    (
        r"/commit/",
        413,
        {},
        "too large (the largest is data/0123456789ab/default/train-00000-of-00001.parquet with 40 bytes)",
    ),
    (r"/preupload/", 429, {"Retry_After": "7"}, "start the command again: it goes on where it broke off, in 7 s"),
    (r"/commit/", 429, {}, "has had too many requests"),
    (r"/commit/", 500, {}, "the Hub answered 500, a fault of its own"),
    (r"/storage/", 500, {}, "the Hub answered 500, a fault of its own"),
    (r"/preupload/", 503, {}, "the Hub answered 503, a fault of its own"),
    (r"/repos/create", 418, {}, "the Hub refused dataset user/spar-dpo with 418"),
    (r"/commit/", 401, {}, "the Hub"),
]


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(("where", "status", "headers", "said"), FAULTS, ids=lambda value: str(value)[:24])
def test_each_fault_of_the_hub_is_one_sentence(
    where: str, status: int, headers: dict[str, str], said: str, hub: Hub, tmp_path: Path
) -> None:
    shard = tmp_path / "folder" / "data" / "0123456789ab" / "default" / "train-00000-of-00001.parquet"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"P" * 40)
    (tmp_path / "folder" / "README.md").write_text("words")
    hub.fail(where, status, times=50, **headers)
    with pytest.raises(FactoryError) as told:
        upload(Place(REPO, "dataset"), tmp_path / "folder", private=False, message="m", tag="v1", head=None)
    assert said in str(told.value) and "\n" not in str(told.value) and TOKEN not in str(told.value)


def test_a_hub_without_xet_storage_is_told(hub: Hub, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    shard = tmp_path / "folder" / "data" / "0123456789ab" / "default" / "train-00000-of-00001.parquet"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"P" * 4_000)
    with pytest.raises(FactoryError, match=r"the transfer .* failed .* needs HF_HUB_DISABLE_XET=1"):
        upload(Place(REPO, "dataset"), tmp_path / "folder", private=False, message="m", tag=None, head=None)


def test_a_token_that_is_wrong_or_missing_or_may_only_read_is_told_before_the_audit(
    spar_lake: Path, against: str, hub: Hub, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("datasets", REPO, {MANIFEST: b"{}"})
    for token, said in ((f"{TOKEN}x", "does not accept the token"), (None, "there is no token for the Hub")):
        monkeypatch.delenv("HF_TOKEN", raising=False)
        if token is not None:
            monkeypatch.setenv("HF_TOKEN", token)
        code, _, err = run(*words(spar_lake, against))
        assert code == 1 and said in err and "log in with `hf auth login`" in err
        assert "auditing" not in err
    del hub.repositories["datasets", REPO]
    monkeypatch.setenv("HF_TOKEN", READER)
    code, _, err = run(*words(spar_lake, against))
    assert code == 1 and "the token may not write to dataset user/spar-dpo" in err


def test_a_repository_with_other_content_is_left_alone(spar_lake: Path, against: str, hub: Hub, run: Run) -> None:
    theirs = hub.add("datasets", REPO, {"README.md": b"mine", "train.csv": b"a,b"})
    code, _, err = run(*words(spar_lake, against))
    assert code == 1 and "holds other content (README.md, train.csv)" in err
    assert theirs.messages == ["theirs"] and not any(request.startswith("POST") for request in hub.requests)
    assert run(*words(spar_lake, against, "--revision", "next"))[0] == 0
    assert theirs.files() == {"README.md": b"mine", "train.csv": b"a,b"}
    assert "README.md" in theirs.files("next") and theirs.files("next")["README.md"] != b"mine"


def test_what_shall_be_private_is_never_sent_to_what_is_public(
    spar_lake: Path, against: str, hub: Hub, run: Run
) -> None:
    assert run(*words(spar_lake, against))[0] == 0
    for more in ((), ("--revision", "next")):
        code, _, err = run(*words(spar_lake, against, "--private", *more))
        assert code == 1 and "is public already, and --private is for a new one" in err
    assert "next" not in hub.dataset(REPO).refs


def test_a_commit_of_somebody_else_while_it_is_prepared_stops_it(
    spar_lake: Path, against: str, hub: Hub, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*words(spar_lake, against))
    made = hub.dataset(REPO)

    def prepare_while_somebody_commits(*given: Any) -> Prepared:
        made.commit("main", {**made.at("main")}, "theirs")
        return prepare(*given)

    monkeypatch.setattr("factory.publishing.publish.prepare", prepare_while_somebody_commits)
    code, _, err = run(*words(spar_lake, against))
    assert code == 1 and "somebody has changed dataset user/spar-dpo meanwhile" in err
    assert made.messages[-1] == "theirs"


def test_a_dry_run_needs_no_token_asks_nobody_and_shows_the_card(
    spar_lake: Path, against: str, hub: Hub, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    out = tmp_path / "out"
    code, shown, err = run(*words(spar_lake, against, "--dry-run", out))
    assert code == 0, err
    assert hub.requests == [] and f"wrote {out}; nothing was uploaded" in shown
    card = (out / "README.md").read_text("utf-8")
    assert "# spar\\_dpo@1" in card and card.splitlines()[-3] in shown
    assert run(*words(spar_lake, against, "--dry-run", out))[0] == 0  # its own folder is replaced
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("mine")
    code, _, err = run(*words(spar_lake, against, "--dry-run", tmp_path / "theirs"))
    assert code == 1 and "holds other files (thesis.tex)" in err


def test_a_new_version_says_what_changed_and_why_and_the_old_one_stays_under_its_tag(
    own_lake: Path, against: str, hub: Hub, run: Run
) -> None:
    assert run(*words(own_lake, against))[0] == 0
    old = {path for path in hub.dataset(REPO).files() if path.startswith("data/")}
    with Lake.open(own_lake) as lake:
        runs = lake.query("SELECT run_id FROM current_runs").column(0).to_pylist()
        built = build_training_set(lake, "spar_dpo", {"held_out": 0.3}, runs)  # with the two that overlapped
    assert built.row.version == 2
    code, _, err = run(*words(own_lake, against, name="spar_dpo@2"))
    assert code == 1 and 'say what changed and why with --note "…"' in err
    assert (
        run(*words(own_lake, against, "--note", "two prompts are back: <b>no benchmark</b>", name="spar_dpo@2"))[0] == 0
    )
    made = hub.dataset(REPO)
    versions = json.loads(made.files()["errata.json"])["versions"]
    assert [(one["version"], one["rows"], one["added"], one["removed"], one["changed"]) for one in versions] == [
        (1, 8, None, None, None), (2, 10, 2, 0, 0),
    ]  # fmt: skip
    assert versions[1]["note"].startswith("two prompts are back")
    assert "&lt;b&gt;no benchmark" in made.files()["README.md"].decode()
    assert not old & set(made.files()) and old <= set(made.files("v1"))
    code, _, err = run(*words(own_lake, against, name="spar_dpo@1"))
    assert code == 1 and "has spar_dpo@2, which is later than 1" in err
    code, _, err = run(*words(own_lake, against, name="spar_rft"))
    assert code == 1 and "holds the training set spar_dpo, not spar_rft" in err


def test_a_published_version_never_changes(spar_lake: Path, own_lake: Path, against: str, hub: Hub, run: Run) -> None:
    run(*words(spar_lake, against))
    files = hub.dataset(REPO).files()
    errata = json.loads(files["errata.json"])
    errata["versions"][0]["fingerprint"] = "0" * 64
    changed = {**hub.dataset(REPO).at("main")}
    changed["errata.json"] = type(changed["errata.json"])(json.dumps(errata).encode(), False)
    hub.dataset(REPO).commit("main", changed, "another lake's")
    code, _, err = run(*words(own_lake, against))
    assert code == 1 and "a published version never changes" in err


def test_a_commit_of_somebody_else_between_two_of_ours_stops_it(hub: Hub, run: Run, tmp_path: Path) -> None:
    for config in ("default", "removed"):
        shard = tmp_path / "folder" / "data" / "0123456789ab" / config / "train-00000-of-00001.parquet"
        shard.parent.mkdir(parents=True)
        shard.write_bytes(config.encode())
    (tmp_path / "folder" / "README.md").write_text("ours")

    def interrupt(words: str) -> None:
        if "card" in words:
            made = hub.dataset(REPO)
            made.commit("main", {**made.at("main"), "README.md": Blob(b"theirs", False)}, "theirs")

    with pytest.raises(FactoryError, match="somebody has changed dataset user/spar-dpo meanwhile"):
        upload(
            Place(REPO, "dataset"), tmp_path / "folder", private=False, message="m", tag=None, head=None, tell=interrupt
        )
    assert hub.dataset(REPO).files()["README.md"] == b"theirs"


def test_files_of_an_earlier_version_do_not_stay_beside_a_new_one(hub: Hub, run: Run, tmp_path: Path) -> None:
    shard = tmp_path / "folder" / "data" / "0123456789ab" / "default" / "train-00000-of-00001.parquet"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"rows")
    (tmp_path / "folder" / "recipes").mkdir()
    (tmp_path / "folder" / "recipes" / "new.yaml").write_text("new")
    old = {
        "recipes/old.yaml": b"old",
        "data/ba9876543210/default/train-00000-of-00001.parquet": b"old",
        "LICENSE": b"theirs",
    }
    made = hub.add("datasets", REPO, old)
    upload(Place(REPO, "dataset"), tmp_path / "folder", private=False, message="m", tag="v2", head=made.refs["main"])
    assert set(made.files()) == {
        "recipes/new.yaml",
        "data/0123456789ab/default/train-00000-of-00001.parquet",
        "LICENSE",
    }


@pytest.mark.parametrize("repo", ["spar", "user/", "../etc/passwd", "user/a--b", "user/a b", "a/b/c"])
def test_a_name_that_is_none_is_refused(repo: str, spar_lake: Path, run: Run, hub: Hub) -> None:
    code, _, err = run("publish", "spar_dpo@1", repo, "--lake", spar_lake)
    assert code == 1 and "is not the name of a repository on the Hub" in err and not hub.requests


def test_a_set_of_completions_is_published_and_read_back(
    spar_lake: Path, against: str, hub: Hub, run: Run, tmp_path: Path
) -> None:
    allowed = (
        "--allow",
        "duplicate_rows",
        "--allow",
        "template_residue",
        "--allow",
        "misaligned",
        "--allow",
        "split_leak",
    )
    code, _, err = run(*words(spar_lake, against, *allowed, name="spar_rft@1", repo="user/rft"))
    assert code == 0, err
    assert "- sft\n" in hub.dataset("user/rft").files()["README.md"].decode()
    assert run("pull", "user/rft", "--lake", tmp_path / "pulled")[0] == 0
    with Lake.open(tmp_path / "pulled") as lake:
        assert read_training_set(lake, "spar_rft@1").row.fingerprint == fingerprint(spar_lake, "spar_rft@1")
