"""The dataset card: its metadata and its prose, from facts, audit and errata alone."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import yaml

from factory.audit.audit import Report
from factory.publishing.checks import Refusal
from factory.publishing.errata import Erratum
from factory.publishing.facts import Facts, MadeBy
from factory.publishing.rendering import render
from schemas.columns import columns as table_columns
from schemas.tables import Pair

SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_MEANINGS = {
    "prompt": "the conversation up to the answer",
    "chosen": "the better answer, as a conversation of one turn",
    "rejected": "the worse answer",
    "completion": "the answer to imitate",
    "score_chosen": "the judge's value of the chosen answer, 0 to 1",
    "score_rejected": "the judge's value of the rejected answer, 0 to 1",
    "class": "which of the set's classes the row is of",
    "prompt_id": "the prompt: hash of its messages, constraints and reference",
    "constraints": "what a program can check of an answer, as IFEval names it",
    "reference": "an answer that was given with the prompt",
    "run_id": "the run that made it",
    "response_id": "the response",
    "tree_id": "the search tree it came from",
    "id": "the node or judgement it came from",
}
"""of columns that `pairs` does not have"""


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture in the folder."""

    path: str
    title: str


@dataclass(frozen=True, slots=True)
class Card:
    """What a card is made of."""

    repo: str
    facts: Facts
    report: Report
    configs: Mapping[str, Sequence[str]]
    """configs and their splits"""
    key: str
    """the folder of the data: data/KEY"""
    column_names: Sequence[str]
    errata: Sequence[Erratum]
    exceptions: Sequence[Refusal]
    plots: Sequence[Plot]
    lock: str | None


_OBJECTIVES = {"preference": "dpo", "prompt_completion": "sft", "prompt": "online"}
_CONTENTS = {
    "preference": "preference pairs for preference tuning (DPO)",
    "prompt_completion": "prompts with completions for supervised fine-tuning (SFT)",
    "prompt": "prompts without answers for online training, in which the model trained answers them (RLOO, GRPO)",
}
"""what a set's rows are, by format"""


def card_text(card: Card) -> str:
    """The card as Markdown with YAML metadata."""
    facts = card.facts
    splits = {"train": facts.row.train_rows, "test": facts.row.held_out_rows}
    return render(
        "dataset_card.jinja",
        metadata=yaml.safe_dump(metadata_of(card), sort_keys=False, allow_unicode=True),
        repo=card.repo,
        facts=facts,
        report=card.report,
        reference=facts.reference,
        name=facts.row.name,
        code_version=version("preference-factory"),
        contents=_CONTENTS[facts.row.format],
        objective=_OBJECTIVES[facts.row.format],
        splits=[{"name": name, "rows": rows} for name, rows in splits.items() if rows],
        columns=[{"name": name, "meaning": _meaning(name)} for name in card.column_names],
        runs=[_run(run) for run in facts.runs],
        query_head=_head_of(facts.row.sql),
        program_judges={judge["kind"] for judge in facts.judges if judge["decides"]} == {"verifier"},
        plots=card.plots,
        allowed={one.check for one in card.exceptions},
        exceptions=card.exceptions,
        allowed_before=_allowed_before(facts),
        limits=limits_of(facts, card.report),
        errata=card.errata,
        lineage="pairs" in card.configs,
        commands=commands_of(facts),
        lock=card.lock,
        bibtex=bibtex_of(card.repo, facts),
    )


