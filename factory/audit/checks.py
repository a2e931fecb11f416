"""All checks, in the order in which they are shown, and their thresholds."""

import math
from collections.abc import Callable, Mapping

from factory.audit import (
    alignment,
    contrast,
    duplicates,
    equality,
    generator,
    language,
    noise,
    overlap,
    scores,
    secrets,
    sources,
    style,
    texts,
    truncation,
    turns,
)
from factory.audit.finding import Check, Finding, judged, not_applicable
from factory.audit.rows import Audited
from schemas.errors import FactoryError, nearest

_THEMES = (
    turns, equality, truncation, duplicates, alignment, scores, contrast, style, generator, texts, language, overlap, noise,
    sources, secrets,
)  # fmt: skip
CHECKS: tuple[Check, ...] = tuple(check for theme in _THEMES for check in theme.CHECKS)
NAMES = tuple(check.name for check in CHECKS)


def check_names(names: Mapping[str, float] | list[str], where: str) -> None:
    """Raises:
    FactoryError: a name that no check has, or a threshold that every figure would be on one side of.
    """
    for name in names:
        if name not in NAMES:
            raise FactoryError(f"{where}: there is no check {name!r}: {nearest(str(name), NAMES)}")
        if isinstance(names, Mapping) and not _is_finite(names[name]):
            raise FactoryError(f"{where}: the threshold of {name} is {str(names[name])[:20]}: give a finite number")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer, as JSON and YAML may hold it, that is larger than any float
        return False


def findings(
    given: Audited,
    thresholds: Mapping[str, float] | None = None,
    tell: Callable[[str], None] | None = None,
    only: set[str] | None = None,
) -> list[Finding]:
    """What each check finds.

    Args:
        thresholds: the user's, by check; the others keep theirs.
        tell: is told each check's name before it runs.
        only: names of the checks to run; None: all.
    """
    found = []
    for check in CHECKS:
        if only is not None and check.name not in only:
            continue
        if tell is not None:
            tell(check.name)
        reason = given.why_not(check.needs)
        if given.format == "prompt" and not check.of_prompts:
            reason = "the rows are prompts without answers"
        measured = not_applicable(reason) if reason is not None else check.run(given)
        found.append(judged(check, measured, (thresholds or {}).get(check.name)))
    return found


def default_thresholds() -> dict[str, float]:
    """Each check's own threshold."""
    return {check.name: check.threshold for check in CHECKS}


def stricter(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Both thresholds; of two for one check, the one that lets less pass."""
    most = {check.name: check.most for check in CHECKS}
    return {
        name: values[0]
        if len(values := [t[name] for t in (first, second) if name in t]) == 1
        else (min if most[name] else max)(values)
        for name in {**first, **second}
    }
