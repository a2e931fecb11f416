"""What refuses a publication, each with its reason, and how an exception is named and shown."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from factory.publishing.hub import Place
from factory.publishing.left_out import left_out, texts_left_out
from factory.publishing.lineage import PRIVATE
from factory.publishing.publish import Asked
from factory.publishing.publish import publish as publish_set
from schemas.tables import Model, Pair, Prompt, Response, Review
from schemas.tables import Run as RunRow
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.audits import pairs
from tests.hub import Hub
from tests.publications import Run
from tests.publications import against as against
from tests.publications import hub as hub
from tests.publications import run as run
from tests.rows import NOON, asked, row
from tests.sets import TEMPLATES

PLAIN = "smollm2-135m"
KEY = "AKIA" + "QRSTUVWXYZ234567"


def fill(
    lake: Lake, *, licence: str | None = "CC0-1.0", model: str = PLAIN, chosen: str = "", reflection: str = ""
) -> None:
    """A run with one pair a prompt, and a set of them.

    Args:
        chosen: what the first chosen answer also says.
    """
    rows: list[object] = [
        row(
            RunRow,
            "event",
            run_id="run",
            templates=TEMPLATES,
            recipe='{"name": "by hand"}',
            parameters="{}",
            purpose="data",
        )
    ]
    rows.append(row(Model, "m", name=model, origin="vllm:x"))
    for n, made in enumerate(pairs(24)):
        p = f"p{n:02}"
        rows.append(
            row(
                Prompt,
                p,
                messages=asked(made["prompt"][0]["content"]),
                source="bundled",
                licence=licence,
                language="en",
            )
        )
        for id, side in ((f"c{n:02}", "chosen"), (f"r{n:02}", "rejected")):
            text = made[side][0]["content"] + (f" {chosen}" if n == 0 and side == "chosen" else "")
            rows.append(row(Response, id, run_id="run", prompt_id=p, kind="sampled", text=text, model_id="m"))
        rows.append(
            row(Pair, f"x{n:02}", run_id="run", prompt_id=p, chosen_response_id=f"c{n:02}", rejected_response_id=f"r{n:02}",
                source="imported", chosen_value=1.0, rejected_value=0.0, similarity=0.5)
        )  # fmt: skip
    if reflection:
        rows.append(
            row(Response, "aside", run_id="run", prompt_id="p00", kind="sampled", text=reflection, model_id="m")
        )
    lake.append(rows, message="by hand")
    build_training_set(lake, "imported_dpo", {}, ["run"])


def publish(lake: Lake, run: Run, against: str | None, out: Path, *more: str) -> tuple[int, str, str]:
    compared = () if against is None else ("--against", against)
    return run("publish", "imported_dpo", "user/x", "--lake", lake.place.where, *compared, "--dry-run", out, *more)


def test_a_set_without_faults_is_published_without_exceptions(
    lake: Lake, run: Run, against: str, tmp_path: Path
) -> None:
    fill(lake)
    code, _, err = publish(lake, run, against, tmp_path / "out")
    assert code == 0, err
    assert "No exception was made." in (tmp_path / "out" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("given", "check", "reason"),
    [
        ({"chosen": f"The key is {KEY}."}, "secrets", "secrets: 0.0417, and may be at most 0, as in rows x00"),
        ({"chosen": "Write to maria.keller@uni-bonn.de."}, "personal_data", "personal_data: 0.0417"),
        ({"licence": None}, "licences", "licences: the licence of 24 rows' prompts is not known (bundled)"),
        (
            {"model": "mine"},
            "model_licences",
            "model_licences: the licence of mine is not known: name it with --model-licence mine=",
        ),
    ],
)
def test_what_refuses_says_why_and_is_shown_where_it_is_allowed(
    given: dict[str, str], check: str, reason: str, lake: Lake, run: Run, against: str, tmp_path: Path
) -> None:
    fill(lake, **given)  # type: ignore[arg-type]
    code, _, err = publish(lake, run, against, tmp_path / "out")
    assert code == 1 and reason in err and f"--allow {check}" in err and not (tmp_path / "out").exists()
    assert KEY not in err and "maria" not in err
    code, out, err = publish(lake, run, against, tmp_path / "out", "--allow", check)
    assert code == 0, err
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert f"allowed: {check}" in out and f"- `{check}`: " in card and "Exceptions that the publisher named" in card
    if check in ("licences", "model_licences"):
        assert "\nlicense: unknown\n" in card


def test_a_secret_in_the_lineage_refuses_only_with_it(lake: Lake, run: Run, against: str, tmp_path: Path) -> None:
    fill(lake, reflection=f"-----BEGIN RSA PRIVATE KEY-----\n{KEY}\n")
    assert publish(lake, run, against, tmp_path / "out")[0] == 0
    code, _, err = publish(lake, run, against, tmp_path / "more", "--with-lineage")
    assert code == 1 and "in 1 text beside the set (responses)" in err and "--allow secrets" in err and KEY not in err


def test_overlap_refuses_and_so_does_not_having_looked(
    lake: Lake, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "empty"))
    fill(lake)
    code, _, err = publish(lake, run, None, tmp_path / "out")
    assert code == 1 and "overlap: no evaluation set was compared: name one, as in --against ifeval" in err
    (tmp_path / "held.jsonl").write_text(json.dumps({"prompt": pairs(1)[0]["prompt"][0]["content"]}) + "\n")
    code, _, err = publish(lake, run, str(tmp_path / "held.jsonl"), tmp_path / "out")
    assert code == 1 and "overlap: 0.0417, and may be at most 0, as in rows x00" in err


def test_rows_that_a_reviewer_rejects_refuse_unless_the_newest_review_accepts(
    lake: Lake, run: Run, against: str, tmp_path: Path
) -> None:
    fill(lake)
    given = {"pair_id": "x03", "run_id": "run", "prompt_id": "p03", "reviewer": "Ada"}
    lake.append([row(Review, "r1", verdict="reject", reviewed_at=NOON, **given)], message="review")
    code, _, err = publish(lake, run, against, tmp_path / "out")
    assert code == 1 and "rejected_pairs: reviewers reject or have rewritten 1 of its rows" in err
    later = NOON.replace(hour=20)
    lake.append([row(Review, "r2", verdict="accept", reviewed_at=later, **given)], message="review")
    assert publish(lake, run, against, tmp_path / "out")[0] == 0


def test_every_reason_is_named_at_once_and_a_misspelt_one_is_found(
    lake: Lake, run: Run, against: str, tmp_path: Path, hub: Hub
) -> None:
    fill(lake, licence=None, model="mine", chosen=KEY)
    code, _, err = publish(lake, run, against, tmp_path / "out", "--allow", "licences")
    assert code == 1 and "--allow secrets --allow model_licences" in err and "--allow licences" not in err
    code, _, err = publish(lake, run, against, tmp_path / "out", "--allow", "licence")
    assert code == 1 and "--allow: there is no check 'licence': did you mean 'licences'?" in err
    code, _, err = publish(lake, run, against, tmp_path / "out", "--model-licence", "mine")
    assert code == 1 and "must be MODEL=LICENCE" in err
    assert not hub.requests


REVIEWED = """-- reviewed.sql: pairs that nobody rejects.
-- In: $run_ids VARCHAR[], $exclude_rejected BIGINT = 1.
-- Out: preference; ordered by split and pair_id.
WITH picked AS (
  FROM pairs
  WHERE list_contains($run_ids, run_id)
    AND ($exclude_rejected = 0 OR pair_id NOT IN (SELECT pair_id FROM current_reviews WHERE verdict = 'reject'))
)
FROM preference_rows('picked', 'imported', 0.1)
ORDER BY split DESC, pair_id;
"""


def test_what_a_review_took_out_is_published_apart(lake: Lake, run: Run, against: str, tmp_path: Path) -> None:
    fill(lake)
    (tmp_path / "reviewed.sql").write_text(REVIEWED)
    given = {"pair_id": "x03", "run_id": "run", "prompt_id": "p03", "reviewer": "Ada"}
    lake.append([row(Review, "r1", verdict="reject", reviewed_at=NOON, **given)], message="review")
    built = build_training_set(lake, str(tmp_path / "reviewed.sql"), {}, ["run"])
    out = tmp_path / "out"
    code, _, err = run(
        "publish",
        "reviewed@1",
        "user/x",
        "--lake",
        lake.place.where,
        "--against",
        against,
        "--dry-run",
        out,
        "--with-lineage",
    )
    assert code == 0, err
    told = texts_left_out(left_out(lake, built))
    assert told is not None and {id.split()[1] for id in told.column("id").to_pylist()} == {
        "prompt",
        "chosen",
        "rejected",
    }
    (file,) = out.glob("data/*/removed/train-*.parquet")
    removed = pq.read_table(file).to_pylist()
    assert [(one["pair_id"], one["removed_because"]) for one in removed] == [
        ("x03", "a reviewer rejected or rewrote it")
    ]
    assert set(removed[0]) == {*built.train.column_names, "removed_because"} - {"chosen_value", "rejected_value"} | {
        "score_chosen", "score_rejected",
    } - {name for name in built.train.column_names if built.train.column(name).null_count == built.train.num_rows}  # fmt: skip
    assert "- a reviewer rejected or rewrote it: 1 row, in the config `removed`" in (out / "README.md").read_text(
        "utf-8"
    )
    assert "Ada" not in "".join(
        f.read_text("utf-8") for f in out.rglob("*") if f.suffix in (".md", ".json", ".sql", ".yaml")
    )


def test_a_lock_file_lies_beside_the_card_if_there_is_one_to_write(lake: Lake, tmp_path: Path) -> None:
    fill(lake)
    asked = Asked(Place("user/x", "dataset"), allowed=("overlap",), against=())
    publish_set(
        lake,
        "imported_dpo@1",
        asked,
        lambda words: None,
        out=tmp_path / "out",
        lock=lambda lake, name: f"{name} http://10.1.2.3/v1\n",
    )
    assert (tmp_path / "out" / "imported_dpo.lock.yaml").read_text() == f"imported_dpo@1 {PRIVATE}\n"
    assert "[`imported_dpo.lock.yaml`](./imported_dpo.lock.yaml) pins" in (tmp_path / "out" / "README.md").read_text(
        "utf-8"
    )
