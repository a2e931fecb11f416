"""The objectives that models are trained by. A new trainer is a file, `trainers/NAME.py`, and a line here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Objective:
    """What commands, cards and rows need to know of a trainer."""

    method: str
    """as a card says it: trained by ..."""
    format: str
    """of the training sets that it takes"""
    trains: str
    """for a list of objectives: what comes out"""
    reference: bool = False
    """whether it compares with a reference model"""
    columns: tuple[str, ...] = ()
    """that its sets have beside those of their format"""
    same_template: bool = True
    """whether the answers in its sets must be written with the chat template of the model that is trained"""
    task: str = "text-generation"
    """what the trained model does, in the hub's words"""


OBJECTIVES = {
    "dpo": Objective("direct preference optimization", "preference", "the actor", reference=True),
    "rft": Objective("rejection-sampling fine-tuning", "prompt_completion", "the refiner"),
    "sft": Objective("supervised fine-tuning", "prompt_completion", "given answers"),
    "sppo": Objective(
        "self-play preference optimization",
        "preference",
        "an actor by win rates",
        reference=True,
        columns=("chosen_win_rate", "rejected_win_rate"),
    ),
    # A reward model reads the text of any writer, and a policy that is trained online writes its answers itself.
    "reward": Objective(
        "reward modelling", "preference", "a reward model", same_template=False, task="text-classification"
    ),
    "online": Objective(
        "online reinforcement learning", "prompt", "a policy by rewards", reference=True, same_template=False
    ),
}

TRAINER = {objective.format: name for name, objective in reversed(OBJECTIVES.items())}
"""training set format -> the objective that it is trained by unless another is asked for: the first that takes it"""


NARROW_GAP = 0.05
"""a median win rate of the chosen answers that is less far above that of the rejected ones: the judge prefers hardly any answer"""


def objective_of(name: str) -> Objective:
    """That of a row; a name that is not known stands for itself."""
    return OBJECTIVES.get(name) or Objective(name, "", name)


def in_words() -> str:
    """All objectives: 'dpo (the actor), rft (the refiner) or ...'."""
    *first, last = (f"{name} ({objective.trains})" for name, objective in OBJECTIVES.items())
    return f"{', '.join(first)} or {last}"
