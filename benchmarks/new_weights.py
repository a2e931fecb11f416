"""Seconds from the last step of a training to the first answer of the new weights, by the embedded server.

    python -m benchmarks.new_weights --model smollm2-135m

The model is loaded as a training holds it, in float32. Timed are: writing it as `factory train` does, and what the next
run does with the folder: hashing it, converting it to Q8_0 (the cache is empty), starting the server, and one answer of
one token. Scoring held-out examples after the last step is not counted: it depends on their number.
"""

import argparse
import asyncio
import os
import resource
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from factory.inference.connect import EMBEDDED_CONTEXT_TOKENS, EMBEDDED_SLOTS, connect
from factory.inference.folders import folder_sha256
from factory.inference.memory import serving_parts
from factory.inference.settings import ModelSettings
from factory.inference.weights import fetch


def write(model: str, folder: Path) -> float:
    """Writes a known model as a trained one; returns the seconds it took."""
    import torch

    from trainers.models import find_model, load_model, load_tokenizer, save_model

    base = find_model(str(fetch(model).path))
    loaded, tokenizer = load_model(base, torch.float32), load_tokenizer(base)

    def save(output: str) -> None:
        loaded.save_pretrained(output)
        tokenizer.save_pretrained(output)

    begun_s = time.monotonic()
    save_model(SimpleNamespace(model=loaded, save_model=save, is_world_process_zero=lambda: True), folder)
    return time.monotonic() - begun_s


async def first_answer(folder: Path) -> dict[str, float]:
    """The seconds of each step until the first answer."""
    seconds, begun_s = {}, time.monotonic()
    folder_sha256(folder)
    seconds["hash of the weights"] = time.monotonic() - begun_s
    begun_s = time.monotonic()
    fetch(str(folder))
    seconds["conversion to Q8_0"] = time.monotonic() - begun_s
    begun_s = time.monotonic()
    async with connect("actor", ModelSettings(endpoint=(f"embedded:{folder}",))) as endpoint:
        seconds["start of the server"] = time.monotonic() - begun_s
        begun_s = time.monotonic()
        assert await endpoint.answers()
        seconds["first answer"] = time.monotonic() - begun_s
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a known embedded model")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "actor-1"
        seconds = {"writing the folder": write(given.model, folder)}
        os.environ["PREFERENCE_FACTORY_CACHE"] = f"{place}/cache"
        seconds |= asyncio.run(first_answer(folder))
        reckoned = sum(serving_parts(folder, EMBEDDED_SLOTS, EMBEDDED_CONTEXT_TOKENS).values())
    for name, took_s in {**seconds, "in all": sum(seconds.values())}.items():
        print(f"{name:<22}{took_s:6.1f} s")
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"memory of the server: {most / 1e9:.2f} GB at most, reckoned before: {reckoned / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
