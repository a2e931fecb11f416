"""The real vLLM's scoring endpoint: the raw logit of a tiny classifier, equal to that of our own server."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from factory.inference.connect import connect
from factory.inference.settings import ModelSettings, VllmSettings
from factory.inference.vllm_server import serve
from factory.judges.reward_model import _NO_SAMPLING
from schemas.errors import FactoryError
from schemas.tables import Message
from tests.reward_models import make_reward_model, score_by_hand
from tests.servers import missing
from tests.training.tiny import needs_torch

pytestmark = [needs_torch, pytest.mark.real_model, pytest.mark.heavy]

COMMAND = Path(os.environ.get("VLLM_COMMAND", Path(__file__).resolve().parent.parent / ".venv-vllm" / "bin" / "vllm"))
ARGS = {"runner": "pooling", "dtype": "float32", "enforce_eager": True, "max_model_len": 256, "max_num_seqs": 4}
CONVERSATION = [Message("user", "Write about item 3."), Message("assistant", "Item 3 is good. P.S. Take care.")]


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[ModelSettings]:
    settings = VllmSettings(model=str(folder), command=str(COMMAND), args=ARGS)
    async with serve(settings, "rm", None) as server:
        os.environ["REWARD_KEY"] = server.api_key
        yield ModelSettings(endpoint=(f"reward:{server.base_url}",), api_key_env="REWARD_KEY")


async def score(settings: ModelSettings) -> float:
    async def forget(reply: object) -> None:
        return None

    async with connect("reward_model", settings) as endpoint:
        reply = await endpoint.ask(CONVERSATION, _NO_SAMPLING, 0, forget)
        assert endpoint.context_tokens == 256 and reply.prompt_tokens
        return float(reply.choices[0].text)


def test_vllm_gives_the_logit_that_our_own_server_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not COMMAND.exists():
        missing("vLLM's build for processors: make .venv-vllm/installed")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    make_reward_model(tmp_path / "reward", head_dim=32)
    make_reward_model(tmp_path / "two", outputs=2, head_dim=32)

    async def scored() -> tuple[float, float]:
        async with served(tmp_path / "reward") as settings:
            return await score(settings), await score(ModelSettings(endpoint=(f"reward:{tmp_path / 'reward'}",)))

    async def refused() -> None:
        async with served(tmp_path / "two") as settings:
            with pytest.raises(FactoryError, match="answered with 2 scores, and a reward model has one output"):
                await score(settings)

    theirs, ours = asyncio.run(scored())
    by_hand = score_by_hand(tmp_path / "reward", [{"role": m.role, "content": m.content} for m in CONVERSATION])
    assert ours == pytest.approx(by_hand, abs=2e-6)
    assert theirs == pytest.approx(by_hand, abs=1e-4)
    asyncio.run(refused())
