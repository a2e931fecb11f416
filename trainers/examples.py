"""A training set's rows as messages and as tokens; the ones that are too long are refused or counted out.

TRL cuts what is longer than its limit, and drops what has no answer left, without a word. So the trainers give it
no limit, and the lengths are checked here, before a model is loaded.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import takewhile
from typing import Any

from schemas.errors import FactoryError
from schemas.objectives import TRAINER
from schemas.tables import TrainingSet
from stores.lake import Lake
from stores.training_sets import read_training_set
from stores.training_sets.fitting import COLUMNS
from trainers.command import Asked
from trainers.settings import TrainerSettings

NUMBERS = {
    "probability": (0.0, 1.0),
    "chosen_win_rate": (0.0, 1.0),
    "rejected_win_rate": (0.0, 1.0),
    "margin": (0.0, math.inf),
}
"""columns of numbers that a trainer may use beside the texts -> the least and the greatest value"""

_CONVERSATIONS = {name for names in COLUMNS.values() for name in names}

TAIL = 4
"""Among so many tokens at the end of an answer EOS must be: templates put a newline behind it."""

Row = dict[str, Any]
"""column of the format -> messages, each with role and content; column of NUMBERS -> number"""


@dataclass(frozen=True, slots=True)
class Rows:
    """A training set, read and verified."""

    training_set: TrainingSet
    train: list[Row]
    held_out: list[Row]


@dataclass(frozen=True, slots=True)
class Tokens:
    """An example as the trainer will see it."""

    prompt: list[int]
    answers: list[list[int]]  # chosen and rejected, or the completion alone; end of turn included


@dataclass(frozen=True, slots=True)
class Examples:
    rows: list[Row]
    tokens: list[Tokens]
    dropped: int  # rows left out because they are too long


def read_rows(asked: Asked, expected: str, numbers: Sequence[str] = (), others: Sequence[str] = ()) -> Rows:
    """The training set's rows, with the columns of the format `expected` alone, and those of the others that it has.

    Args:
        numbers: columns of NUMBERS.
        others: columns that are given as they are.

    Raises:
        FactoryError: no such set, rows that do not match its fingerprint, another format than `expected`, no row, or a
            column of `numbers` with something else in it.
    """
    with Lake.open(asked.lake) as lake:
        read = read_training_set(lake, asked.training_set)
    if read.row.format != expected:
        raise FactoryError(
            f"training set {asked.training_set} has format {read.row.format}, and this trainer needs {expected}: "
            f"use `factory train {TRAINER.get(read.row.format, '?')}`, or give another set"
        )
    if not read.train.num_rows:
        raise FactoryError(
            f"training set {asked.training_set} has no row to train on: build it from a run that has made pairs"
        )
    numbers, others = ([name for name in names if name in read.train.column_names] for names in (numbers, others))
    columns = [*COLUMNS[expected], *numbers, *others]
    train, held_out = (table.select(columns).to_pylist() for table in (read.train, read.held_out))
    for name in numbers:
        for row in (*train, *held_out):
            row[name] = checked_number(row[name], name, asked.training_set)
    return Rows(read.row, train, held_out)


def checked_number(value: Any, name: str, of_set: str) -> float:
    """
    Raises:
        FactoryError: it is no number, or not one that the column `name` may have.
    """
    least, most = NUMBERS[name]
    if isinstance(value, int | float | Decimal) and math.isfinite(value) and least <= value <= most:
        return float(value)
    bounds = f"in [{least:g}, {most:g}]" if most < math.inf else f"of at least {least:g}"
    raise FactoryError(
        f"training set {of_set}: its column {name} must be a number {bounds} in every row, got "
        f"{'NULL' if value is None else repr(value)[:40]}: mend it in the set's query, or leave such rows out"
    )


def fit_examples(rows: Sequence[Row], tokenizer: Any, settings: TrainerSettings, which: str) -> Examples:
    """Rows with their tokens, all of at most `settings.max_tokens`.

    Args:
        which: what the rows are called in an error: "spar_dpo@1, to train on".
    Raises:
        FactoryError: rows are longer and `drop_too_long` is not set, or no row is left.
    """
    tokens = [tokenize(row, tokenizer) for row in rows]
    lengths = [len(each.prompt) + max(map(len, each.answers), default=settings.generated_tokens) for each in tokens]
    fitting = [index for index, length in enumerate(lengths) if length <= settings.max_tokens]
    dropped = len(rows) - len(fitting)
    if dropped and not settings.drop_too_long:
        raise FactoryError(
            f"{dropped} of {len(rows)} examples ({which}) are longer than max_tokens {settings.max_tokens}, the "
            f"longest has {max(lengths)} tokens: set drop_too_long: true to leave them out, or raise max_tokens"
        )
    if dropped and not fitting:
        raise FactoryError(
            f"all {dropped} examples ({which}) are longer than max_tokens {settings.max_tokens}: raise max_tokens"
        )
    return Examples([rows[i] for i in fitting], [tokens[i] for i in fitting], dropped)


def tokenize(row: Row, tokenizer: Any) -> Tokens:
    """The prompt's tokens and each answer's, split where TRL 1.16 splits them.

    That is at the first token in which the prompt alone and the prompt with an answer differ; the prompt ends with
    the template's opening of an assistant's turn.
    """
    columns = [name for name in row if name in _CONVERSATIONS]

    def render(messages: list[dict[str, str]], opened: bool) -> list[int]:
        rendered = tokenizer.apply_chat_template(
            messages, tokenize=True, return_dict=True, add_generation_prompt=opened
        )
        return list(rendered["input_ids"])

    prompt = render(row[columns[0]], opened=True)
    whole = [render(row[columns[0]] + row[column], opened=False) for column in columns[1:]]
    length = min((_shared_length(prompt, ids) for ids in whole), default=len(prompt))
    return Tokens(prompt[:length], [ids[length:] for ids in whole])


def end_warning(examples: Sequence[Tokens], ends: Collection[int], names: str) -> str | None:
    """What is wrong if answers do not end with one of the tokens `ends`; None: all do.

    A template may put whitespace behind the token. A model trained on answers that go on without one, into the
    template's newline or the padding, unlearns to stop.

    Args:
        names: of those tokens, for the sentence.
    """
    answers = [answer for each in examples for answer in each.answers]
    unended = sum(not set(answer[-TAIL:]) & set(ends) for answer in answers)
    if not unended:
        return None
    if unended == len(answers):
        fault = f"the chat template ends no turn with EOS ({names or 'the tokenizer has none'})"
    else:
        fault = f"{unended:,} of {len(answers):,} answers do not end with EOS ({names})"
    return (
        f"{fault}, so the model unlearns to stop: put it at the end of the assistant's turn in the model's "
        "chat_template.jinja, or take a model whose template has it"
    )


def _shared_length(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
