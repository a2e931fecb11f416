"""How long an audit takes, and how much memory.

    python -m benchmarks.audit_at_scale minhash --rows 1000000    # near duplicates of so many prompts
    python -m benchmarks.audit_at_scale audit --rows 100000       # every check, of pairs imported into a lake

Texts are drawn from a vocabulary of 20,000 words as frequent as in English (Zipf); one of a hundred prompts is a near
duplicate of an earlier one. Goals: 1 million prompts in at most 5 minutes and 6 GiB, and 100,000 pairs in at most 2 minutes.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from factory.audit.audit import Options, audit_training_set
from factory.audit.duplicates import near_groups
from factory.importing.importer import Options as ImportOptions
from factory.importing.importer import import_files
from factory.prompts.settings import PromptSettings
from stores.lake import Lake
from stores.training_sets import build_training_set

PROMPT_WORDS, ANSWER_WORDS = 40, 120
WORDS = np.array(
    [
        f"{a}{b}{c}"
        for a in "bdfgklmnprstvz"
        for b in "aeiou"
        for c in ("r", "n", "l", "st", "ck", "m", "", "x", "th", "ng")
    ]
)
VOCABULARY = np.array([f"{first}{second}" for first in WORDS[:140] for second in WORDS[:143]])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("what", choices=("minhash", "audit"))
    asked.add_argument("--rows", type=int, default=100_000)
    given = asked.parse_args()
    {"minhash": minhash, "audit": audit}[given.what](given.rows)


def minhash(rows: int) -> None:
    texts = pl.Series(list(prompts(rows)))
    started, processor = time.perf_counter(), time.process_time()
    groups = near_groups(texts)
    found = len(groups) - len(np.unique(groups))
    report(f"near duplicates of {rows:,} prompts", started, processor, f"{found:,} of {rows // 100:,} planted found")


def audit(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.jsonl"
        with file.open("w", encoding="utf-8") as out:
            for prompt, chosen, rejected in zip(prompts(rows), texts(rows, 1), texts(rows, 2), strict=True):
                out.write(json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}) + "\n")
        lake = str(Path(folder) / "lake")
        import_files(lake, [PromptSettings(source=str(file))], ImportOptions(), lambda what, rows: None)
        with Lake.open(lake) as opened:
            runs = opened.query("SELECT run_id FROM current_runs").column(0).to_pylist()
            build_training_set(opened, "imported_dpo", {}, runs)
            started, processor = time.perf_counter(), time.process_time()
            steps: list[tuple[str, float]] = []
            done = audit_training_set(
                opened, "imported_dpo", Options({}), lambda words: steps.append((words, time.perf_counter()))
            )
            ends = [at for _, at in steps[1:]] + [time.perf_counter()]
            for (words, at), end in zip(steps, ends, strict=True):
                print(f"  {words}: {end - at:.1f} s")
            report(f"audit of {rows:,} pairs", started, processor, f"{len(done.findings)} checks")


def prompts(count: int) -> Iterator[str]:
    """The last of each hundred is the first of it, with one word changed."""
    kept: list[str] = []
    for n, words in enumerate(drawn(count, PROMPT_WORDS, 0)):
        if n % 100 == 99:
            words = [*kept[:-1], words[-1]]
        elif n % 100 == 0:
            kept = words
        yield " ".join(words)


def texts(count: int, seed: int) -> Iterator[str]:
    return (" ".join(words) + "." for words in drawn(count, ANSWER_WORDS, seed))


def drawn(count: int, length: int, seed: int) -> Iterator[list[str]]:
    random = np.random.default_rng(seed)
    chance = 1 / np.arange(2, len(VOCABULARY) + 2)
    chance /= chance.sum()
    for first in range(0, count, 10_000):
        yield from VOCABULARY[random.choice(len(VOCABULARY), (min(10_000, count - first), length), p=chance)].tolist()


def report(what: str, started: float, processor: float, found: str) -> None:
    wall, used = time.perf_counter() - started, time.process_time() - processor
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what}: {wall:.1f} s, {used:.1f} s of processor time, {most:.2f} GiB at most; {found}")


if __name__ == "__main__":
    main()
