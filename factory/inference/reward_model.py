"""A reward model in a folder: served by a process of our own, on loopback, for the length of one block.

The process is `python -m trainers.scoring_server`: torch is loaded there alone, as by the trainers.
"""

import os
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from factory.inference.children import child_server
from factory.inference.embedded import EmbeddedServer, usable_cores
from schemas.errors import FactoryError

START_TIMEOUT_S = 600.0
"""a large model's weights take minutes to load"""


@asynccontextmanager
async def serve_reward_model(
    folder: Path, name: str, where: str, threads: int | None = None
) -> AsyncIterator[EmbeddedServer]:
    """Starts a server for the reward model in `folder`, yields it once it is healthy, and stops it at the end.

    Args:
        name: the model's name in requests.
        where: the setting that names the folder, for errors.
        threads: by default, all cores that this process may use.
    Raises:
        FactoryError: torch is not installed, the folder holds no sequence classifier with one output and a chat template,
            or it cannot be loaded.
    """
    key = secrets.token_urlsafe(32)
    settings = {
        "parent_pid": os.getpid(),
        "folder": str(folder),
        "where": where,
        "name": name,
        "api_key": key,
        "threads": threads or usable_cores(),
    }
    environment = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryFile() as log:
        starting = child_server(
            "trainers.scoring_server",
            settings,
            START_TIMEOUT_S,
            log,
            environment,
            partial(_explain, where, folder.name),
        )
        async with starting as (address, process):
            yield EmbeddedServer(f"{address}/v1", key, name, process)


def _explain(where: str, name: str, what: str, tail: str) -> FactoryError:
    return FactoryError(f"{where}: the server of the reward model {name} {what} ({tail or 'its log is empty'})")
