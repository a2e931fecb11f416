"""What a recipe says of a model is checked, and equal settings are known to be equal."""

from typing import Any

import msgspec
import pytest

from factory.inference.budget import BudgetSettings, Spending, cost_of
from factory.inference.journal import Spent
from factory.inference.settings import ModelSettings, VllmSettings

URL = "http://localhost:8000/v1"
VLLM = {"model": "hub/model", "args": {"max_model_len": 512, "hf_overrides": {"a": [1]}}}


def read(**given: Any) -> ModelSettings:
    return msgspec.convert(given, ModelSettings)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "key 'endpoint' is missing"),
        ({"endpoint": ["localhost:8000"]}, "'localhost:8000' is neither embedded:NAME nor a base URL"),
        ({"endpoint": ["http://me:sk-1@host/v1"]}, "endpoint holds a user or a key"),
        (
            {"endpoint": [URL, "embedded:smollm2-135m"]},
            "endpoint must be embedded:NAME, reward:FOLDER, or one or more base URLs",
        ),
        ({"endpoint": ["http://host/v1?api_key=sk-1"]}, "endpoint has a query or a fragment"),
        ({"endpoint": ["http://host/v1#sk-1"]}, "endpoint has a query or a fragment"),
        ({"endpoint": ["http://host/v1?"]}, "endpoint has a query or a fragment"),
        ({"endpoint": ["host/v1?api_key=sk-1"]}, "endpoint has a query or a fragment"),
        ({"endpoint": ["me:sk-1@host/v1"]}, "'host/v1' is neither embedded:NAME nor a base URL"),
        ({"endpoint": ["ftp://host/v1"]}, "'ftp://host/v1' is neither embedded:NAME nor a base URL"),
        ({"endpoint": ["http:///v1"]}, "is neither embedded:NAME nor a base URL"),
        ({"endpoint": ["http://host/v 1"]}, "is neither embedded:NAME nor a base URL"),
        ({"endpoint": ["http://host:99999/v1"]}, "endpoint is no URL (Port out of range"),
        ({"endpoint": ["http://[::1/v1"]}, "endpoint is no URL (Invalid IPv6 URL)"),
        ({"endpoint": [f"{URL}/chat/completions"]}, f"is the whole path of a request: give the base URL, '{URL}'"),
        ({"endpoint": [f"{URL}/models/"]}, f"give the base URL, '{URL}'"),
        ({"endpoint": [URL], "parameters": {"max_token": None}}, "did you mean 'max_tokens'?"),
        ({"endpoint": [URL], "parameters": {"top_p": "model"}}, "top_p cannot be sent as 'model'"),
        ({"endpoint": [URL], "parameters": {"top_p": "seed"}}, "top_p cannot be sent as 'seed'"),
        ({"endpoint": [URL], "parameters": {"top_p": "p", "seed": "p"}}, "two are sent as 'p'"),
        ({"endpoint": [URL], "max_reply_bytes": 10}, "max_reply_bytes"),
        ({"endpoint": [URL], "max_retry_after_s": 0}, "max_retry_after_s"),
        ({"endpoint": [URL], "vllm": VLLM}, "endpoint and vllm exclude each other"),
        ({"endpoint": [URL], "concurrency": 0}, "concurrency"),
        ({"endpoint": [URL], "timeout_s": 0}, "timeout_s"),
        ({"endpoint": [URL], "timeout_s": float("nan")}, "timeout_s"),
        ({"endpoint": [URL], "prompt_price": -1}, "prompt_price"),
        ({"endpoint": [URL], "timeout": 1}, "timeout"),
        ({"vllm": {"model": "x", "args": {"port": 1}}}, "args: 'port' is set by the run"),
        ({"vllm": {"model": "x", "args": {"api-key": "sk"}}}, "a key, which a recipe must not hold"),
        ({"vllm": {"model": "x", "start_timeout_s": 0}}, "start_timeout_s"),
        ({"vllm": {}}, "model"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        read(**given)
    assert sentence in str(caught.value)
    assert "sk-1" not in str(caught.value)


def test_settings_come_back_from_their_json() -> None:
    renamed = read(endpoint=[URL], parameters={"max_tokens": "max_completion_tokens", "n": None})
    for settings in (read(endpoint=[URL], prompt_price=0, name="a"), read(vllm=VLLM), renamed):
        assert msgspec.json.decode(msgspec.json.encode(settings), type=ModelSettings) == settings


def test_equal_settings_are_one_key() -> None:
    found = {read(vllm=VLLM): 1, read(endpoint=[URL]): 2}
    assert found[read(vllm=dict(VLLM))] == 1 and found[read(endpoint=[URL])] == 2
    assert read(vllm=VLLM | {"args": {"max_model_len": 1}}) not in found
    assert read(endpoint=[URL], parameters={"n": None}) not in found


def test_an_embedded_model_is_known_by_its_name() -> None:
    assert read(endpoint=["embedded:smollm2-135m"]).embedded == "smollm2-135m"
    assert read(endpoint=[URL]).embedded is None and read(vllm=VLLM).embedded is None
    assert VllmSettings(model="hub/model").deciding() == {"model": "hub/model", "args": {}}


@pytest.mark.parametrize("limit", ["max_requests", "max_tokens", "max_cost", "max_hours"])
def test_a_limit_is_above_0(limit: str) -> None:
    assert getattr(msgspec.convert({limit: 1}, BudgetSettings), limit) == 1
    with pytest.raises(msgspec.ValidationError, match=limit):
        msgspec.convert({limit: 0}, BudgetSettings)


def test_cost_is_by_the_role_s_prices() -> None:
    models = {"actor": read(endpoint=[URL], prompt_price=2, completion_price=4), "judge": read(endpoint=[URL])}
    assert cost_of(models, "actor", 1_000_000, 500_000) == 4.0
    assert cost_of(models, "judge", 1, 1) is None
    spending = Spending(models, BudgetSettings())
    spending.add_earlier({"actor": Spent(3, 1_000_000, 0), "judge": Spent(1, 5, 5)})
    assert (spending.requests, spending.tokens, spending.cost) == (4, 1_000_010, 2.0)


def test_vllm_with_a_folder_is_short_for_its_section() -> None:
    assert read(endpoint=["vllm:./base"]) == read(vllm={"model": "./base"})
    with pytest.raises(msgspec.ValidationError, match="exclude each other"):
        read(endpoint=["vllm:./base"], vllm=VLLM)
    with pytest.raises(msgspec.ValidationError, match="base is of an adapter that is embedded"):
        read(endpoint=[URL], base="./base")
