"""The tables of what is made from a run's rows: training sets, trainings, evaluations and loops; see `tables.py`."""

from dataclasses import dataclass
from datetime import datetime

from schemas.columns import column
from schemas.objectives import OBJECTIVES


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """A training set: a query pinned to a snapshot."""

    training_set_id: str = column("hash of name, version and fingerprint")
    name: str = column("the SQL file's name")
    version: int = column("1, 2, ...; the same rows keep their version")
    snapshot: int = column("the lake's snapshot the query read")
    sql: str = column("the query's text")
    views: str | None = column("the views and macros it was built with; NULL: those stored in the lake at the snapshot")
    parameters: str = column(
        "JSON: the query's parameters; excluded_prompts, or of NAME.removed only_prompts: prompts whose rows are left out, or "
        "alone kept, after the query"
    )
    format: str = column("preference, prompt_completion or prompt, all conversational")
    chat_template_hashes: list[str] = column("those of the models that wrote its answers, as far as known")
    audit: str | None = column(
        "JSON: each check of the audit that was asked for, with its figure, its threshold and whether it was allowed to fail"
    )
    train_rows: int = column("rows in the training split", "rows")
    held_out_rows: int = column("rows in the held-out split", "rows")
    fingerprint: str = column("SHA-256 over all rows, in order")
    created_at: datetime = column("when it was built")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """One training of a model on a training set."""

    training_run_id: str = column("hash of training set, base model, configuration, seed and start")
    training_set_id: str = column("the training set")
    objective: str = column(f"the trainer: {', '.join(OBJECTIVES)}")
    base_model: str = column(
        "the model that was trained: embedded:NAME, a hub id, or the last name of its folder or file"
    )
    base_weights_sha256: str = column("SHA-256 of its weights")
    start_model_id: str | None = column("the model it started from; NULL: a training before loops")
    reference_model_id: str | None = column("the reference model; NULL: the objective has none")
    chat_template_hash: str | None = column("SHA-256 of the chat template it trained with")
    status: str = column("finished, or diverged: its guards ended it and its model must not be used")
    reason: str | None = column("why it diverged, in one sentence")
    configuration: str = column("JSON: the trainer's configuration")
    package_versions: dict[str, str] = column("versions of the packages that affect the weights")
    seed: int = column("the trainer's seed")
    hardware: str = column("CPU or accelerator, and how many")
    loss_curve: list[float] = column("training loss, one per logged step")
    metrics: str = column("JSON: held-out margin, accuracy, log-probability, before and after")
    weights_sha256: str | None = column("SHA-256 of the trained weights; NULL: it diverged")
    output: str | None = column("the last name of the trained model's folder; NULL: it diverged")
    started_at: datetime = column("start")
    ended_at: datetime = column("end")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Whether a response follows one of its prompt's constraints, by its checker."""

    check_id: str = column("hash of run, response and position")
    run_id: str = column("the run that checked")
    prompt_id: str = column("the prompt that the response answers")
    response_id: str = column("the response that was checked")
    position: int = column("position of the constraint in the prompt, from 0")
    constraint_id: str = column("as IFEval names it: length_constraints:number_words")
    followed: bool = column("whether the response follows it as it stands (IFEval's strict)")
    followed_loosely: bool = column(
        "whether any of IFEval's eight variants does: without first line, last line, asterisks"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One figure of a model on a benchmark."""

    evaluation_id: str = column("hash of run, models, benchmark and metric")
    run_id: str | None = column("the run of purpose evaluation whose rows it was computed from")
    model_id: str = column("the model measured")
    role: str | None = column("the model's role: actor, refiner or judge")
    other_model_id: str | None = column("the model it is compared with, on the same prompts; NULL: none")
    benchmark: str = column("ifeval, ifbench, judge, judge again, refine, or the name of a file")
    metric: str = column("what was measured")
    value: float | None = column("the measured value; NULL: there was nothing to measure")
    low: float | None = column("lower end of its 95% interval")
    high: float | None = column("upper end of its 95% interval")
    p_value: float | None = column("of the test that two models are equal; NULL: one model")
    examples: int = column("number of examples", "examples")
    prompts_hash: str = column("SHA-256 of the benchmark's prompts: only equal ones compare")
    checkers_hash: str | None = column("SHA-256 of the checkers' code; NULL: no checker")
    judge_model_id: str | None = column("the model that judged; NULL: checkers did")
    settings: str = column("JSON: sampling settings and how the interval was made")
    seed: int | None = column("sampling seed")
    recorded_at: datetime = column("when it was recorded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One row each time a loop starts, stops or ends; the newest is its state (view `current_loops`)."""

    loop_event_id: str = column("hash of loop, attempt and status")
    loop_id: str = column("the recipe's name and a hash of the loop's settings")
    attempt: int = column("how often the loop was started before: 0 at first, 1 after the first resume")
    status: str = column("running, finished, stopped (by the user, a budget or a guard) or failed")
    reason: str | None = column("why it stopped or failed, in one sentence")
    settings: str = column("JSON: the loop's settings")
    forked_from: str | None = column("the loop whose earlier rounds it shares")
    forked_round: int | None = column("its own first round; earlier ones are shared")
    started_at: datetime = column("when this attempt started")
    ended_at: datetime | None = column("when this attempt ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopStep:
    """One finished step of a loop's round, and the row it made; a step without a row is still to be done."""

    step_id: str = column("hash of loop, round, step and role")
    loop_id: str = column("the loop")
    round: int = column("the round, from 1; 0 measures the models that the loop starts from")
    step: str = column("run, build, train, evaluate or keep")
    role: str | None = column("the model's role; NULL: the step is about the whole round")
    run_id: str | None = column("run, evaluate: the run; train: the run with what an online training answered and paid")
    training_set_id: str | None = column("build: the training set")
    training_run_id: str | None = column("train: the training run")
    model_id: str | None = column(
        "train: the model made; keep: the model that the next round uses; evaluate: the one measured"
    )
    shared_from: str | None = column("the loop that did it, of a fork; NULL: this one")
    note: str | None = column("what a reader should know: why a model was not kept, for example")
    seconds: float = column("how long it took", "seconds")
    recorded_at: datetime = column("when it ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A person's judgement of a pair; a reviewer's newest one of a pair counts (view `current_reviews`)."""

    review_id: str = column("hash of pair, reviewer and the number of that reviewer's earlier reviews of it")
    pair_id: str = column("the pair")
    run_id: str = column("the pair's run")
    prompt_id: str = column("the pair's prompt")
    reviewer: str = column("the name the reviewer gave")
    verdict: str = column(
        "accept, reject (neither is better, or the rejected one is) or edit (the chosen one was rewritten)"
    )
    preferred: str | None = column(
        "the better side as the reviewer saw it: chosen, rejected or neither; NULL: not asked"
    )
    blind: bool = column("whether the page hid which side is chosen until the reviewer had answered")
    first_side: str | None = column("the side shown first (left), chosen or rejected, if blind")
    reason: str | None = column("the reviewer's own words")
    edited_response_id: str | None = column("edit: the rewritten answer, a response of kind `edited`")
    edited_pair_id: str | None = column("edit: the pair of the rewritten answer, which takes this one's place")
    seconds: float | None = column("from showing the pair to the answer", "seconds")
    reviewed_at: datetime = column("when")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """One repetition of a training or of a run, and whether it came out the same."""

    rerun_id: str = column("hash of what was repeated and when")
    training_run_id: str | None = column("the training that was repeated")
    run_id: str | None = column("the run that was repeated")
    outcome: str = column("identical, different (what was made differs) or failed (the data could not be read or made)")
    data_identical: bool | None = column("whether the rows read or made are the same; NULL: not compared")
    first_difference: str | None = column("the first row that differs: table or split, and id")
    loss_difference: float | None = column("largest difference of two losses at the same step; 0: identical")
    weights_identical: bool | None = column("whether the SHA-256 of the weights is the same; NULL: no weights")
    weights_difference: float | None = column("largest absolute difference of two weights; 0: identical")
    weights_sha256: str | None = column("SHA-256 of the repetition's weights")
    environment: str = column("JSON: what differs in packages, threads and hardware, each with both values")
    reason: str | None = column("why it differs or failed, as far as known, in one sentence")
    started_at: datetime = column("start")
    ended_at: datetime = column("end")