def metadata_of(card: Card) -> dict[str, Any]:
    """The card's YAML: what the Hub's search and viewer, and `load_dataset`, read."""
    facts = card.facts
    languages = sorted(str(language) for language in facts.languages if language)
    made: dict[str, Any] = {**facts.licence.metadata}
    if languages:
        made["language"] = languages
        made["multilinguality"] = ["monolingual" if len(languages) == 1 else "multilingual"]
    made |= {
        "pretty_name": facts.reference,
        "size_categories": [next((name for most, name in SIZES if facts.rows < most), "n>10M")],
        "task_categories": ["text-generation"],
        "annotations_creators": ["machine-generated", *(["expert-generated"] if facts.reviews else [])],
        "language_creators": ["machine-generated"],
        "tags": tags_of(facts),
        "configs": [_config(name, names, card.key) for name, names in card.configs.items()],
    }
    hub_ids = sorted({id for s in facts.sources if (id := _hub_id(s.source)) is not None})
    return made | ({"source_datasets": hub_ids} if hub_ids else {})


def tags_of(facts: Facts) -> list[str]:
    """Tags that the Hub's search knows."""
    kind = {"preference": ["preference", "dpo"], "prompt": ["rlhf"]}.get(facts.row.format, ["sft"])
    by_model = ["synthetic"] if any(model.chosen or model.rejected or model.calls for model in facts.models) else []
    recipes = sorted({str(run.recipe.get("name")) for run in facts.runs} - {"import", "None"})
    return [*kind, *by_model, "trl", "preference-factory", *recipes]


def limits_of(facts: Facts, report: Report) -> list[str]:
    """What a reader should know before training on it; every sentence follows from a row."""
    found = []
    if not facts.row.held_out_rows:
        found.append("No prompt is held out.")
    if len(facts.languages) == 1 and (language := next(iter(facts.languages))):
        found.append(f"All prompts are in one language ({language}).")
    deciding = {judge["kind"] for judge in facts.judges if judge["decides"]}
    if deciding == {"verifier"}:
        found.append(
            "A program judged: it checks constraints of form, and says nothing about truth, tone or usefulness."
        )
    elif deciding and not facts.measured and not facts.agreements:
        found.append("The judge's agreement with people or with a program has not been measured.")
    if not facts.judges:
        found.append("No judgement is recorded: the preferences came as they are.")
    names = {model.name for model in facts.models if model.chosen}
    if len(names) == 1 and facts.row.format == "preference":
        found.append("One model wrote all chosen answers: its habits are in each of them.")
    for one in report.findings:
        if one.status in ("warn", "fail") and one.measured.figure is not None:
            bound = "at most" if one.most else "at least"
            found.append(
                f"{one.about.rstrip('.')}: {one.measured.figure:.4g}, where {bound} {one.threshold:.4g} is usual."
            )
    return found or ["None is known beyond what the figures above say."]


def commands_of(facts: Facts) -> list[str]:
    """The commands that make the set again, to be typed in the published folder."""
    commands = [
        f"factory run recipes/{run.run_id}.yaml --seed {run.seed}{_prompts(run)} --lake again"
        for run in facts.runs
        if not run.is_import
    ]
    commands += [
        f"# {run.run_id} was imported: `factory import FILE --lake again`" for run in facts.runs if run.is_import
    ]
    given = {k: v for k, v in facts.parameters.items() if k not in ("run_ids", "excluded_prompts", "only_prompts")}
    words = " ".join(
        f"-p {shlex.quote(f'{name}={json.dumps(value)}')}" for name, value in given.items() if value is not None
    )
    kept_out = "".join(
        f" --decontaminate {shlex.quote(name)}" for name in sorted(_audit_of(facts).get("decontaminated") or {})
    )
    commands.append(f"factory build {facts.row.name}.sql {words}{kept_out} --lake again".replace("  ", " "))
    return commands


def _prompts(run: MadeBy) -> str:
    """The option that names the prompts' file, which is not in the folder."""
    prompts = run.recipe.get("prompts")
    source = str(prompts.get("source", "bundled")) if isinstance(prompts, dict) else "bundled"
    return "" if source.startswith(("bundled", "datasets:")) else f" --prompts {shlex.quote(source)}"


