"""What a loop refuses before its first round: trainers' settings, sets and payers that its trainers would refuse later."""

import json
import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
import pytest
from rich.console import Console

from factory.loops.checking import check_before
from factory.loops.reading import Loop, load_loop
from factory.loops.steps import RoundEmpty
from factory.monitor.loop_plan import print_plan
from factory.prompts.settings import PromptSettings
from factory.prompts.sources import read_prompts
from schemas.errors import FactoryError
from schemas.ids import content_id, sha256_text
from schemas.tables import Pair, Review, Run
from stores.lake import Lake
from stores.sql import sql
from stores.training_sets import training_set_sql
from stores.training_sets.splits import is_held_out
from tests.loops import Trainer, run, trainer
from tests.methods import by_length
from tests.rows import minutes, row
from tests.scripted_endpoint import running_endpoint

__all__ = ["trainer"]

pytestmark = pytest.mark.usefixtures("trainer")

SERVED = {"endpoint": "http://127.0.0.1:9/v1", "name": "owner/served"}
"""an endpoint that nobody may ask"""


def loop_of(recipe: str, changes: Mapping[str, Any]) -> Loop:
    roles = ("actor", "judge", "reward") if recipe == "rlaif" else ("actor", "judge")
    return load_loop(recipe, {**{f"models.{role}": dict(SERVED) for role in roles}, **changes})


def told(loop: Loop) -> str:
    with pytest.raises(FactoryError) as refused:
        check_before(loop)
    return str(refused.value)


