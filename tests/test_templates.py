"""What a refiner is asked."""

from factory.templates.rendering import refine_turns
from schemas.tables import Message

JUDGE = "Is {response} good for {prompt}?"


def test_a_refiner_is_asked_at_the_end_of_a_dialogue_in_which_the_critique_is_its_own() -> None:
    assert refine_turns(JUDGE, "Mend it.", "P", "{prompt}", "Too long.") == [
        Message("user", "Is {prompt} good for P?"),
        Message("assistant", "Too long."),
        Message("user", "Mend it."),
    ]


def test_a_refine_template_that_holds_the_critique_is_all_that_is_asked() -> None:
    assert refine_turns(JUDGE, "{response}. {critique} {prompt}", "P", "R", "{response}") == [
        Message("user", "R. {response} P")
    ]
