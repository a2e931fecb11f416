"""A model in a recipe: who serves it, how it is called, and what it costs."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from factory.inference.folders import base_of, folder_of, folder_sha256, is_adapter
from schemas.errors import nearest
from schemas.settings import Settings, about

SENT = ("temperature", "top_p", "max_tokens", "response_format", "logprobs", "top_logprobs", "seed", "n")
"""The parameters of a request, which an endpoint may know by another name or not at all."""
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
        return folder_of(self.model)

    def weights_sha256(self) -> str | None:
        """Of a folder's safetensors, computed as `factory train` does; None if there are none."""
        return folder_sha256(self.folder) if self.folder else None

    def deciding(self) -> dict[str, Any]:
        """What answers depend on: the weights, wherever they are, and the arguments that affect more than speed."""
        args = {name.replace("-", "_"): value for name, value in self.args.items()}
        kept = {name: value for name, value in args.items() if not SPEED_ONLY.fullmatch(name)}
        return {"model": self.weights_sha256() or self.model, "args": kept}


class ModelSettings(Settings, frozen=True, kw_only=True):
    """A model: an OpenAI-compatible endpoint, or vLLM that the run starts. Equal settings share one connection."""

    endpoint: Annotated[
        tuple[str, ...],
        about(
            "embedded:NAME, embedded:FILE.gguf, embedded:FOLDER or vllm:FOLDER of safetensors, or one or more base URLs, "
            "such as http://localhost:8000/v1; of a reward model, reward:FOLDER or reward: and a vLLM server's base URL"
        ),
    ] = ()
    vllm: Annotated[
        VllmSettings | None, about("a model that the run itself serves with `vllm serve`, instead of an endpoint")
    ] = None
    base: Annotated[
        str | None,
        about(
            "the model that a LoRA adapter (embedded:FOLDER) was trained on, if its adapter_config.json does not tell"
        ),
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
    max_reply_bytes: Annotated[int, about("the largest reply taken in, in bytes, unpacked", least=1024)] = 32 * 2**20
    max_retry_after_s: Annotated[
        float, about("the longest wait that an endpoint may ask for (Retry-After), in seconds", above=0)
    ] = 600.0
    parameters: Annotated[
        dict[str, str | None],
        about("request parameters that the endpoint knows by another name, or (null) that are not sent"),
    ] = msgspec.field(default_factory=dict)
    prompt_price: Annotated[float, about("the price of a million prompt tokens, in any currency", least=0)] | None = (
        None
    )
    completion_price: Annotated[float, about("the price of a million generated tokens", least=0)] | None = None

    def __post_init__(self) -> None:
        _check_parameters(self.parameters)
        if len(self.endpoint) == 1 and self.endpoint[0].startswith(_VLLM) and self.vllm is None:
            msgspec.structs.force_setattr(self, "vllm", VllmSettings(model=self.endpoint[0].removeprefix(_VLLM)))
            msgspec.structs.force_setattr(self, "endpoint", ())
        if self.base is not None and self.embedded is None:
            raise ValueError("base is of an adapter that is embedded (embedded:FOLDER): remove it")
        if self.vllm is not None:
            if self.endpoint:
                raise ValueError("endpoint and vllm exclude each other: keep one")
            return
        if not self.endpoint:
            raise ValueError("key 'endpoint' is missing: give it, or give vllm with the model for the run to serve")
        if self.is_reward and not all(address.startswith(_REWARD) for address in self.endpoint):
            raise ValueError("endpoint: a reward model's addresses all begin with reward:")
        if _REWARD in self.endpoint:
            raise ValueError("endpoint: reward: needs a folder or a base URL behind it, as in reward:models/reward")
        for address in self.urls:
            _check_base_url(address)
        if len(self.endpoint) > 1 and len(self.urls) < len(self.endpoint):
            raise ValueError("endpoint must be embedded:NAME, reward:FOLDER, or one or more base URLs")

    def __hash__(self) -> int:
        return hash((self.endpoint, self.vllm, self.name))  # a dict has no hash, but equal ones are equal

    @property
    def embedded(self) -> str | None:
        """The name of the embedded model; None if it is not embedded."""
        first = next(iter(self.endpoint), "")
        return first.removeprefix("embedded:") if first.startswith("embedded:") else None

    @property
    def is_reward(self) -> bool:
        """Whether it is a reward model, which scores a conversation and writes no text."""
        return any(address.startswith(_REWARD) for address in self.endpoint)

    @property
    def reward_folder(self) -> Path | None:
        """The folder of a reward model that the run itself serves; None: it is at a base URL, or is none."""
        return None if not self.is_reward or self.urls else Path(self.endpoint[0].removeprefix(_REWARD)).expanduser()

    @property
    def urls(self) -> tuple[str, ...]:
        """The base URLs of the servers that somebody else runs."""
        plain = (address.removeprefix(_REWARD) for address in self.endpoint if not address.startswith("embedded:"))
        return tuple(url for url in plain if not self.is_reward or url.startswith(("http://", "https://")))

    @property
    def sent_as(self) -> Mapping[str, str | None]:
        """`parameters`; a reward model is sent none of how text is sampled."""
        return dict.fromkeys(SENT) if self.is_reward else self.parameters

    @property
    def without_adapter(self) -> "ModelSettings | None":
        """The settings of an adapter's base model, which the same server can answer for; None: it is no adapter."""
        folder = folder_of(self.embedded) if self.embedded is not None else None
        if folder is None or not is_adapter(folder):
            return None
        base = (self.base or base_of(folder) or "").removeprefix("embedded:")
        return msgspec.structs.replace(self, endpoint=(f"embedded:{base}",), base=None)

    def deciding(self) -> dict[str, Any]:
        """What answers depend on: the model, not who serves it or where a folder of weights is."""
        embedded = self.embedded
        folder = folder_of(embedded) if embedded is not None else None
        asked = {
            "name": self.name,
            "revision": self.revision,
            "embedded": (folder_sha256(folder) if folder else None) or embedded,
            "reward": self._reward_identity(),
            "base": self.without_adapter.deciding()["embedded"] if self.without_adapter else None,
            "vllm": self.vllm.deciding() if self.vllm else None,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def _reward_identity(self) -> str | None:
        folder = self.reward_folder
        if folder is not None:
            return folder_sha256(folder) or str(folder)
        return "scores" if self.is_reward else None


_VLLM, _REWARD = "vllm:", "reward:"
_PATHS = ("/chat/completions", "/completions", "/models", "/responses")


def _check_base_url(address: str) -> None:
    """Refuses what is no base URL, or holds more than one should, without repeating what may be a key.

    Raises:
        ValueError: why, and what to give instead.
    """
    try:
        parts = urlsplit(address)
        host, _, user = parts.hostname, parts.port, parts.username
    except ValueError as error:
        raise ValueError(f"endpoint is no URL ({error}): give one such as http://localhost:8000/v1") from None
    if "@" in parts.netloc or user is not None:
        raise ValueError(
            "endpoint holds a user or a key, which would be saved with the recipe: put the key in the "
            "environment variable that api_key_env names, or in api_key_file"
        )
    if "?" in address or "#" in address:
        raise ValueError(
            "endpoint has a query or a fragment (? or #), which a base URL cannot have: the paths of its requests are "
            "put behind it, and a key in it would be saved with the recipe; leave it out, and put the key in the "
            "environment variable that api_key_env names, or in api_key_file"
        )
    if parts.scheme not in ("http", "https") or not host or re.search(r"\s", address):
        shown = address.rpartition("@")[2]
        raise ValueError(
            f"endpoint: {shown!r} is neither embedded:NAME nor a base URL such as http://localhost:8000/v1"
        )
    for path in _PATHS:
        if parts.path.rstrip("/").endswith(path):
            base = address.rstrip("/").removesuffix(path)
            raise ValueError(f"endpoint: {address!r} is the whole path of a request: give the base URL, {base!r}")


def _check_parameters(names: Mapping[str, str | None]) -> None:
    for name, other in names.items():
        if name not in SENT:
            raise ValueError(f"parameters: {name!r} is not sent with requests: {nearest(name, SENT, 'those are')}")
        taken = ("model", "messages", "stream", *(known for known in SENT if known != name))
        if other is not None and (not re.fullmatch(r"[A-Za-z]\w*", other) or other in taken):
            raise ValueError(
                f"parameters: {name} cannot be sent as {other!r}: give another name, or null to leave it out"
            )
    given = [other for other in names.values() if other is not None]
    if twice := next((other for other in given if given.count(other) > 1), None):
        raise ValueError(f"parameters: two are sent as {twice!r}: give each its own name")
