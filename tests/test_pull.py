"""Lakes made of what was published: they open like any other, and a stranger's repository is refused where it does not fit."""

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.publishing.manifest import MANIFEST
from factory.publishing.shards import batches
from schemas.errors import FactoryError
from schemas.tables import Review, TrainingSet
from stores.checksums import verify_files
from stores.lake import Lake
from stores.training_sets import build_training_set, find_training_set, read_training_set
from tests.hub import Blob, Hub, Repository
from tests.publications import LICENCES, REPO, Run, out_of, publish
from tests.publications import against as against
from tests.publications import hub as hub
from tests.publications import own_lake as own_lake
from tests.publications import published as published
from tests.publications import run as run
from tests.publications import spar_lake as spar_lake
from tests.publications import written as written
from tests.rows import NOON, row


def test_a_pulled_lake_gives_the_set_its_trees_and_the_same_answers_to_the_same_sql(
    published: Repository, spar_lake: Path, run: Run, tmp_path: Path
) -> None:
    code, out, err = run("pull", REPO, "--lake", tmp_path / "pulled")
    assert code == 0, err
    assert "pulled: 1 run, 1 model, 10 prompts, 10 run prompts, " in out
    with Lake.open(spar_lake) as before, Lake.open(tmp_path / "pulled") as after:
        row = find_training_set(before, "spar_dpo@1")
        pulled = read_training_set(after, "spar_dpo@1")
        assert (
            pulled.row.fingerprint == row.fingerprint and f"fingerprint {row.fingerprint}, as it was published" in out
        )
        assert pulled.row.training_set_id == row.training_set_id and pulled.row.sql == row.sql
        for text in (
            "SELECT tree_id, node_id, depth, value, state FROM nodes ORDER BY node_id",
            "SELECT response_id, judge, passed, value FROM verdicts ORDER BY response_id, judge",
            "SELECT call_id, messages FROM call_messages ORDER BY call_id",
            "SELECT pair_id, chosen, rejected FROM accepted_pairs ORDER BY pair_id",
        ):
            assert before.query(text).num_rows > 8 and after.query(text).equals(before.query(text)), text
        assert not verify_files(after).damages
        origins = after.query("SELECT DISTINCT origin FROM models UNION SELECT DISTINCT endpoint FROM calls").column(0)
        assert origins.to_pylist() == ["http://private.invalid"]
    tree = out_of(
        run, "sql", "SELECT tree_id FROM trees ORDER BY 1 LIMIT 1", "-f", "csv", "--lake", tmp_path / "pulled"
    )
    assert "accepted" in out_of(run, "tree", tree.split()[-1].strip('"'), "--lake", tmp_path / "pulled")
    assert "is whole" in out_of(run, "verify", "--lake", tmp_path / "pulled")
    assert not list(tmp_path.glob(".*.part"))


def test_what_was_pulled_can_be_published_again_as_it_was(
    published: Repository, against: str, run: Run, hub: Hub, tmp_path: Path
) -> None:
    run("pull", REPO, "--lake", tmp_path / "pulled")
    before = published.files()
    code, _, err = run(
        "publish",
        "spar_dpo@1",
        "user/mirror",
        "--lake",
        tmp_path / "pulled",
        "--against",
        against,
        *LICENCES,
        "--with-lineage",
    )
    assert code == 0, err
    after = hub.dataset("user/mirror").files()
    data = {path: content for path, content in before.items() if path.startswith("data/")}
    assert data == {path: content for path, content in after.items() if path.startswith("data/")}


def test_without_lineage_the_lake_has_the_sets_rows_alone(
    spar_lake: Path, against: str, run: Run, tmp_path: Path
) -> None:
    publish(spar_lake, against, run)
    out = out_of(run, "pull", REPO, "--lake", tmp_path / "pulled")
    assert "published without lineage: the lake has the set's rows (table published_rows)" in out
    with Lake.open(spar_lake) as before, Lake.open(tmp_path / "pulled") as after:
        one, other = read_training_set(before, "spar_dpo@1"), read_training_set(after, "spar_dpo@1")
        assert one.row.fingerprint == other.row.fingerprint
        assert (
            one.train.to_pylist() == other.train.to_pylist() and one.held_out.to_pylist() == other.held_out.to_pylist()
        )
    assert "8" in out_of(run, "sql", "SELECT count(*) FROM published_rows", "--lake", tmp_path / "pulled")


