"""All that is settled before a model is loaded: what is trained from what, and whether it was begun or done before."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas.errors import FactoryError
from schemas.ids import sha256_text
from schemas.objectives import OBJECTIVES
from schemas.tables import Model, TrainingSet
from trainers.command import Asked, Diverged
from trainers.examples import Examples, Rows, end_warning, fit_examples
from trainers.models import Base, end_tokens, find_model, load_tokenizer, weights_sha256
from trainers.record import Known, diverged_before, known_columns, model_row, write_finished
from trainers.settings import NOT_IN_WEIGHTS, TrainerSettings, plain
from trainers.unfinished import Part, begin, finished


@dataclass(frozen=True, slots=True)
class Job:
    """All that is known before a model is loaded."""

    asked: Asked
    settings: TrainerSettings
    training_set: TrainingSet
    base: Base
    reference: Base | None
    """None: there is none, or it is the base"""
    tokenizer: Any
    examples: Examples
    held_out: Examples
    output: Path
    part: Part
    wanted: dict[str, Any]
    """what `unfinished.Wanted` is"""
    known: Known
    models: list[Model]
    """start and reference"""
    warnings: list[str]
    """what does not keep it from being trained, but will be regretted"""

    @property
    def set_name(self) -> str:
        return f"{self.training_set.name}@{self.training_set.version}"


def prepare(asked: Asked, objective: str, settings: TrainerSettings, rows: Rows) -> Job | None:
    """Refuses what cannot be trained, and finds what an earlier process has left of the same training.

    Returns:
        None: it was trained before; its rows are in the lake, and that was printed.
    Raises:
        FactoryError: an output that is taken, no model, no chat template or another than the answers', a reference
            with another vocabulary, examples too long, a process that is training there.
        Diverged: it has diverged before, with the same packages and hardware.
    """
    now = datetime.now(UTC)
    main_process = os.environ.get("RANK", "0") == "0"
    training_set = rows.training_set
    name = f"{training_set.name}@{training_set.version}"
    output = Path(asked.output or Path("models") / f"{name.replace('@', '-')}-{objective}-seed{asked.seed}")
    base = find_model(asked.model)
    tokenizer = load_tokenizer(base)
    template = sha256_text(tokenizer.get_chat_template())
    if OBJECTIVES[objective].same_template and not asked.other_template:
        check_template(template, training_set)
    sha256 = weights_sha256(base)
    models = [model_row(base, sha256, asked.called, template)]
    reference = _find_reference(asked, tokenizer)
    if reference is not None:
        its_template = sha256_text(load_tokenizer(reference).get_chat_template())
        models.append(model_row(reference, weights_sha256(reference), asked.reference_called, its_template))
    known = known_columns(training_set, objective, settings, asked, sha256, models)
    wanted = _wanted(known, name, settings)
    record = finished(output, wanted)
    if record is not None:
        if main_process:
            write_finished(asked.lake, output, record, name)
        return None
    reason = diverged_before(asked.lake, known)
    if reason is not None:
        raise Diverged(f"this training has diverged before ({reason}): change its settings, its --seed or its set")
    examples = fit_examples(rows.train, tokenizer, settings, f"{name}, to train on")
    held_out = fit_examples(rows.held_out, tokenizer, settings, f"{name}, held out")
    ends = end_tokens(base, tokenizer)
    warning = end_warning(examples.tokens, ends, ", ".join(tokenizer.convert_ids_to_tokens(sorted(ends))))
    part = begin(output, wanted, known["configuration"], now, main_process)
    return Job(
        asked,
        settings,
        training_set,
        base,
        reference,
        tokenizer,
        examples,
        held_out,
        output,
        part,
        wanted,
        known | {"configuration": part.configuration},
        models,
        [warning] if warning else [],
    )


def check_template(template: str, training_set: TrainingSet) -> None:
    """Answers written with one chat template are not what another one's model would have written.

    Raises:
        FactoryError: the set's templates are known, and `template` (a SHA-256) is not among them.
    """
    known = training_set.chat_template_hashes
    if known and template not in known:
        raise FactoryError(
            f"the model's chat template has SHA-256 {template[:12]}, but the answers of {training_set.name}@"
            f"{training_set.version} were written with {', '.join(each[:12] for each in known)}: give the model the "
            "same chat_template.jinja, or train on them all the same with --allow-other-template (in a loop: "
            "train.ROLE.allow_other_template=true)"
        )


def _find_reference(asked: Asked, tokenizer: Any) -> Base | None:
    if asked.reference is None:
        return None
    reference = find_model(asked.reference, "--reference")
    if load_tokenizer(reference).get_vocab() != tokenizer.get_vocab():
        raise FactoryError(
            f"--reference {asked.reference} has another vocabulary than --model {asked.model}, so their "
            "log-probabilities cannot be compared: give a reference with the same tokenizer"
        )
    return reference


def _wanted(known: Known, set_name: str, settings: TrainerSettings) -> dict[str, Any]:
    names = ("objective", "training_set_id", "start_model_id", "base_weights_sha256", "reference_model_id")
    return {
        "set": set_name,
        **{name: known[name] for name in (*names, "chat_template_hash", "seed")},
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        **{key: value for key, value in plain(settings).items() if key not in NOT_IN_WEIGHTS},
    }