def bibtex_of(repo: str, facts: Facts) -> str:
    """A BibTeX entry."""
    key = "".join(c if c.isalnum() else "_" for c in f"{repo.partition('/')[0]}_{facts.row.name}_v{facts.row.version}")
    return "\n".join(
        [
            f"@misc{{{key},",
            f"  author = {{{repo.partition('/')[0]}}},",
            f"  title = {{{facts.row.name.replace('_', ' ')}, version {facts.row.version}}},",
            f"  year = {{{facts.made_at.year}}},",
            f"  howpublished = {{\\url{{{url_of(repo)}}}}},",
            f"  note = {{fingerprint {facts.row.fingerprint}}}",
            "}",
        ]
    )


def citation_of(repo: str, facts: Facts) -> str:
    """CITATION.cff (cff-version 1.2.0)."""
    made: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use this dataset, please cite it as below.",
        "type": "dataset",
        "title": f"{facts.row.name}, version {facts.row.version}",
        "authors": [{"name": repo.partition("/")[0]}],
        "version": str(facts.row.version),
        "date-released": facts.made_at.date().isoformat(),
        "url": url_of(repo),
        "identifiers": [{"type": "other", "value": facts.row.fingerprint, "description": "SHA-256 over all rows"}],
    }
    return yaml.safe_dump(made, sort_keys=False, allow_unicode=True)


def url_of(repo: str) -> str:
    return f"https://huggingface.co/datasets/{repo}"


def _config(name: str, splits: Sequence[str], key: str) -> dict[str, Any]:
    files = [{"split": split, "path": f"data/{key}/{name}/{split}-*"} for split in splits]
    return {"config_name": name} | ({"default": True} if name == "default" else {}) | {"data_files": files}


def _meaning(name: str) -> str:
    pairs = {column.name: column.meaning for column in table_columns(Pair)}
    return _MEANINGS.get(name) or pairs.get(name) or "a column of the set's own query"


def _run(run: MadeBy) -> dict[str, Any]:
    stages = run.recipe.get("stages")
    steps = [_step(stage) for stage in stages] if isinstance(stages, list) else []
    description = str(run.recipe.get("description") or "")
    return {
        "run_id": run.run_id,
        "description": f"{description[:1].upper()}{description[1:]}." if description else "",
        "recipe": run.recipe.get("name") or "unknown",
        "file": None if run.is_import else f"recipes/{run.run_id}.yaml",
        "seed": run.seed,
        "code_version": run.code_version,
        "steps": steps or [{"name": "import", "settings": "rows that others made"}],
    }


def _step(stage: Any) -> dict[str, str]:
    plain = stage if isinstance(stage, dict) else {}
    settings = {
        k: v for k, v in plain.items() if k not in ("stage", "name") and isinstance(v, str | int | float | bool)
    }
    name = str(plain.get("stage"))
    named = f"{name} ({plain['name']})" if plain.get("name") not in (None, name) else name
    return {"name": named, "settings": ", ".join(f"{k} {v}" for k, v in settings.items()) or "defaults"}


def _head_of(query: str) -> str:
    """The comment that a set's query begins with."""
    lines = []
    for line in query.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return "\n".join(lines) or "(the query says nothing of itself)"


def _allowed_before(facts: Facts) -> list[str]:
    """Checks that were allowed to fail when the set was built."""
    checks = _audit_of(facts).get("checks")
    return sorted(n for n, check in checks.items() if check.get("allowed")) if isinstance(checks, dict) else []


def _audit_of(facts: Facts) -> dict[str, Any]:
    """What the set's row says of the audit when it was built."""
    found = json.loads(facts.row.audit or "{}")
    return found if isinstance(found, dict) else {}


def _hub_id(source: str) -> str | None:
    """The Hub's id of a source such as datasets:OWNER/NAME/SPLIT."""
    if not source.startswith("datasets:"):
        return None
    parts = source.removeprefix("datasets:").split("/")
    return "/".join(parts[:2]) if len(parts) >= 3 else None
