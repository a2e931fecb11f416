"""What the tests of claims share: a small corpus, and a scripted actor whose answers are lists of facts."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factory.documents.importing import import_documents
from factory.recipes.reading import load_recipe, recipe_of
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from tests.judging import asked, part
from tests.scripted_endpoint import Request, ScriptedEndpoint, Tokens

DOCUMENTS = [
    {"title": "Elbe", "text": "The Elbe is a river. It flows through Dresden and Hamburg."},
    {"title": "Hamburg", "text": "Hamburg is a city on the Elbe. It has a large harbour."},
    {"title": "Bread", "text": "Bread is made of flour and water."},
]
ANSWERS = (
    "Elbe: rises in Bohemia. Elbe: flows through Dresden.",
    "Elbe: flows through Dresden. Elbe: flows through Paris.",
    "Elbe: flows through Paris.",
    "I do not know.",
)
"""by their claims: unknown and 0.8; 0.8 and 0.1; 0.1; none"""
SHARES = {
    "Bohemia": {"True": 0.2, "False": 0.1, "Unknown": 0.7},
    "Dresden": {"True": 0.72, " False": 0.18, "Unknown": 0.1},
    "Paris": {"True": 0.08, "False": 0.72, "Unknown": 0.2},
}


def facts(request: Request) -> Sequence[Any]:
    """Answers, takes claims out, checks them by the place they name, asks where a river flows and answers that."""
    text = asked(request)
    if "List every factual claim" in text:
        found = re.findall(r"Elbe: ([\w ]+)\.", part(text, "Response"))
        return ["\n".join(f"- The Elbe {fact}." for fact in found) or "None"]
    if "Passages from a reference corpus" in text:
        claim = text.split("Claim: ")[1].split("\n")[0]
        shares = next(shares for place, shares in SHARES.items() if place in claim)
        return [Tokens([(max(shares, key=lambda label: shares[label]), shares)])] * request.n
    if "Write one question" in text:
        return [f"Is it so that {text.split('Claim: ')[1].split('.')[0]}?"]
    if "Answer in a few words" in text:
        right = 15 if "Dresden" in text else 5 if "Paris" in text else 10
        return [*["Yes"] * right, *[f"no {i}." for i in range(20 - right)]]
    return list(ANSWERS[: request.n])


def corpus(lake: Path, rows: Sequence[dict[str, Any]] = DOCUMENTS, name: str = "rivers") -> None:
    """Imports documents into the lake."""
    file = lake.parent / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    import_documents(str(lake), [str(file)], None, "CC0-1.0", {}, lambda what, rows: None)


def specification(
    name: str, endpoint: ScriptedEndpoint, folder: Path, prompts: int = 2, **changes: Any
) -> RunSpecification:
    """A bundled recipe on a few prompts, with four answers to each."""
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"Tell me of the Elbe, {i}."}) + "\n" for i in range(prompts)))
    fixed = {
        "models.actor.endpoint": endpoint.url,
        "models.judge.endpoint": endpoint.url,
        "prompts.source": str(file),
        "stages.sample.n": len(ANSWERS),
    }
    document = json.loads(load_recipe(name).as_json())
    return RunSpecification(
        recipe_of(document, "recipe x", fixed | {k.replace("__", "."): v for k, v in changes.items()})
    )


def run(lake: Path, name: str, endpoint: ScriptedEndpoint, **changes: Any) -> str:
    """A finished run of a bundled recipe."""
    return run_recipe(specification(name, endpoint, lake.parent, **changes), str(lake), Progress())
