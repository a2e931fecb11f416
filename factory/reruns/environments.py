"""What differs between the original machine and this one: packages, threads, processor."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from schemas.errors import FactoryError

_CPU = re.compile(r"(?P<processor>.+), (?P<threads>\d+) threads on (?P<cores>\d+) cores")
DECIDING = ("threads", "processor", "hardware")
"""names that decide over the last digits beside the packages; the number of cores does not"""

Differences = dict[str, list[str | None]]
"""name -> its value then and now; None: not there"""


class Environment(msgspec.Struct, frozen=True):
    """What the trainer's own process says of itself (`trainers/environment.py`)."""

    package_versions: dict[str, str]
    hardware: str


def environment_of(hardware: str) -> dict[str, str]:
    """The variables under which the same training is repeated: as many threads as then, unless this machine was told otherwise."""
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    found = _CPU.fullmatch(hardware)
    threads = {"OMP_NUM_THREADS": found["threads"]} if found and int(found["threads"]) <= 1_024 else {}
    return {**threads, **os.environ, "PYTHONPATH": paths}


def environment_now(variables: Mapping[str, str]) -> Environment:
    """
    Raises:
        FactoryError: torch is not installed, or cannot be used.
    """
    command = [sys.executable, "-P", "-m", "trainers.environment"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(variables), check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        advice = " pip install 'preference-factory[train]'" if "No module named" in last else ""
        raise FactoryError(f"this machine cannot train ({last}):{advice or ' mend that first'}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Environment)


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> Differences:
    """The names whose values differ."""
    names = sorted({*then, *now})
    return {name: [then.get(name), now.get(name)] for name in names if then.get(name) != now.get(name)}


def of_training(packages: Mapping[str, str], hardware: str, now: Environment) -> Differences:
    """What differs between the machine that trained and this one."""
    return differences({**packages, **_parts(hardware)}, {**now.package_versions, **_parts(now.hardware)})


def _parts(hardware: str) -> dict[str, str]:
    found = _CPU.fullmatch(hardware)
    return found.groupdict() if found else {"hardware": hardware}


def in_words(found: Differences) -> str:
    """As in: torch 2.12.0 then, 2.13.0 now; threads 2 then, 4 now."""
    return "; ".join(
        f"{name} {then or 'not there'} then, {now or 'not there'} now" for name, (then, now) in found.items()
    )


def as_json(found: Differences) -> str:
    return json.dumps(found, sort_keys=True)
