"""Chat templates in loops: whose count, what is refused before the first round, and how another one is allowed."""

import json
from collections.abc import Mapping, Sequence
from itertools import count, permutations
from pathlib import Path
from typing import Any

import pytest

from factory.loops.checking import check_before
from factory.loops.reading import load_loop
from schemas.errors import FactoryError
from schemas.ids import sha256_text
from schemas.tables import Judgement, MetaJudgement, Model, Pair, Prompt, Response, Run, RunPrompt
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.loops import Trainer, delta_on, resumed_with, run, trainer
from tests.rows import asked, fill, row
from tests.scripted_endpoint import running_endpoint

__all__ = ["trainer"]

TEMPLATE = "Score: {response} for {prompt}"
ACTORS, JUDGES = "a" * 64, "b" * 64


def judged(lake: Lake) -> None:
    """Two answers of an actor with a pair, and two judgements of one of them, the first of which is better."""
    fill(
        lake,
        row(Run, "run/0", run_id="run", purpose="data", templates={"score": TEMPLATE}),
        row(Model, "actor", chat_template_hash=ACTORS),
        row(Model, "judge", chat_template_hash=JUDGES),
        row(Model, "stranger", chat_template_hash="c" * 64),
        row(Prompt, "p1", messages=asked("Why?"), reference="So it is."),
        row(RunPrompt, "run/p1", run_id="run", prompt_id="p1"),
        row(Response, "other", run_id="other", prompt_id="p1", kind="sampled", text="Other.", model_id="stranger"),
        row(Pair, "pair", run_id="run", prompt_id="p1", source="shortest_over_longest", chosen_response_id="yes",
            rejected_response_id="no"),
    )  # fmt: skip
    for answer in ("yes", "no"):
        fill(lake, row(Response, answer, run_id="run", prompt_id="p1", kind="sampled", text=answer, model_id="actor"))
    for name in "xy":
        fill(lake, row(Judgement, name, run_id="run", prompt_id="p1", response_id="yes", judge="score", kind="score",
                       critique=f"I say {name}", template_hash=sha256_text(TEMPLATE), model_id="judge"))  # fmt: skip
    for first, second in permutations("xy"):
        fill(lake, row(MetaJudgement, first, run_id="run", prompt_id="p1", response_id="yes", stage="meta_judge",
                       first_judgement_id=first, second_judgement_id=second, probability=float(first < second)))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "templates"),
    [
        ("shortest_over_longest", [ACTORS]),
        ("meta_judge", [JUDGES]),
        ("meta_rewarding", [ACTORS, JUDGES]),
        ("prompts", []),
        ("reference_sft", []),
    ],
)
def test_a_set_has_the_templates_of_those_who_wrote_what_is_learned(
    lake: Lake, name: str, templates: list[str]
) -> None:
    judged(lake)
    assert build_training_set(lake, name, {"held_out": 0}, ["run"]).row.chat_template_hashes == templates


def models(folder: Path, templates: Mapping[str, str]) -> dict[str, Any]:
    """By role, a folder of a model with that chat template."""
    changes = {}
    for role, template in templates.items():
        (folder / role).mkdir()
        (folder / role / "chat_template.jinja").write_text(template, "utf-8")
        (folder / role / "config.json").write_text(json.dumps({"model_type": "llama"}), "utf-8")
        changes[f"models.{role}"] = f"embedded:{folder / role}"
    return changes


def told(recipe: str, changes: Mapping[str, Any]) -> str | None:
    try:
        check_before(load_loop(recipe, changes))
    except FactoryError as error:
        return str(error)
    return None


@pytest.mark.usefixtures("trainer")
@pytest.mark.parametrize(
    ("recipe", "templates", "changes", "refused"),
    [
        ("delta", "actor A, stronger B, weaker C", {}, None),
        ("delta", "actor A, stronger B, weaker C", {"train.actor.allow_other_template": False},
         "train.actor: the chat template of models.actor has SHA-256 A, but the answers of delta are written by "
         "models.stronger (B) and models.weaker (C): give the model the same chat_template.jinja, or train on them all the "
         "same with train.actor.allow_other_template=true"),
        ("delta", "actor A, stronger B, weaker A", {"train.actor.allow_other_template": False}, None),
        ("rlaif", "actor A, judge A, reward B", {}, None),
        ("meta_rewarding", "actor A, judge B", {}, None),
        ("meta_rewarding", "actor A, judge B", {"train.judge.set": "meta_rewarding"}, None),
        ("meta_rewarding", "actor A, judge B", {"train.judge.set": "shortest_over_longest"}, "train.judge: the chat template"),
        ("meta_rewarding", "actor A, judge B", {"train.actor.set": "meta_judge"}, "train.actor: the chat template"),
        ("meta_rewarding", "actor A, judge B", {"train.judge.set": "reference_sft"}, None),
        ("spar", "actor A, refiner B", {}, None),
    ],
)  # fmt: skip
def test_another_template_is_refused_before_the_first_round(
    recipe: str, templates: str, changes: dict[str, Any], refused: str | None, tmp_path: Path
) -> None:
    by_role = dict(one.split() for one in templates.split(", "))
    whole = {**models(tmp_path, by_role), "train.actor.config": "small-cpu", **changes}
    said = told(recipe, whole)
    if refused is None:
        assert said is None
        return
    for name in "ABC":
        refused = refused.replace(f" {name},", f" {sha256_text(name)[:12]},").replace(
            f"({name})", f"({sha256_text(name)[:12]})"
        )
    assert said is not None and said.startswith(refused)


def test_a_model_behind_a_url_tells_no_template_and_is_not_refused(trainer: Trainer, tmp_path: Path) -> None:
    url = {"endpoint": "http://127.0.0.1:9/v1", "name": "owner/served"}
    changes = {**models(tmp_path, {"actor": "A"}), "models.stronger": url, "models.weaker": url}
    assert told("delta", {**changes, "train.actor.allow_other_template": False}) is None


def test_what_a_loop_allows_its_trainer_is_told_and_it_is_the_same_loop(
    monkeypatch: pytest.MonkeyPatch, trainer: Trainer, tmp_path: Path
) -> None:
    def train(command: Sequence[str], *others: Any) -> Any:
        if "--allow-other-template" not in command:
            raise FactoryError("another template")
        return trainer(command, *others)

    monkeypatch.setattr("factory.loops.steps.train", train)
    answers = count()
    with running_endpoint(lambda request: [f"Answer {next(answers)}." for _ in range(request.n)]) as endpoint:
        changes = delta_on(trainer, endpoint)
        loop = load_loop("delta", {**changes, "train.actor.allow_other_template": False})
        assert load_loop("delta", changes).loop_id == loop.loop_id
        with pytest.raises(FactoryError, match="another template"):
            run(tmp_path / "lake", loop)
        asked = endpoint.stats().received
        run(tmp_path / "lake", resumed_with(tmp_path / "lake", loop, {"train.actor.allow_other_template": True}))
        assert endpoint.stats().received == asked  # no answer is paid for twice
    assert len(trainer.commands) == 1
