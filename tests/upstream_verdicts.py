"""Verdicts of the upstream checkers, unchanged, with NLTK's own data.

`python -m tests.upstream_verdicts > tests/data/upstream_verdicts.json` records them. NLTK's punkt_tab and stop words are
taken out of the wheel llama-index-core, which carries them as NLTK publishes them.
"""

import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from factory.inference.weights import KnownFile, fetch_file
from tests.constraint_examples import EXAMPLES

DATA = Path(__file__).parent / "data"
WHEEL = "llama-index-core==0.14.25"
NLTK_DATA = {
    "tokenizers": KnownFile(
        requirement=WHEEL,
        file_name="punkt_tab.zip",
        sha256="e57f64187974277726a3417ca6f181ec5403676c717672eef6a748a7b20e0106",
        size_bytes=4_319_076,
        licence="Apache-2.0",
    ),
    "corpora": KnownFile(
        requirement=WHEEL,
        file_name="stopwords.zip",
        sha256="48c0e52d8b52546e827f53761fb30300c0ab94f70660d28bd65ba0a86270946b",
        size_bytes=37_733,
        licence="unknown",
    ),
}


def texts() -> list[str]:
    """Texts to judge: hand-written ones that are hard to split, and the examples of each of IFEval's constraints."""
    written: list[str] = json.loads((DATA / "checker_texts.json").read_text("utf-8"))
    return list(dict.fromkeys([*written, *(text for e in EXAMPLES for text in (e.passing, e.failing))]))


def constraints() -> list[dict[str, Any]]:
    """IFBench's kinds, further cases of the two kinds of IFEval's that need sentences or words, and IFEval's examples."""
    written: list[dict[str, Any]] = json.loads((DATA / "checker_constraints.json").read_text("utf-8"))
    return [*written, *({"id": example.kind, "kwargs": example.kwargs} for example in EXAMPLES)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for kind, known in NLTK_DATA.items():
            with zipfile.ZipFile(fetch_file(f"nltk_{known.file_name}", known)) as packed:
                packed.extractall(Path(folder) / kind)
        os.environ["NLTK_DATA"] = folder
        print(json.dumps(_verdicts(), indent=0))


def _verdicts() -> list[dict[str, Any]]:
    import langdetect
    import nltk

    nltk.download = lambda *words, **options: False
    langdetect.DetectorFactory.seed = 0
    from if_verifiable.common import evaluate_instructions
    from if_verifiable.ifbench.instructions_registry import INSTRUCTION_DICT as IFBENCH
    from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT as IFEVAL

    registry = IFEVAL | IFBENCH
    found = []
    for asked in constraints():
        marks = []
        for text in texts():
            try:
                results, _ = evaluate_instructions(text, [asked["id"]], [asked["kwargs"]], "", registry)
            except Exception as error:
                print(f"{asked['id']} fails with {error!r} on {text[:40]!r}", file=sys.stderr)
                marks.append("!")
                continue
            marks.append(str(results[0].strict_pass + results[0].loose_pass) if results else "0")
        found.append({"id": asked["id"], "kwargs": asked["kwargs"], "verdicts": "".join(marks)})
    return found


if __name__ == "__main__":
    main()
