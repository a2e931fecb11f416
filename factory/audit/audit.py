"""The audit of a pinned training set, and what `factory build` asks of one before it is pinned."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory.audit.benchmarks import benchmarks_of
from factory.audit.checks import check_names, findings
from factory.audit.finding import Finding
from factory.audit.lineage import lineage_of, tasks_of
from factory.audit.overlap import overlaps_with, rows_with, texts_of
from factory.audit.rows import Audited, Benchmark, audited
from factory.audit.truncation import MAX_TOKENS, as_trained, load_tokenizer
from schemas.errors import FactoryError
from schemas.ids import canonical_json
from schemas.tables import TrainingSet
from stores.lake import Lake
from stores.training_sets import Examined, Refused, read_training_set
from stores.training_sets.rows import WITHOUT, kept_rows

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What an audit's user asks for."""

    thresholds: Mapping[str, float]
    """by check; the others keep their defaults"""
    model: str | None = None
    """whose template and tokenizer the trainer will use"""
    max_tokens: int | None = None
    against: tuple[str, ...] | None = None
    """evaluation sets; None: those in the cache"""


@dataclass(frozen=True, slots=True)
class Report:
    """An audit's outcome."""

    training_set: TrainingSet
    findings: tuple[Finding, ...]
    benchmarks: tuple[Benchmark, ...]

    @property
    def reference(self) -> str:
        return f"{self.training_set.name}@{self.training_set.version}"

    @property
    def failed(self) -> list[str]:
        return [found.name for found in self.findings if found.status == "fail"]

    def count(self, status: str) -> int:
        return sum(found.status == status for found in self.findings)

    def plain(self) -> dict[str, Any]:
        """As JSON shows it."""
        row = self.training_set
        return {
            "training_set": self.reference,
            "format": row.format,
            "snapshot": row.snapshot,
            "fingerprint": row.fingerprint,
            "train_rows": row.train_rows,
            "held_out_rows": row.held_out_rows,
            "summary": summary_of(self),
            "evaluation_sets": {b.name: b.version for b in self.benchmarks},
            "checks": [found.plain() for found in self.findings],
        }


def audit_training_set(lake: Lake, reference: str, options: Options, tell: Tell | None = None) -> Report:
    """Audits a pinned training set. No model is called.

    Args:
        tell: is told what is being done.
    Raises:
        FactoryError: no such set, one that cannot be read, a check or an evaluation set that does not exist, or a model
            without a tokenizer.
    """
    tell = tell or (lambda words: None)
    check_names(options.thresholds, "--threshold")
    benchmarks = benchmarks_of(options.against)
    tokenizer = load_tokenizer(options.model) if options.model is not None else None
    tell("reading the rows")
    read = read_training_set(lake, reference)
    row = read.row
    table = pa.concat_tables([_with_split(read.train, "train"), _with_split(read.held_out, "held_out")])
    given = as_audited(lake, f"{row.name}@{row.version}", row.format, table, row.snapshot, benchmarks)
    if tokenizer is not None and row.format != "prompt":
        most = options.max_tokens or MAX_TOKENS[row.format]
        told = as_trained(
            given.turns, tokenizer, most, lambda done: tell(f"tokens of {done:,} of {table.num_rows:,} rows")
        )
        given = Audited(given.reference, given.format, given.rows, given.turns, given.facts, benchmarks, told)
    return Report(row, tuple(findings(given, options.thresholds, tell)), benchmarks)


def as_audited(
    lake: Lake, reference: str, format: str, table: pa.Table, snapshot: int, benchmarks: tuple[Benchmark, ...]
) -> Audited:
    """A set's rows with what the lake knows of them at the set's snapshot."""
    with Lake.open(lake.place.where, at=snapshot) as pinned:
        known = lineage_of(pinned, table)
    return audited(reference, format, table, known.rows, known.facts, benchmarks)


def summary_of(report: Report) -> str:
    """Scale, noise and information in one line, to compare sets by (arXiv:2409.09603)."""
    row, known = report.training_set, {found.name: found.measured for found in report.findings}
    parts = [f"{row.train_rows + row.held_out_rows:,} rows"]
    for name, words in (
        ("split_votes", "of votes split"),
        ("order_flips", "of orders flip"),
        ("judge_agreement", "of verdicts shared by the verifier"),
        ("style_classifier", "of labels told by style alone"),
    ):
        figure = known[name].figure if name in known else None
        if figure is not None:
            parts.append(f"{figure:.0%} {words}")
    return ", ".join(parts)


