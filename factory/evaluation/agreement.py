"""How well verdicts agree with those taken as the truth: agreement, F1, Cohen's kappa. Pure."""

from collections.abc import Mapping, Sequence

from factory.evaluation.figures import Figure
from factory.evaluation.intervals import bootstrapped, share

Verdicts = tuple[bool, bool]
"""The truth and what the judge says about one answer: whether it passes."""


def agreement_figures(verdicts: Sequence[tuple[bool | None, bool | None]]) -> dict[str, Figure]:
    """Figures of a judge's verdicts; an undecided one (None) is counted, and left out of the others.

    Args:
        verdicts: the truth and the judge's verdict on each answer.
    """
    known = [(truth, said) for truth, said in verdicts if truth is not None]
    decided = [(truth, said) for truth, said in known if said is not None]
    return {
        "agreement": share(sum(truth == said for truth, said in decided), len(decided)),
        "f1": bootstrapped(decided, f1_passing),
        "f1_failing": bootstrapped(decided, f1_failing),
        "kappa": bootstrapped(decided, kappa),
        "pass_rate": share(sum(said for _, said in decided), len(decided)),
        "true_pass_rate": share(sum(truth for truth, _ in known), len(known)),
        "undecided": share(len(known) - len(decided), len(known)),
    }


def f1_passing(counts: Mapping[Verdicts, int]) -> float | None:
    """F1 of finding the answers that pass: the harmonic mean of precision and recall; None: no answer passes by either."""
    return _f1(counts, True)


def f1_failing(counts: Mapping[Verdicts, int]) -> float | None:
    """F1 of finding the answers that fail."""
    return _f1(counts, False)


def _f1(counts: Mapping[Verdicts, int], positive: bool) -> float | None:
    right = counts.get((positive, positive), 0)
    wrong = sum(times for (truth, said), times in counts.items() if truth != said)
    return 2 * right / (2 * right + wrong) if right or wrong else None


def macro_f1(counts: Mapping[Verdicts, int]) -> float | None:
    """The mean of the F1 of both verdicts: for two sides, of which neither is the positive one."""
    both = [one for one in (f1_passing(counts), f1_failing(counts)) if one is not None]
    return sum(both) / len(both) if both else None


def kappa(counts: Mapping[Verdicts, int]) -> float | None:
    """Cohen's kappa (1960): agreement beyond chance, 0 at chance, 1 if perfect; None if all verdicts are the same."""
    total = sum(counts.values())
    if not total:
        return None
    true = sum(times for (truth, _), times in counts.items() if truth) / total
    said = sum(times for (_, verdict), times in counts.items() if verdict) / total
    observed = sum(times for (truth, verdict), times in counts.items() if truth == verdict) / total
    by_chance = true * said + (1 - true) * (1 - said)
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 else None
