"""Publishing the model of an online training: what was paid stands on its card, and with lineage as rows beside the weights."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from safetensors.numpy import save_file

from factory.inference.folders import folder_sha256
from factory.publishing.hub import Place
from factory.publishing.lineage import CONFIGS
from factory.publishing.model import AskedModel, publish_model
from schemas.errors import FactoryError
from schemas.tables import Model, TrainingRun, TrainingSet
from stores.lake import Lake
from tests.hub import Hub
from tests.publications import Run
from tests.publications import hub as hub
from tests.publications import run as run
from tests.rewarded import PAID, RUN, TRAINING, online_training
from tests.rows import NOON, minutes, row

PRIVATE = "http://10.0.0.7:8000/v1"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "actor-9"
    folder.mkdir(parents=True)
    save_file({"weight": np.arange(12, dtype=np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    return folder


def trained(model: Path, objective: str = "online", **given: Any) -> list[Any]:
    """The rows of a training; of an online one also what was answered and paid."""
    configuration = {"reward": {"kind": "judge", "endpoint": PRIVATE, "model": "judge-1"}}
    return [
        row(Model, "start", name="smollm2-135m", origin="embedded:smollm2-135m"),
        row(TrainingSet, "set", name="prompts", version=1, parameters=json.dumps({"run_ids": [RUN]}), train_rows=2, held_out_rows=1),
        row(TrainingRun, TRAINING, training_set_id="set", objective=objective, base_model="embedded:smollm2-135m",
            start_model_id="start", status="finished", configuration=json.dumps(configuration), loss_curve=[0.0, 0.0],
            metrics=json.dumps({"before": {"reward": -1.0}, "after": {"reward": 1.0}}), weights_sha256=folder_sha256(model),
            output="actor-9", started_at=NOON, ended_at=minutes(2)),
        *(online_training(endpoint=PRIVATE, **given) if objective == "online" else []),
    ]  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Lake.open(tmp_path / "lake", create=True) as opened:
        yield opened


def publish(lake: Lake, model: Path, out: Path, *allowed: str, lineage: bool = True) -> str:
    licences = {"judge-1": "MIT", "smollm2-135m": "Apache-2.0"}
    asked = AskedModel(Place("me/actor", "model"), None, None, allowed, licences, lineage)  # type: ignore[arg-type]
    return publish_model(lake, "actor-9", model, asked, lambda words: None, out=out).card


def test_the_card_says_what_was_paid_over_the_steps(lake: Lake, model: Path, tmp_path: Path) -> None:
    lake.append(trained(model), message="trained")
    card = publish(lake, model, tmp_path / "out", lineage=False)
    assert (
        "| before | 1 | 1 | -1 | -1 | -1 |\n| step 1 | 4 | 3 | 0 | -1 | 1 |\n| step 2 | 4 | 4 | 0.75 | 0 | 1 |\n| after | 1"
        in card
    )
    assert "| mean reward of an answer to a held-out prompt | -1 | 1 |" in card
    assert "lineage" not in card and not (tmp_path / "out" / "lineage").exists()
    assert "10.0.0.7" not in card and "private.invalid" in card


def test_with_lineage_every_answer_and_its_reward_is_a_row_beside_the_weights(
    lake: Lake, model: Path, tmp_path: Path
) -> None:
    lake.append(trained(model), message="trained")
    card = publish(lake, model, tmp_path / "out")
    tables = {f.stem: pyarrow.parquet.read_table(f) for f in (tmp_path / "out" / "lineage").iterdir()}
    assert {name: rows.num_rows for name, rows in tables.items()} == {
        "runs": 1, "models": 1, "prompts": 3, "run_prompts": 3, "calls": 10, "responses": 10, "judgements": 10,
    }  # fmt: skip
    points = {one["response_id"]: one["points"] for one in tables["judgements"].to_pylist()}
    found = [(one["stage"], one["prompt_id"], points[one["response_id"]]) for one in tables["responses"].to_pylist()]
    expected = [(stage, *one) for stage, answers in PAID.items() for one in answers]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert not [f for f in (tmp_path / "out").rglob("*") if f.is_file() and b"10.0.0.7" in f.read_bytes()]
    assert "`judgements` (10)" in card and "Licence: apache-2.0 and mit, worked out" in card  # mit: the judge's


@pytest.mark.parametrize(
    ("objective", "given", "said"),
    [
        ("dpo", {}, "answered no prompts: leave --with-lineage out, and publish what it was trained on with `factory publish prompts@1"),
        ("online", {"text": "Write to ada.lovelace@analytical.org"}, "personal_data: e-mail address in 10 texts of its lineage (responses)"),
    ],
)  # fmt: skip
def test_what_has_no_lineage_or_may_not_be_published_is_refused(
    lake: Lake, model: Path, tmp_path: Path, objective: str, given: dict[str, Any], said: str
) -> None:
    lake.append(trained(model, objective, **given), message="trained")
    with pytest.raises(FactoryError) as refused:
        publish(lake, model, tmp_path / "out")
    assert said in str(refused.value), refused.value
    assert not (tmp_path / "out").exists()
    publish(lake, model, tmp_path / "out", lineage=False)
    if given:
        publish(lake, model, tmp_path / "out", "personal_data")
        assert (tmp_path / "out" / "lineage" / "responses.parquet").is_file()


def test_a_judge_of_unknown_licence_refuses_the_lineage(
    lake: Lake, model: Path, tmp_path: Path, run: Run, hub: Hub, recwarn: pytest.WarningsRecorder
) -> None:
    lake.append(trained(model), message="trained")
    words = ("publish-model", "actor-9", "me/actor", "--lake", tmp_path / "lake")
    code, _, err = run(*words, "--with-lineage")
    assert code == 1 and "the licence of judge-1, which judged the answers of its lineage, is not known" in err
    assert run(*words, "--with-lineage", "--model-licence", "judge-1=MIT")[0] == 0
    assert "lineage/judgements.parquet" in hub.model("me/actor").files()
    assert not [one for one in recwarn if "data file" in str(one.message)]
    # What is published again without it leaves none of an earlier training behind.
    assert run(*words)[0] == 0
    assert not [name for name in hub.model("me/actor").files() if name.startswith("lineage/")]


def test_the_page_on_publishing_names_every_table_of_a_lineage(lake: Lake, model: Path, tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "publishing.md").read_text("utf-8")
    of_sets, of_models = page.partition("## Models")[::2]
    assert [name for name in CONFIGS if f"`{name}`" not in of_sets] == []
    lake.append(trained(model), message="trained")
    publish(lake, model, tmp_path / "out")
    written = [file.stem for file in (tmp_path / "out" / "lineage").iterdir()]
    assert written and [name for name in written if f"`{name}`" not in of_models] == []