# What is asked of a set before it is pinned


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What the recipes of a set's runs ask for (`factory/runs/audit_settings.py`), and the command line."""

    thresholds: Mapping[str, float]
    decontaminate: tuple[str, ...]


def examination(
    lake: Lake, settings: AuditSettings, allowed: Sequence[str]
) -> Callable[[str, str, pa.Table, int], Examined] | None:
    """What `build_training_set` asks of rows before they are pinned; None: nothing was asked for.

    It finds the prompts that overlap with the evaluation sets, and refuses rows whose figures are beyond the thresholds.

    Args:
        allowed: checks that may fail; the set's row says so.
    Raises:
        FactoryError: a check that does not exist, or is allowed without a threshold.
    """
    check_names(settings.thresholds, "audit")
    check_names(list(allowed), "--allow")
    if without := [name for name in allowed if name not in settings.thresholds]:
        raise FactoryError(
            f"--allow {without[0]}: it has no threshold, so nothing refuses it: leave it out, or set audit.{without[0]}"
        )
    if not settings.thresholds and not settings.decontaminate:
        return None
    benchmarks = benchmarks_of(settings.decontaminate) or benchmarks_of(None)

    def examine(name: str, format: str, rows: pa.Table, snapshot: int) -> Examined:
        excluded = overlapping_prompts(lake, name, format, rows, benchmarks) if settings.decontaminate else []
        asked: dict[str, Any] = {}
        if settings.decontaminate:
            asked["decontaminated"] = {b.name: b.version for b in benchmarks}
            asked["removed_prompts"] = len(excluded)
        if settings.thresholds:
            kept = kept_rows(rows, {WITHOUT: excluded} if excluded else {})
            asked["checks"] = _held(lake, name, format, kept, snapshot, settings.thresholds, allowed, benchmarks)
        return Examined(tuple(excluded), canonical_json(asked))

    return examine


def overlapping_prompts(
    lake: Lake, name: str, format: str, rows: pa.Table, benchmarks: Sequence[Benchmark]
) -> list[str]:
    """The ids of the prompts that overlap with an evaluation set, sorted.

    Raises:
        FactoryError: the rows have no prompt_id.
    """
    if "prompt_id" not in rows.column_names:
        raise FactoryError(
            f"training set {name} cannot be decontaminated, as its rows have no prompt_id: add the column to its query"
        )
    given = audited(name, format, rows, tasks_of(lake, rows)).rows
    texts = texts_of(given)
    bad = {text for b in benchmarks for text in overlaps_with(texts, b).prompts["prompt"].to_list()}
    overlapping = rows_with(given, bad)["prompt_id"]
    if overlapping.null_count():
        raise FactoryError(
            f"training set {name} cannot be decontaminated, as {overlapping.null_count()} of its rows that overlap have no "
            "prompt_id: give every row one in its query"
        )
    found: list[str] = overlapping.unique().sort().to_list()
    return found


def _held(
    lake: Lake,
    name: str,
    format: str,
    rows: pa.Table,
    snapshot: int,
    thresholds: Mapping[str, float],
    allowed: Sequence[str],
    benchmarks: tuple[Benchmark, ...],
) -> dict[str, Any]:
    """The checks with a threshold, as the set's row keeps them.

    Raises:
        Refused: one of them failed and is not allowed to.
    """
    if not rows.num_rows:
        return {}
    given = as_audited(lake, name, format, rows, snapshot, benchmarks)
    found = findings(given, thresholds, only=set(thresholds))
    refusing = [f for f in found if f.status == "fail" and f.name not in allowed]
    if refusing:
        told = "; ".join(f"{f.name} is {f.measured.figure:.3g}, {_bound(f)}" for f in refusing)
        example = next((f", as in {', '.join(f.measured.examples[:2])}" for f in refusing if f.measured.examples), "")
        raise Refused(
            f"training set {name} is not built: {told}{example}: mend the data, change audit.{refusing[0].name} in the "
            f"recipe, or allow it with --allow {refusing[0].name}"
        )
    return {
        f.name: {
            "status": f.status,
            "figure": f.measured.figure,
            "low": f.measured.low,
            "high": f.measured.high,
            "threshold": f.threshold,
            "allowed": f.status == "fail",
            **({"reason": f.measured.why_not} if f.measured.why_not else {}),
        }
        for f in found
    }


def _bound(found: Finding) -> str:
    return f"and may be at {'most' if found.most else 'least'} {found.threshold:g}"


def _with_split(rows: pa.Table, split: str) -> pa.Table:
    return rows.append_column("split", pa.array([split] * rows.num_rows, pa.string()))