def test_an_earlier_version_is_pulled_by_its_tag(own_lake: Path, against: str, run: Run, tmp_path: Path) -> None:
    publish(own_lake, against, run)
    with Lake.open(own_lake) as lake:
        runs = lake.query("SELECT run_id FROM current_runs").column(0).to_pylist()
        build_training_set(lake, "spar_dpo", {"held_out": 0.3}, runs)
    publish(own_lake, against, run, "--note", "more", name="spar_dpo@2")
    assert "spar_dpo@2" in out_of(run, "pull", REPO, "--lake", tmp_path / "newest")
    assert "spar_dpo@1" in out_of(run, "pull", REPO, "--revision", "v1", "--lake", tmp_path / "first")
    code, _, err = run("pull", REPO, "--revision", "v9", "--lake", tmp_path / "none")
    assert code == 1 and "has no dataset user/spar-dpo at revision v9" in err and not (tmp_path / "none").exists()


def test_reviews_go_along_and_their_authors_names_do_not(
    own_lake: Path, against: str, run: Run, hub: Hub, tmp_path: Path
) -> None:
    with Lake.open(own_lake, create=True) as lake:
        pair = read_training_set(lake, "spar_dpo@1").train.to_pylist()[0]
        given = {name: pair[name] for name in ("pair_id", "run_id", "prompt_id")}
        reviews = [row(Review, f"r{n}", reviewer=who, verdict="accept", reviewed_at=NOON, reason="clear", **given)
                   for n, who in enumerate(("Grace Hopper", "Ada Lovelace"))]  # fmt: skip
        lake.append(reviews, message="reviews")
        build_training_set(lake, "spar_dpo", {"held_out": 0.2}, [given["run_id"]])
    publish(own_lake, against, run, "--with-lineage", name="spar_dpo@2")
    everything = b"".join(content for content in hub.dataset(REPO).files().values())
    assert b"Hopper" not in everything and b"Lovelace" not in everything
    out_of(run, "pull", REPO, "--lake", tmp_path / "pulled")
    with Lake.open(tmp_path / "pulled") as lake:
        assert {one.reviewer for one in lake.read(Review)} == {"reviewer 1", "reviewer 2"}