@pytest.mark.parametrize(
    ("recipe", "written", "sentence"),
    [
        ("sppo", "sppo: {epoch: 2}", "train.actor.config: .*mine.yaml: sppo: unknown key 'epoch': did you mean 'epochs'"),
        ("sppo", "sppo: {beta: -1}", "mine.yaml: sppo: beta must be above 0, got -1.0"),
        ("sppo", "sppo: {batch_size: 6, micro_batch_size: 4}", "batch_size 6 is not a multiple of micro_batch_size 4: change"),
        ("sppo", "spo: {beta: 1}", "mine.yaml: unknown key 'spo': did you mean 'sppo'"),
        ("sppo", "sppo: [", "mine.yaml cannot be read as YAML"),
        ("sppo", "just words", "must have a section for each objective"),
        ("rlaif", "online: {num_generations: 5}", "batch_size 64 counts completions, and must be a multiple of num_generations 5"),
        ("rlaif", "reward: {epochs: x}", "train.reward.config: .*reward: epochs must be a whole number, got 'x'"),
    ],
)  # fmt: skip
def test_settings_that_the_trainer_refuses_are_refused_first(
    recipe: str, written: str, sentence: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(written, "utf-8")
    role = "reward" if written.startswith("reward") else "actor"
    assert re.search(sentence, told(loop_of(recipe, {f"train.{role}.config": str(file)})))


def test_the_plan_says_it_and_a_loop_asks_nobody(trainer: Trainer, tmp_path: Path) -> None:
    with running_endpoint(by_length) as endpoint:
        (tmp_path / "mine.yaml").write_text("sppo: {epoch: 2}", "utf-8")
        models = {f"models.{role}.endpoint": endpoint.url for role in ("actor", "judge")}
        changes = {**models, "models.actor.name": "mock", "train.actor.config": str(tmp_path / "mine.yaml")}
        loop = load_loop("sppo", changes)
        with pytest.raises(FactoryError, match="unknown key 'epoch'") as refused:
            run(tmp_path / "lake", loop)
        asked = endpoint.stats().received
    text = StringIO()
    print_plan(None, loop, Console(file=text, width=2000))
    assert asked == 0 and str(refused.value) in text.getvalue()
    with Lake.open(tmp_path / "lake") as lake:
        assert lake.read(Run) == []


def test_the_settings_of_a_start_are_read_too_and_good_ones_are_not_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("sft: {epochs: 0}\nsppo: {epochs: 3}\n", "utf-8")
    loop = loop_of("sppo", {"train.actor.config": str(file)})
    check_before(loop)
    started = loop_of("sppo", {"start_with": {"actor": {"set": "reference_sft@1", "config": str(file)}}})
    assert re.search("start_with.actor.config: .*sft: epochs must be above 0", told(started))


def test_a_reward_model_that_a_file_names_is_looked_at_where_it_pays(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"online: {{reward: {{kind: reward_model, model: {tmp_path}/none}}}}\n", "utf-8")
    unpaid = {"train.actor.config": str(file), "train.actor.reward": None}
    assert "reward.model: none holds no model" in told(loop_of("rlaif_direct", unpaid))
    check_before(loop_of("rlaif_direct", {"train.actor.config": str(file)}))  # the judge pays


@pytest.mark.parametrize(
    ("recipe", "changes", "sentence"),
    [
        ("rlaif_direct", {"train.actor.reward": None}, "train.actor.reward is missing, and actor is trained online: name"),
        ("iterative_dpo", {"train.actor.reward": "judge"}, "train.actor.reward is of online training, and actor is trained by dpo"),
        ("sppo", {"train.actor.set": "best_over_worst"},
         "best_over_worst has no column chosen_win_rate and no column rejected_win_rate, from which sppo learns"),
        ("sppo", {"train.actor.trainer": "rft"}, "sppo has format preference, and trainer rft needs prompt_completion: set"),
        ("rlaif_direct", {"prompts.each_round": 15}, "of 15 prompts to train on, and a step of online training takes 16"),
    ],
)  # fmt: skip
def test_a_training_that_could_not_begin_is_refused_first(recipe: str, changes: dict[str, Any], sentence: str) -> None:
    assert sentence in told(loop_of(recipe, changes))


def test_a_payer_of_the_user_s_own_has_to_be_a_judge(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("online: {reward: {kind: judge, recipe: {stage: {stage: judge, kind: scoer}}}}\n", "utf-8")
    changes = {"train.actor.config": str(file), "train.actor.reward": None}
    assert "train.actor.config: reward.recipe" in (said := told(loop_of("rlaif_direct", changes))) and "scoer" in said


def test_a_column_that_only_a_comment_or_a_text_names_is_not_there(tmp_path: Path) -> None:
    query = training_set_sql("sppo")
    for number, (old, kept) in enumerate(
        [("chosen_win_rate", True), ('"chosen_win_rate"--the rate\n', True), ("é, 'chosen_win_rate' AS text", False)]
    ):
        file = tmp_path / f"mine{number}.sql"
        file.write_text(query.replace("chosen_value AS chosen_win_rate", f"chosen_value AS {old}"), "utf-8")
        loop = loop_of("sppo", {"train.actor.set": str(file)})
        if kept:
            check_before(loop)
        else:
            assert "has no column chosen_win_rate, from which sppo learns" in told(loop)


def test_lora_with_another_reference_than_the_start_is_refused_first(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("online: {lora: {}}\n", "utf-8")
    loop = loop_of("rlaif_direct", {"train.actor.config": str(file), "train.actor.start": "first"})
    assert "with lora the reference of online training is the start, and start is first, reference previous" in told(
        loop
    )


def written_prompts(folder: Path, count: int, **more: Any) -> str:
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"Say {i}.", **more}) + "\n" for i in range(count)), "utf-8")
    return str(file)


def test_prompts_are_held_out_as_the_query_does_it() -> None:
    connection = duckdb.connect()
    connection.execute(sql("views/render"))
    ids = [f"prompt {i}" for i in range(200)]
    for share in (0.0, 0.1, 0.5, 1.0):
        rows = connection.execute("SELECT split_of(unnest($ids), $share)", {"ids": ids, "share": share}).fetchall()
        assert [is_held_out(one, share) for one in ids] == [split == "held_out" for (split,) in rows]


