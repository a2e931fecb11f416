"""How a loop trains a role's model after each round: part of a recipe, and of a loop that changes it."""

from typing import Annotated, Any, Literal

import msgspec

from schemas.errors import nearest
from schemas.objectives import OBJECTIVES
from schemas.settings import Settings, about

Which = Literal["previous", "first"]
Rounds = Literal["this", "last_two", "all"]


class RoleTraining(Settings, frozen=True, kw_only=True):
    """How a role's model is trained after each round."""

    set: Annotated[str, about("the training set, by name or SQL file")]
    trainer: Annotated[
        str | None, about("the trainer; none: dpo for preferences, rft for completions, online for prompts")
    ] = None
    parameters: Annotated[dict[str, Any], about("the set's parameters, such as min_similarity")] = msgspec.field(
        default_factory=dict
    )
    start: Annotated[Which, about("the model that training starts from: the round's, or the loop's first")] = "previous"
    reference: Annotated[
        Which, about("the reference model of dpo, sppo and online: the round's, or the loop's first")
    ] = "previous"
    config: Annotated[
        str | tuple[str, ...] | None,
        about("the trainer's presets or YAML files, later ones win; none: settings for 7B-class models"),
    ] = None
    weights: Annotated[
        str | None, about("where the weights of a model behind a base URL are: a folder or hub id; none: its name")
    ] = None
    reward: Annotated[
        str | None,
        about("online alone: the role whose model gives the reward: a reward model trained before, or a judge"),
    ] = None

    allow_other_template: Annotated[
        bool, about("train even on answers written with a chat template other than the model's")
    ] = False

    def __post_init__(self) -> None:
        if self.trainer is not None and self.trainer not in OBJECTIVES:
            raise ValueError(f"trainer: there is none called {self.trainer!r}: {nearest(self.trainer, OBJECTIVES)}")

    @property
    def configs(self) -> tuple[str, ...]:
        return (self.config,) if isinstance(self.config, str) else self.config or ()