@pytest.mark.parametrize("there", ["lake", "file"])
def test_nothing_that_is_there_is_overwritten(there: str, published: Repository, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    if there == "file":
        target.write_text("mine")
    else:
        Lake.open(target, create=True).close()
    code, _, err = run("pull", REPO, "--lake", target)
    assert code == 1 and "is there already, and a pulled set makes a lake of its own" in err
    code, _, err = run("pull", REPO, "--lake", "postgresql://me@host/db?data_path=x")
    assert code == 1 and "makes a lake in a folder" in err


# A stranger's repository


def shard_of(repository: Repository, config: str) -> tuple[str, pa.Table]:
    (path,) = (p for p in repository.files() if f"/{config}/train-" in p)
    return path, pq.read_table(io.BytesIO(repository.files()[path]))


def with_files(repository: Repository, changes: dict[str, bytes | None]) -> None:
    files = {**repository.at("main")}
    for path, content in changes.items():
        if content is None:
            del files[path]
        else:
            files[path] = Blob(content, path.endswith(".parquet"))
    repository.commit("main", files, "changed")


def rewritten(repository: Repository, config: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Other rows in a config, with a list that names them rightly: only what they say is wrong."""
    path, rows = shard_of(repository, config)
    out = io.BytesIO()
    pq.write_table(change(rows), out)
    manifest = json.loads(repository.files()[MANIFEST])
    for shard in manifest["shards"]:
        if shard["path"] == path:
            shard |= {"sha256": hashlib.sha256(out.getvalue()).hexdigest(), "rows": change(rows).num_rows}
    with_files(repository, {path: out.getvalue(), MANIFEST: json.dumps(manifest).encode()})


def changed_manifest(repository: Repository, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads(repository.files()[MANIFEST])
    change(manifest)
    with_files(repository, {MANIFEST: json.dumps(manifest).encode()})


def _first_path(to: str) -> Callable[[dict[str, Any]], Any]:
    return lambda manifest: manifest["shards"][0].update(path=to)


HOSTILE: list[tuple[str, Callable[[Repository], Any], str]] = [
    ("no manifest", lambda r: with_files(r, {MANIFEST: None}), "was not published by `factory publish`"),
    ("no JSON", lambda r: with_files(r, {MANIFEST: b"{"}), "does not fit what `factory publish` writes"),
    ("deep JSON", lambda r: with_files(r, {MANIFEST: b"[" * 100_000}), "does not fit what `factory publish` writes"),
    (
        "later",
        lambda r: changed_manifest(r, lambda m: m.update(format=9)),
        "by a later version of this program (format 9)",
    ),
    ("missing field", lambda r: changed_manifest(r, lambda m: m.pop("columns")), "does not fit"),
    (
        "path above",
        lambda r: changed_manifest(r, _first_path("../../../etc/passwd")),
        "which this program would not write",
    ),
    ("absolute path", lambda r: changed_manifest(r, _first_path("/etc/passwd")), "which this program would not write"),
    ("twice", lambda r: changed_manifest(r, lambda m: m["shards"].append(m["shards"][0])), "names a file twice"),
    (
        "id",
        lambda r: changed_manifest(r, lambda m: m["training_set"].update(training_set_id="0" * 32)),
        "does not fit its name",
    ),
    (
        "format",
        lambda r: changed_manifest(r, lambda m: m["training_set"].update(format="odd")),
        "a format that is not known",
    ),
    (
        "counts",
        lambda r: changed_manifest(r, lambda m: m["training_set"].update(train_rows=7)),
        "other numbers of rows",
    ),
    ("columns", lambda r: changed_manifest(r, lambda m: m["columns"].append("secret")), "lack columns"),
    ("schema", lambda r: changed_manifest(r, lambda m: m.update(schema_version=5)), "the tables of schema version 5"),
    ("missing shard", lambda r: with_files(r, {shard_of(r, "nodes")[0]: None}), "lacks data/"),
    (
        "swapped bytes",
        lambda r: with_files(r, {shard_of(r, "nodes")[0]: b"PAR1"}),
        "is not the file that was published",
    ),
    ("other rows", lambda r: rewritten(r, "default", lambda t: t.slice(1)), "do not have the fingerprint"),
    ("one word", lambda r: rewritten(r, "default", _with_other_answer), "do not have the fingerprint of spar_dpo@1"),
    (
        "extra column",
        lambda r: rewritten(r, "nodes", lambda t: t.append_column("x", pa.nulls(len(t)))),
        "has the columns",
    ),
    ("type", lambda r: rewritten(r, "nodes", lambda t: _cast(t, "depth", pa.float64())), "has type double"),
    (
        "null",
        lambda r: rewritten(r, "nodes", lambda t: _null(t, "tree_id")),
        "column tree_id of its config nodes is NULL",
    ),
    (
        "same id",
        lambda r: rewritten(r, "nodes", lambda t: pa.concat_tables([t, t.slice(0, 1)])),
        "rows with the id of another",
    ),
    ("name", lambda r: changed_manifest(r, lambda m: m["training_set"].update(name="../x")), "cannot be a file's"),
    ("lineage that gives another set", lambda r: rewritten(r, "pairs", lambda t: t.slice(0, 3)), "fingerprint"),
]


def _with_other_answer(rows: pa.Table) -> pa.Table:
    changed = rows.to_pylist()
    changed[0]["chosen"] = [{"role": "assistant", "content": "Obey."}]
    return pa.Table.from_pylist(changed, rows.schema)


def _cast(rows: pa.Table, column: str, kind: pa.DataType) -> pa.Table:
    return rows.set_column(rows.column_names.index(column), column, rows.column(column).cast(kind))


def _null(rows: pa.Table, column: str) -> pa.Table:
    return rows.set_column(rows.column_names.index(column), column, pa.nulls(len(rows), pa.string()))


@pytest.mark.parametrize(("harm", "said"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_a_repository_that_does_not_fit_is_refused_and_leaves_nothing(
    harm: Callable[[Repository], Any], said: str, published: Repository, run: Run, tmp_path: Path
) -> None:
    harm(published)
    code, _, err = run("pull", REPO, "--lake", tmp_path / "pulled")
    assert code == 1 and said in err, err
    assert err.count("error:") == 1
    assert not (tmp_path / "pulled").exists() and not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize(
    "sql",
    [
        "-- Out: preference;\nCOPY (SELECT 1) TO '{file}'",
        "-- Out: preference;\nSELECT * FROM read_text('/etc/passwd')",
        "-- Out: preference;\nATTACH '{file}' AS other",
    ],
)
def test_the_sql_of_a_stranger_only_reads_the_lake(sql: str, published: Repository, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "harm"
    changed_manifest(published, lambda m: m["training_set"].update(sql=sql.format(file=target)))
    code, _, err = run("pull", REPO, "--lake", tmp_path / "pulled")
    assert code == 1 and "training set spar_dpo" in err
    assert not target.exists() and not (tmp_path / "pulled").exists()


def test_views_of_a_stranger_only_read_the_lake(published: Repository, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "harm"
    views = f"CREATE TEMP VIEW pairs AS SELECT * FROM lake.pairs; COPY (SELECT 1) TO '{target}'"
    changed_manifest(published, lambda m: m["training_set"].update(views=views))
    code, _, _ = run("pull", REPO, "--lake", tmp_path / "pulled")
    assert code == 1 and not target.exists()


def test_a_small_file_of_endless_text_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.publishing.shards._HARMLESS_BYTES", 1 << 20)
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["x" * 10_000]))
    pq.write_table(pa.table({"text": text}), tmp_path / "bomb.parquet", compression="zstd", store_schema=False)
    size = (tmp_path / "bomb.parquet").stat().st_size
    read = 0
    with pytest.raises(FactoryError, match="no set of texts is like that"):
        for part in batches(pq.ParquetFile(tmp_path / "bomb.parquet"), size, "theirs"):
            read += part.num_rows
    assert size < 10_000 and read < 2_000  # of 20,000 rows, 200 MB


def test_only_what_is_looked_at_is_downloaded(published: Repository, run: Run, hub: Hub, tmp_path: Path) -> None:
    with_files(published, {"setup.py": b"raise SystemExit", "model.pkl": b"\x80\x04", "x.sh": b"rm -rf /"})
    assert run("pull", REPO, "--lake", tmp_path / "pulled")[0] == 0
    assert not [request for request in hub.requests if request.endswith((".py", ".pkl", ".sh"))]


@pytest.mark.parametrize(
    ("where", "status", "said"),
    [
        ("/api/datasets/", 404, "the Hub has no dataset user/spar-dpo"),
        ("/resolve/", 403, "may not read"),
        ("/api/datasets/", 500, "the Hub answered 500"),
        ("/tree/", 429, "too many requests"),
    ],
)
def test_each_fault_of_the_hub_is_one_sentence(
    where: str, status: int, said: str, published: Repository, run: Run, hub: Hub, tmp_path: Path
) -> None:
    headers = {"X_Error_Code": "RepoNotFound"} if status == 404 else {}
    hub.fail(where, status, times=99, **headers)
    code, _, err = run("pull", REPO, "--lake", tmp_path / "pulled")
    assert code == 1 and said in err, err
    assert not (tmp_path / "pulled").exists() and not list(tmp_path.glob(".*.part"))


def test_a_download_that_broke_off_leaves_nothing(published: Repository, run: Run, hub: Hub, tmp_path: Path) -> None:
    hub.fail("/resolve/", cut=True, times=99, after=3)
    code, _, err = run("pull", REPO, "--lake", tmp_path / "pulled")
    assert code == 1 and err.count("error:") == 1, err
    assert not (tmp_path / "pulled").exists() and not list(tmp_path.glob(".*.part"))


def test_the_manifest_holds_the_sets_row_to_its_last_field(published: Repository) -> None:
    found = json.loads(published.files()[MANIFEST])["training_set"]
    assert set(found) == {field.name for field in dataclasses.fields(TrainingSet)}
