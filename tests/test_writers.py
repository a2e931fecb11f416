"""Processes that write to one lake at the same time, as the workers of a run on a cluster do."""

import subprocess
import sys
from pathlib import Path

from schemas.tables import Model
from stores.lake import Lake

BATCHES = 6
# Every batch has an id of its own and one that the other writer adds too.
WRITES = """
import sys
from schemas.tables import Model
from stores.lake import Lake
rest = {"name": "", "origin": "", "revision": None, "training_run_id": None, "chat_template_hash": None}
with Lake.open(sys.argv[1]) as lake:
    print("ready", flush=True)
    sys.stdin.readline()
    for batch in range(int(sys.argv[3])):
        ids = [f"both {batch}", f"{sys.argv[2]} {batch}"]
        lake.append([Model(model_id=id, **rest) for id in ids], message="models")
"""


def test_an_id_that_two_writers_add_at_once_is_there_once(place: str) -> None:
    Lake.open(place, create=True).close()
    pipe, root = subprocess.PIPE, Path(__file__).parents[1]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITES, place, name, str(BATCHES)], stdin=pipe, stdout=pipe, text=True, cwd=root
        )
        for name in ("one", "other")
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
    assert [writer.wait() for writer in writers] == [0, 0]
    for writer in writers:
        writer.stdout.close()
    with Lake.open(place) as lake:
        ids = [model.model_id for model in lake.read(Model)]
    assert ids == sorted(f"{name} {batch}" for name in ("both", "one", "other") for batch in range(BATCHES))
