"""What refuses a publication: failed checks of the audit, unknown licences, secrets in the lineage, rejected pairs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from factory.audit.audit import Report
from factory.audit.checks import NAMES
from factory.audit.finding import Finding
from factory.audit.rows import as_polars
from factory.audit.secrets import personal_data_in, secrets_in
from factory.monitor.plain_text import counted
from factory.publishing.facts import Facts
from schemas.errors import FactoryError, nearest

OWN = ("model_licences", "rejected_pairs")
"""checks that only a publication has"""
_ALWAYS = ("secrets", "personal_data", "overlap")
"""checks that refuse whenever their figure is not 0, whatever the audit says of it elsewhere"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a set may not be published."""

    check: str
    reason: str
    allowed: bool


def check_allowed(allowed: Sequence[str]) -> None:
    """Raises:
    FactoryError: a name that no check has.
    """
    for name in allowed:
        if name not in (*NAMES, *OWN):
            raise FactoryError(f"--allow: there is no check {name!r}: {nearest(name, [*NAMES, *OWN])}")


def refusals(
    report: Report, facts: Facts, rejected: int, lineage: pa.Table | None, allowed: Sequence[str]
) -> list[Refusal]:
    """Everything that speaks against a publication, what is allowed included.

    Args:
        rejected: rows that a reviewer's current review rejects.
        lineage: id and text of every text that is published beside the set: its lineage, what was left out; None: none is.
    """
    reasons: dict[str, list[str]] = {}
    for found in report.findings:
        if (reason := _reason(found)) is not None:
            reasons.setdefault(found.name, []).append(reason)
    unknown = [source for source in facts.sources if source.licence is None]
    if unknown:
        rows = sum(source.rows for source in unknown)
        reasons["licences"] = [
            f"the licence of {rows:,} rows' prompts is not known ({_listed(s.source for s in unknown)})"
        ]
    nameless = [model.name for model in facts.models if model.licence is None]
    if nameless:
        said = f"the licence of {_listed(nameless)} is not known: name it with --model-licence {nameless[0]}=LICENCE"
        reasons["model_licences"] = [said]
    if rejected:
        reasons["rejected_pairs"] = [
            f"reviewers reject or have rewritten {rejected:,} of its rows: build it again, which leaves them out"
        ]
    if lineage is not None:
        for check, (bad, kinds) in texts_with(lineage).items():
            if bad:
                places = ", ".join(sorted({id.partition(" ")[0] for id in bad}))
                reasons.setdefault(check, []).append(
                    f"{', '.join(kinds)} in {counted(len(bad), 'text')} beside the set ({places})"
                )
    return [Refusal(check, "; ".join(said), check in allowed) for check, said in reasons.items()]


def refuse(found: Sequence[Refusal], reference: str) -> None:
    """Raises:
    FactoryError: something that is not allowed, with every reason.
    """
    refusing = [one for one in found if not one.allowed]
    if refusing:
        said = "; ".join(f"{one.check}: {one.reason}" for one in refusing)
        names = " ".join(f"--allow {one.check}" for one in refusing)
        raise FactoryError(
            f"{reference} is not published: {said}: mend the data and build it again, or name each exception with {names}, "
            "which the card will say"
        )


def _reason(found: Finding) -> str | None:
    figure = found.measured.figure
    if found.name == "licences":
        return None  # an unknown one refuses, a restricted one is said on the card
    if found.name == "overlap" and figure is None:
        return "no evaluation set was compared: name one, as in --against ifeval"
    if figure is None:
        return None
    if found.status == "fail" or (found.name in _ALWAYS and figure > 0):
        rows = f", as in rows {', '.join(found.measured.examples[:2])}" if found.measured.examples else ""
        return f"{figure:.3g}, and may be at {'most' if found.most else 'least'} {found.threshold:g}{rows}"
    return None


def texts_with(texts: pa.Table) -> dict[str, tuple[list[str], dict[str, int]]]:
    """By check (secrets, personal_data): the ids of the texts that have any, and how many of each kind.

    Args:
        texts: id and text.
    """
    given = as_polars(texts).select("id", pl.col("text").cast(pl.String))
    return {"secrets": secrets_in(given), "personal_data": personal_data_in(given)}


def _listed(names: Iterable[str]) -> str:
    found = sorted(set(names))
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more
