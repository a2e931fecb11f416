"""Loads IFBench's checkers (arXiv:2507.02833) from the package if-verifiable, and makes them repeatable and offline.

`load` changes in the package what `checkers.py` changes in IFEval's:

- importing it downloads nothing;
- words are split as there, as in `nltk.word_tokenize`;
- stop words are NLTK's English list of 2024 (198 words), kept here in `stopwords.txt`;
- a span that starts at 0 does so: the package would draw another start at random.

`words:start_verb` needs NLTK's English part-of-speech tagger, whose model no package of ours carries: it can be checked
where NLTK finds that model (`python -m nltk.downloader averaged_perceptron_tagger_eng`).
"""

import importlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

TAGGER = "averaged_perceptron_tagger_eng"
NEEDS_TAGGER = "words:start_verb"
SPAN = "repeat:repeat_span"
STOP_WORDS = Path(__file__).parent / "stopwords.txt"

Import = Callable[[str, str], ModuleType]


def load(import_module: Import, split_words: Callable[[str], Iterable[str]]) -> dict[str, Any]:
    """The checkers' classes by kind.

    Args:
        import_module: imports a module of a package without running the package's `__init__`.
    """
    nltk = importlib.import_module("nltk")
    download, nltk.download = nltk.download, lambda *words, **options: False  # type: ignore[attr-defined]
    try:
        registry = import_module("if_verifiable", "if_verifiable.ifbench.instructions_registry")
    finally:
        nltk.download = download  # type: ignore[attr-defined]
    instructions = sys.modules["if_verifiable.ifbench.instructions"]
    utilities = sys.modules["if_verifiable.ifbench.instructions_util"]
    stop_words = STOP_WORDS.read_text("utf-8").split()
    instead = SimpleNamespace(
        ngrams=nltk.ngrams,
        pos_tag=nltk.pos_tag,
        tokenize=nltk.tokenize,
        word_tokenize=lambda text: list(split_words(text)),
        corpus=SimpleNamespace(stopwords=SimpleNamespace(words=lambda language: stop_words)),
    )
    instructions.nltk = instead  # type: ignore[attr-defined]
    utilities.nltk = instead  # type: ignore[attr-defined]
    classes: dict[str, Any] = registry.INSTRUCTION_DICT | {SPAN: _from_the_start(registry.INSTRUCTION_DICT[SPAN])}
    return classes


def _from_the_start(checker: Any) -> Any:
    class RepeatSpanChecker(checker):  # type: ignore[misc]
        def build_description(self, **given: Any) -> Any:
            described = super().build_description(**given | {"n_start": given["n_start"] or 1})
            self._n_start = given["n_start"]
            return described

    return RepeatSpanChecker


def has_tagger() -> bool:
    """Whether NLTK finds the model that `words:start_verb` needs."""
    data = importlib.import_module("nltk.data")
    try:
        data.find(f"taggers/{TAGGER}")
    except LookupError:
        return False
    return True
