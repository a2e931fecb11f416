"""A stand-in for `vllm serve`: starts and dies like it, without its minute of starting.

`program(folder)` writes a command that takes the arguments of `vllm serve` and serves the scripted endpoint. Like
the real one it has a child process, here one that ignores requests to end.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.mock_endpoint import answer_factory
from tests.scripted_endpoint import Request, running_endpoint

ROOT = Path(__file__).resolve().parent.parent
answers_left: float = float("inf")
"""After so many answers it dies as if it was killed."""


def program(folder: Path, before: str = "") -> Path:
    """The command's file.

    Args:
        before: Python that it runs first.
    """
    file = folder / "vllm"
    file.write_text(
        f"#!{sys.executable}\nimport os, sys, time\nsys.path.insert(0, {str(ROOT)!r})\n{before}\n"
        "from tests.fake_vllm import main\nmain()\n"
    )
    file.chmod(0o755)
    return file


def answer(request: Request) -> Sequence[str]:
    global answers_left
    answers_left -= 1
    if answers_left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer_factory(request, yes_rate=0.35, words=12)


def main() -> None:
    command, model, *words = sys.argv[1:]
    assert command == "serve"
    options = dict(zip(words[::2], words[1::2], strict=False))
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"])
    told = {
        "model": model,
        "words": words,
        "pid": os.getpid(),
        "child": child.pid,
        "usage": "VLLM_NO_USAGE_STATS" in os.environ,
    }
    print(json.dumps(told), flush=True)
    with running_endpoint(
        answer,
        latency_ms=50,
        models=[options["--served-model-name"]],
        api_key=os.environ["VLLM_API_KEY"],
        port=int(options["--port"]),
    ):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        while True:
            time.sleep(60)
