"""What an online training's policy answered and was paid, as rows: a run of purpose `training`, named by the training's id.

Rows of a step go into the lake with the checkpoint that keeps the step, or at the end. Steps that are done again after a
kill are those whose rows were not written, so that the lake has what the trained weights were paid for, and nothing else.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from schemas.errors import FactoryError
from schemas.ids import canonical_json, content_id, seed_of, sha256_text
from schemas.tables import Call, Judgement, Model, Prompt, Response, Run, RunPrompt
from stores.lake import Lake
from trainers.examples import Tokens
from trainers.log_probs import Figures, Scores
from trainers.preparing import Job
from trainers.rewards import Answer, Reward, reward_of

RECIPE = "online"
UNPAID_IN_A_ROW = 50
"""this many unpaid answers in a row end the training: the judge does not work"""


@dataclass
class Pay:
    """Pays completions, and keeps them until they are written."""

    run_id: str
    reward: Reward
    prompts: dict[str, Prompt]
    """by id"""
    ends: set[int]
    """tokens that end an answer"""
    generations: int
    """completions of a prompt in a step"""
    stage: str | None = None
    """what completions are for, as rows say; None: the step that the trainer is in"""
    rewards: list[float | None] = field(default_factory=list)
    """of all completions of the stage"""
    unpaid: int = 0
    """answers that could not be paid"""
    in_a_row: int = 0
    """those of them since the last step with a paid answer"""
    counted: dict[str, int] = field(default_factory=dict)
    """completions so far, by stage"""
    rows: list[Response | Judgement | Call] = field(default_factory=list)
    """not written yet"""

    def begin(self, stage: str | None) -> None:
        self.stage, self.rewards = stage, []

    def of_completions(
        self,
        completions: Sequence[Sequence[dict[str, str]]],
        completion_ids: Sequence[Sequence[int]],
        prompt_id: Sequence[str],
        trainer_state: Any,
        **others: Any,
    ) -> list[float | None]:
        """TRL's reward function: the reward of each completion of this process; None: not known, and its advantage is 0.

        Raises:
            FactoryError: the judge cannot be asked, or read.
        """
        from accelerate import PartialState
        from accelerate.utils import broadcast_object_list, gather_object

        state = PartialState()
        stage = self.stage or f"step {trainer_state.global_step + 1}"
        first = self.counted.get(stage, 0) + state.process_index * len(completions)
        self.counted[stage] = self.counted.get(stage, 0) + state.num_processes * len(completions)
        answers = [
            self._answer(stage, first + place, id, completion[0]["content"], ids)
            for place, (id, completion, ids) in enumerate(zip(prompt_id, completions, completion_ids, strict=True))
        ]
        everybody = gather_object(answers)
        if self.reward.alone:
            [found] = broadcast_object_list([self.reward.judge(everybody) if state.is_main_process else None])
            judged, calls = found
        else:
            own, own_calls = self.reward.judge(answers)
            judged, calls = gather_object(own), gather_object(own_calls)
        if state.is_main_process:
            self._keep(everybody, judged, calls)
        rewards = list(map(reward_of, judged))
        self._check(stage, rewards)
        if self.stage is not None:
            self.rewards += rewards
        start = state.process_index * len(answers)
        return rewards[start : start + len(answers)]

    def _check(self, stage: str, rewards: Sequence[float | None]) -> None:
        paid = any(reward is not None for reward in rewards)
        self.unpaid += rewards.count(None)
        self.in_a_row = 0 if paid else self.in_a_row + len(rewards)
        # A trained policy is not thrown away because nobody could say how good it has become, and none goes untrained
        # because nobody could say how good it was.
        if not paid and stage != "after" and (stage == "step 1" or self.in_a_row >= UNPAID_IN_A_ROW):
            raise FactoryError(
                f"the last {self.in_a_row} answers could not be paid ({stage}): the judge could not be asked, or its scores could "
                "not be read. Check the judge, then start the training again; what the judge has answered is in the journal, and "
                "is not paid for twice"
            )

    def _keep(self, answers: Sequence[Answer], judged: Sequence[Sequence[Judgement]], calls: Sequence[Call]) -> None:
        """Among several processes a held-out prompt may be answered twice, to fill up a batch: the first time counts."""
        known: set[str] = set()
        for answer, judgements in zip(answers, judged, strict=True):
            id = answer.response.response_id
            if id not in known:
                self.rows += [answer.response, *judgements]
            known.add(id)
        self.rows += calls

    def _answer(self, stage: str, place: int, prompt_id: str, text: str, ids: Sequence[int]) -> Answer:
        ended = bool(ids) and ids[-1] in self.ends
        index = place % self.generations if self.stage is None else 0
        text = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")  # what the lake cannot store
        response = Response(
            response_id=content_id("response", self.run_id, "sampled", stage, prompt_id, index),
            run_id=self.run_id,
            prompt_id=prompt_id,
            kind="sampled",
            text=text,
            stage=stage,
            model_id=None,
            choice_index=index,
            finish_reason="stop" if ended else "length",
            tokens=len(ids),
            logprobs=None,
            flaw="empty" if not text.strip() else None if ended else "unended",
            call_id=None,
        )
        return Answer(self.prompts[prompt_id], response)


class Steady(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Lets order and texts of a step depend on the seed and the step alone, not on what was sampled before.

    TRL draws all epochs' orders from one generator, which a training that goes on after a kill would begin anew.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_epoch_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **others: Any) -> None:
        epoch = state.global_step * int(args.num_train_epochs) // state.max_steps
        sampler = train_dataloader.batch_sampler
        while hasattr(sampler, "batch_sampler"):  # of several processes
            sampler = sampler.batch_sampler
        sampler.sampler.generator.manual_seed(seed_of("order", self.seed, epoch))

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self.sow(f"step {state.global_step + 1}")

    def sow(self, stage: str) -> None:
        """Seeds what is sampled next; each process differently."""
        from accelerate.utils import set_seed

        set_seed(seed_of("completions", self.seed, stage), device_specific=True)


class Keeping(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Writes the rows that are waiting, before the checkpoint of their last step is in its place."""

    def __init__(self, job: Job, pay: Pay) -> None:
        self.job, self.pay = job, pay

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        if state.is_world_process_zero:
            self.write("running", None)

    def write(self, status: str, reason: str | None) -> None:
        """Adds the rows that are waiting, with the run's own in one commit."""
        pay, job = self.pay, self.job
        if job.part.lock is None:
            return  # another process of this training writes
        set_name = job.set_name
        prompts = [
            RunPrompt(
                run_prompt_id=content_id("run_prompt", pay.run_id, id),
                run_id=pay.run_id,
                prompt_id=id,
                position=place,
                evolved=False,
            )
            for place, id in enumerate(pay.prompts)
        ]
        models: list[Model] = list(pay.reward.models)
        with Lake.open(job.asked.lake) as lake:
            lake.append(
                [*self._runs(status, reason), *models, *prompts, *pay.rows],
                message=f"{RECIPE} training on {set_name}",
                details={"run": pay.run_id},
            )
        pay.rows.clear()

    def _runs(self, status: str, reason: str | None) -> list[Run]:
        """The run's row when it began, and that of its end."""
        job, pay = self.job, self.pay
        judge = json.loads(job.known["configuration"])["reward"]["recipe"] or {}
        recipe = canonical_json(
            {
                "name": RECIPE,
                "description": "what the policy of an online training answered and was paid for",
                "training_set": job.set_name,
                "trainer": job.known["configuration"],
                "models": judge.get("models", {}),  # with their prices, where views look for them
            }
        )

        def row(status: str, reason: str | None, ended_at: datetime | None) -> Run:
            return Run(
                run_event_id=content_id("run_event", pay.run_id, 0, status),
                run_id=pay.run_id,
                attempt=0,
                status=status,
                reason=reason,
                recipe_name=RECIPE,
                purpose="training",
                recipe=recipe,
                recipe_hash=sha256_text(recipe),
                templates=pay.reward.templates,
                pairings={},
                parameters=canonical_json({"training_set": job.set_name}),
                seed=job.asked.seed,
                iteration=0,
                parent_run_id=None,
                code_version=version("preference-factory"),
                package_versions=job.known["package_versions"],
                started_at=job.part.started_at,
                ended_at=ended_at,
            )

        begun = row("running", None, None)
        return [begun] if status == "running" else [begun, row(status, reason, datetime.now(UTC))]


class HeldOut:
    """Samples and pays an answer to each held-out prompt: first of the start, then of the trained policy."""

    def __init__(self, job: Job, keeping: Keeping, steady: Steady) -> None:
        self.job, self.keeping, self.steady = job, keeping, steady
        self.stages = iter(("before", "after"))

    def __call__(self, trainer: Any, examples: Sequence[Tokens]) -> Scores:
        """The reward of each answer; after training, all rows are written too."""
        stage, pay = next(self.stages), self.keeping.pay
        trainer.remove_callback(PrinterCallback)  # it would print every figure
        pay.begin(stage)
        self.steady.sow(stage)
        if examples:
            trainer.evaluate(Dataset.from_list(self.job.held_out.rows))
        rewards = [[paid] for paid in pay.rewards if paid is not None]
        pay.begin(None)
        if stage == "after":
            self.keeping.write("finished", None)
        return rewards


def mean_reward(examples: Sequence[Tokens], now: Scores, base: Scores) -> Figures:
    """The figure of held-out prompts."""
    return {"reward": sum(paid for [paid] in now) / len(now)} if now else {}
