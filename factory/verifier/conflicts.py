"""Decides which constraints conflict, so that no prompt asks for the impossible.

`constraints.yaml` lists the pairs of kinds that conflict. Conflicts that depend on the arguments are here: required
text that another constraint bans, and limits too small for all that is required. Both err on the side of caution:
some combinations that a clever writer could follow count as impossible.
"""

from collections.abc import Sequence
from functools import cache
from itertools import combinations

from factory.verifier.checkers import follows, kwargs_of
from factory.verifier.constraints import read_constraint_table
from schemas.tables import Constraint

_LONGEST_SENTENCE_WORDS = 20  # following two rules should not take longer ones
_SHORTEST_ANSWER_WORDS = 15


def kinds_conflict(a: str, b: str) -> bool:
    """Whether two kinds exclude each other; a kind conflicts with itself."""
    return a == b or frozenset((a, b)) in _conflicts()


def why_impossible(constraints: Sequence[Constraint]) -> str | None:
    """A short reason why these constraints cannot be combined; None if they can."""
    for a, b in combinations(constraints, 2):
        if kinds_conflict(a.id, b.id):
            return f"{a.id} and {b.id} conflict"
    words = [word.lower() for constraint in constraints for word in set(_words_used_by(constraint))]
    if len(words) != len(set(words)):
        return "two constraints use the same word"
    required = " ".join(filter(None, map(_required_text, constraints)))
    for constraint in constraints:
        # If the required text alone breaks a ban, every answer does.
        if required and _is_ban(constraint) and not follows(constraint, required):
            return f"the text that the others require breaks {constraint.id}"
    return _why_too_narrow(constraints)


@cache
def _conflicts() -> frozenset[frozenset[str]]:
    table = read_constraint_table()
    pairs = set()
    for entry in table["conflicts"]:
        others = entry["with"] if "with" in entry else set(table["kinds"]) - set(entry["with_all_but"])
        pairs |= {frozenset((kind, other)) for kind in entry["kinds"] for other in others}
    return frozenset(pairs)


def _words_used_by(constraint: Constraint) -> list[str]:
    kwargs = kwargs_of(constraint)
    keyword = kwargs.get("keyword")
    return [
        *kwargs.get("keywords", []),
        *kwargs.get("forbidden_words", []),
        *([keyword] if keyword else []),
    ]


def _required_text(constraint: Constraint) -> str:
    """Text that every answer must contain."""
    kwargs = kwargs_of(constraint)
    if constraint.id == "keywords:frequency":
        return " ".join([kwargs["keyword"]] * kwargs["frequency"]) if kwargs["relation"] == "at least" else ""
    if constraint.id == "detectable_format:multiple_sections":
        return " ".join(f"{kwargs['section_spliter']} {i + 1}" for i in range(kwargs["num_sections"]))
    names = ("first_word", "postscript_marker", "end_phrase", "prompt_to_repeat")
    return " ".join([*kwargs.get("keywords", []), *(kwargs[name] for name in names if name in kwargs)])


def _is_ban(constraint: Constraint) -> bool:
    """Whether adding text can never fix a violation."""
    return constraint.id in ("punctuation:no_comma", "keywords:forbidden_words") or _bound(constraint) == "less than"


def _bound(constraint: Constraint) -> str | None:
    kwargs = kwargs_of(constraint)
    return next((value for name, value in kwargs.items() if name.endswith("relation")), None)


def _why_too_narrow(constraints: Sequence[Constraint]) -> str | None:
    """Compares the words and sentences that all constraints need with the limits of each."""
    words, sentences = _SHORTEST_ANSWER_WORDS, 1  # a sentence to lead in
    for constraint in constraints:
        needs = read_constraint_table()["kinds"][constraint.id].get("needs", {})
        if _bound(constraint) != "less than":
            units = kwargs_of(constraint)[needs["per"]] if "per" in needs else 1
            words += units * needs.get("words", 0)
            sentences += units * needs.get("sentences", 0)
    limits = {c.id: kwargs_of(c) for c in constraints}
    length = limits.get("length_constraints:number_words", {})
    count = limits.get("length_constraints:number_sentences", {})
    if length.get("relation") == "at least":
        words = max(words, length["num_words"])
    elif length and words >= length["num_words"]:
        return f"the answer needs {words} words, but the limit is less than {length['num_words']}"
    if count.get("relation") == "less than":
        sentences = max(sentences, -(-words // _LONGEST_SENTENCE_WORDS))
        if sentences >= count["num_sentences"]:
            limit = count["num_sentences"]
            return f"the answer needs {sentences} sentences, but the limit is less than {limit}"
    return None
