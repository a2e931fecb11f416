"""A model in a recipe: who serves it, how it is called, and what it costs."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from schemas.ids import weights_sha256
from schemas.settings import Settings, about

RESERVED = {"model", "served_model_name", "host", "port", "uds", "api_key", "hf_token", "revision"}
"""Arguments that a recipe must not set: the run sets them, or they hold keys."""
SPEED_ONLY = re.compile(
    r"(tensor|pipeline|data)_parallel_\w+|gpu_memory_utilization|max_num_seqs|max_num_batched_tokens|api_server_count"
    r"|distributed_executor_backend|disable_log_\w+|enable_log_\w+|\w*log_level|download_dir"
)
"""Arguments for speed and logging, which should not change any answer."""


class VllmSettings(Settings, frozen=True, kw_only=True):
    """How to start `vllm serve`."""

    model: Annotated[str, about("a folder of safetensors, or a hub id")]
    args: Annotated[
        dict[str, Any], about("flags of `vllm serve`, where tensor_parallel_size: 2 is --tensor-parallel-size 2")
    ] = msgspec.field(default_factory=dict)
    command: Annotated[str, about("the program, on PATH or by its path in its own environment")] = "vllm"
    start_timeout_s: Annotated[float, about("the time to load the weights, in seconds", above=0)] = 1800.0

    def __post_init__(self) -> None:
        for name in self.args:
            if name.replace("-", "_") in RESERVED:
                raise ValueError(
                    f"args: {name!r} is set by the run, or is a key, which a recipe must not hold: remove it"
                )

    def __hash__(self) -> int:
        return hash((self.model, self.command, self.start_timeout_s))  # a dict has no hash, but equal ones are equal

    @property
    def folder(self) -> Path | None:
        """Where the weights are; None: on a hub."""
        folder = Path(self.model).expanduser()
        return folder if folder.is_dir() else None

    def weights_sha256(self) -> str | None:
        """Of a folder's safetensors, computed as `factory train` does; None if there are none."""
        files = sorted(self.folder.glob("*.safetensors")) if self.folder else []
        return _sha256(tuple((file, file.stat().st_mtime_ns) for file in files)) if files else None

    def deciding(self) -> dict[str, Any]:
        """What answers depend on: the weights, wherever they are, and the arguments that affect more than speed."""
        args = {name.replace("-", "_"): value for name, value in self.args.items()}
        kept = {name: value for name, value in args.items() if not SPEED_ONLY.fullmatch(name)}
        return {"model": self.weights_sha256() or self.model, "args": kept}


@lru_cache
def _sha256(files: tuple[tuple[Path, int], ...]) -> str:
    return weights_sha256([file for file, _ in files])


class ModelSettings(Settings, frozen=True, kw_only=True):
    """A model: an OpenAI-compatible endpoint, or vLLM that the run starts. Equal settings share one connection."""

    endpoint: Annotated[
        tuple[str, ...],
        about("embedded:NAME, embedded:FILE.gguf, or one or more base URLs, such as http://localhost:8000/v1"),
    ] = ()
    vllm: Annotated[
        VllmSettings | None, about("a model that the run itself serves with `vllm serve`, instead of an endpoint")
    ] = None
    name: Annotated[str | None, about("the model's name at the endpoint; by default the only one it serves")] = None
    revision: Annotated[str | None, about("the version of a model behind a URL, recorded in the rows")] = None
    api_key_env: Annotated[str, about("the environment variable that holds the key; never the key itself")] = (
        "OPENAI_API_KEY"
    )
    api_key_file: Annotated[str | None, about("a file whose first line is the key, instead of the variable")] = None
    concurrency: Annotated[
        int, about("the most requests in flight at one server; the run finds the best number below it", least=1)
    ] = 256
    timeout_s: Annotated[float, about("the time for one request, in seconds", above=0)] = 600.0
    prompt_price: Annotated[float, about("the price of a million prompt tokens, in any currency", least=0)] | None = (
        None
    )
    completion_price: Annotated[float, about("the price of a million generated tokens", least=0)] | None = None

    def __post_init__(self) -> None:
        if self.vllm is not None:
            if self.endpoint:
                raise ValueError("endpoint and vllm exclude each other: keep one")
            return
        if not self.endpoint:
            raise ValueError("key 'endpoint' is missing: give it, or give vllm with the model for the run to serve")
        for address in self.endpoint:
            if not address.startswith(("embedded:", "http://", "https://")):
                raise ValueError(
                    f"endpoint: {address!r} is neither embedded:NAME nor a base URL such as http://localhost:8000/v1"
                )
            if urlsplit(address).username is not None:
                raise ValueError(
                    "endpoint holds a user or a key, which would be saved with the recipe: put the key in the "
                    "environment variable that api_key_env names, or in api_key_file"
                )
        if len(self.endpoint) > 1 and any(address.startswith("embedded:") for address in self.endpoint):
            raise ValueError("endpoint must be embedded:NAME, or one or more base URLs")

    @property
    def embedded(self) -> str | None:
        """The name of the embedded model; None if it is not embedded."""
        first = next(iter(self.endpoint), "")
        return first.removeprefix("embedded:") if first.startswith("embedded:") else None
