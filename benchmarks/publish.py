"""python -m benchmarks.publish --rows 100000

Publishes so many pairs (prompts of 40 words, answers of 120) to the tests' Hub on loopback, pulls them again, and prints the
seconds of each part. The texts are those of `benchmarks.audit_at_scale`.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.audit_at_scale import prompts, texts
from tests.hub import client_environment, running_hub


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish")
    parser.add_argument("--rows", type=int, default=100_000, help="pairs")
    parser.add_argument("--with-lineage", action="store_true", help="also publish the lineage")
    options = parser.parse_args()
    with running_hub() as hub, tempfile.TemporaryDirectory() as folder:
        os.environ.update(client_environment(hub, f"{folder}/home"))  # before the clients are imported
        measure(Path(folder), options.rows, lineage=options.with_lineage)


def measure(folder: Path, rows: int, *, lineage: bool) -> None:
    """Imports, builds, publishes and pulls."""
    from factory.audit.checks import NAMES
    from factory.importing.importer import Options, import_files
    from factory.prompts.settings import PromptSettings
    from factory.publishing.hub import Place
    from factory.publishing.publish import Asked, publish
    from factory.publishing.pull import pull
    from stores.lake import Lake
    from stores.training_sets import build_training_set

    file, lake = folder / "pairs.jsonl", str(folder / "lake")
    with file.open("w", encoding="utf-8") as out:
        for prompt, chosen, rejected in zip(prompts(rows), texts(rows, 1), texts(rows, 2), strict=True):
            out.write(json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}) + "\n")
    import_files(lake, [PromptSettings(source=str(file))], Options(licence="CC0-1.0"), lambda what, done: None)
    place = Place("user/pairs", "dataset")
    with Lake.open(lake) as opened:
        runs = opened.query("SELECT run_id FROM current_runs").column(0).to_pylist()
        built = build_training_set(opened, "imported_dpo", {}, runs)
        asked = Asked(place=place, lineage=lineage, allowed=NAMES)
        tell, tellings = timed()
        started, processor = time.perf_counter(), time.process_time()
        done = publish(opened, "imported_dpo@1", asked, tell)
        wall, used = time.perf_counter() - started, time.process_time() - processor
    ends = [at for _, at in tellings[1:]] + [time.perf_counter()]
    audits = 0.0
    for (words, at), end in zip(tellings, ends, strict=True):
        if words.startswith(("looking", "reading", "writing", "uploading")):
            print(f"  {words}: {end - at:.1f} s")
        else:
            audits += end - at
    print(f"  checks of the audit: {audits:.1f} s")
    print(f"published {rows:,} pairs, {done.size_bytes / 1e6:.1f} MB: {wall:.1f} s, {used:.1f} s of processor time")
    started = time.perf_counter()
    pulled = pull(place, str(folder / "pulled"), lambda words: None)
    print(f"pulled them: {time.perf_counter() - started:.1f} s")
    print(f"fingerprint there and back: {built.row.fingerprint[:16]} {pulled.fingerprint[:16]}")


def timed() -> tuple[Callable[[str], None], list[tuple[str, float]]]:
    """A function to tell, and what it was told when."""
    found: list[tuple[str, float]] = []
    return (lambda words: found.append((words, time.perf_counter()))), found


if __name__ == "__main__":
    main()