def test_each_round_needs_the_prompts_of_a_step(tmp_path: Path) -> None:
    source = written_prompts(tmp_path, 4)
    found = list(read_prompts(PromptSettings(source=source), 0))
    shares = {one.messages[0].content: int(sha256_text(one.prompt_id)[:8], 16) / 2**32 for one in found}
    texts = sorted(shares, key=lambda text: -shares[text])  # the first round's are held out last
    Path(source).write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts), "utf-8")
    held_out = (shares[texts[1]] + shares[texts[2]]) / 2
    changes = {"prompts.source": source, "prompts.each_round": 2, "rounds": 2, "train.actor.config": "small-cpu"}
    loop = loop_of("rlaif_direct", {**changes, "train.actor.parameters": {"held_out": held_out}})
    # batch_size 8 completions of num_generations 4 are 2 prompts
    assert re.search(
        r"train.actor: round 2 has 0 of 2 prompts to train on, and a step of online training takes 2 \(batch_size 8 / "
        r"num_generations 4\): .* lower train.actor.parameters.held_out \(0\.\d+\), or lower batch_size",
        told(loop),
    )
    check_before(loop_of("rlaif_direct", {**changes, "train.actor.parameters": {"held_out": held_out}, "data": "all"}))
    check_before(loop_of("rlaif_direct", {**changes, "train.actor.parameters": {"held_out": 0}}))
    one = loop_of("rlaif_direct", {**changes, "prompts.each_round": None, "prompts.limit": 1})
    assert "of 1 prompts to train on" in told(one)


def test_the_verifier_pays_for_no_prompt_without_constraints(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("online: {reward: {kind: verifier}, batch_size: 4}\n", "utf-8")
    changes = {"train.actor.config": str(file), "train.actor.reward": None}
    check_before(loop_of("rlaif_direct", changes))  # the bundled ones have some
    plain = {"prompts.source": written_prompts(tmp_path, 20), **changes}
    assert "train.actor: 20 of 20 prompts of" in told(loop_of("rlaif_direct", plain))


def test_a_round_that_waits_for_people_says_so_and_goes_on_after_them(trainer: Trainer, tmp_path: Path) -> None:
    with running_endpoint(by_length) as endpoint:
        trainer.serving = endpoint
        models = {f"models.{role}.{key}": value for role in ("actor", "reward")
                  for key, value in (("endpoint", endpoint.url), ("name", "mock"))}  # fmt: skip
        sets = {f"train.{role}.parameters": {"held_out": 0} for role in ("reward", "actor")}
        loop = load_loop(
            "rlhf", {**models, **sets, "prompts.each_round": 3, "rounds": 1, "train.actor.config": "small-cpu"}
        )
        with pytest.raises(RoundEmpty) as empty:
            run(tmp_path / "lake", loop)
        assert str(empty.value) == (
            "round 1 gives rlhf no rows to train reward on, for people have not said, or do not agree, which answers are "
            "better: compare them in `factory view` (Review), then repeat the command"
        )
        with Lake.open(tmp_path / "lake", create=True) as lake:
            lake.append([review_of(pair) for pair in lake.read(Pair)], message="people")
        run(tmp_path / "lake", loop)
    assert ["trainers.reward" in command for command in trainer.commands] == [True, False]


def review_of(pair: Pair) -> Review:
    return row(Review, content_id("review", pair.pair_id), pair_id=pair.pair_id, reviewer="ann", verdict="accept",
               preferred="chosen", reviewed_at=minutes(0))  # fmt: skip


def test_where_people_can_do_nothing_they_are_not_asked(trainer: Trainer, tmp_path: Path) -> None:
    with running_endpoint(lambda request: ["one and the same answer"] * request.n) as endpoint:
        trainer.serving = endpoint
        models = {f"models.{role}.{key}": value for role in ("actor", "reward")
                  for key, value in (("endpoint", endpoint.url), ("name", "mock"))}  # fmt: skip
        loop = load_loop("rlhf", {**models, "prompts.each_round": 20, "rounds": 1})
        with pytest.raises(RoundEmpty, match=r"no rows to train reward on: take more prompts \(prompts.each_round\)"):
            run(tmp_path / "lake", loop)
