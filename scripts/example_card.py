"""Writes docs/example-card.md: the card that `factory publish` makes of the demo's training set.

    python -m scripts.example_card                                  # runs the demo first: some minutes with the real model
    python -m scripts.example_card --lake lake --set spar_dpo@1     # from a lake that is there

The card is written by `factory publish --dry-run`, and nothing in it is changed but links to files that docs/ does not have.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from stores.lake import Lake
from stores.training_sets import find_training_set

DOCS = Path(__file__).parents[1] / "docs"
REPO = "user/demo"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.example_card")
    parser.add_argument("--lake", type=Path, help="a lake of the demo; made if it is not given")
    parser.add_argument("--set", default="spar_dpo", help="the training set")
    parser.add_argument("publishing", nargs="*", help="more options of `factory publish`, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        lake = options.lake or Path(temporary) / "lake"
        if options.lake is None:
            factory("run", "demo", "--lake", lake)
            factory("build", "spar_dpo", "-p", "held_out=0.25", "--lake", lake)
        out = Path(temporary) / "out"
        more = ["--against", "ifeval", "--against", "ifbench", "--with-lineage", *options.publishing]
        factory("publish", options.set, REPO, "--lake", lake, "--dry-run", out, *more)
        write(out, said_of(lake, options.set))


def factory(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "factory.cli", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def said_of(lake: Path, reference: str) -> str:
    """What the page says of the lake, from its rows."""
    with Lake.open(lake) as opened:
        row = find_training_set(opened, reference)
        given = {"runs": json.loads(row.parameters)["run_ids"]}
        asked = "FROM calls WHERE list_contains($runs, run_id) AND endpoint LIKE 'embedded:%' ORDER BY 1"
        models = opened.query(f"SELECT DISTINCT endpoint {asked}", given).column(0).to_pylist()
        taken = opened.query("SELECT count(*) FROM run_prompts WHERE list_contains($runs, run_id)", given)
    model = ", ".join(models) or "another model"
    return (
        f"{row.name}@{row.version} of a run of the recipe `demo` over {taken.column(0)[0].as_py()} prompts with {model}"
    )


def write(out: Path, said: str) -> None:
    """Writes the page and its plots."""
    card = (out / "README.md").read_text("utf-8")
    plots = DOCS / "example-card"
    shutil.rmtree(plots, ignore_errors=True)
    shutil.copytree(out / "plots", plots)
    card = card.replace("](plots/", "](example-card/")
    card = re.sub(r"\[(`[^`]+`)\]\((?!https?:|example-card/)[^)]*\)", r"\1", card)
    head = f"<!-- Made by `python -m scripts.example_card` from {said}. What `factory publish` wrote follows. -->\n"
    (DOCS / "example-card.md").write_text(head + card, "utf-8")
    print(f"wrote {DOCS / 'example-card.md'} from {said}")


if __name__ == "__main__":
    main()
