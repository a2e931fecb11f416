"""Bad input: one sentence (what, where, how to fix it), exit code 1, no traceback, and nothing lost."""

from pathlib import Path
from typing import Any

import pytest

from factory.inference.weights import MODELS
from tests.runs import answer
from tests.scripted_endpoint import Reply, Request, ScriptedEndpoint, running_endpoint
from tests.trouble.commands import Command, in_process_of_its_own, run_words, sentence, state


def test_a_mistyped_key_is_named_with_the_nearest_right_one(tmp_path: Path) -> None:
    outcome = in_process_of_its_own("run", "spar", "-o", "stages.search.dept=2", cwd=tmp_path)
    assert sentence(outcome) == "recipe spar.yaml: stages.search: unknown key 'dept': did you mean 'depth'?"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (
            ["run", "none.yaml"],
            [
                "no recipe 'none.yaml'",
                "give one of anchored, best_of_n_sft, best_over_worst, checklist, delta, demo",
            ],
        ),
        (["run", "spar", "--prompts", "none.jsonl"], ["no prompt file none.jsonl", "give a .jsonl"]),
        (["run", "spar", "-o", "templates.judge=none.txt"], ["no prompt template 'none.txt'", "give one of"]),
        (["run", "spar", "-o", "stages.search=[}"], ["'stages.search=[}'", "is not YAML"]),
        (["run", "spar", "-o", "stages.search"], ["'stages.search' must be KEY=VALUE"]),
        (["status", "--lake", "none"], ["no lake in none", "factory run"]),
        (["build", "spar_dpo"], ["lake lake has no such run", "factory run"]),
        (["build", "spar_dop"], ["no training set 'spar_dop'", "did you mean 'spar_dpo'?"]),
        (["resume", "none"], ["no run", "none"]),
        (["tree", "none"], ["trees has no row whose tree_id is", "factory sql 'FROM trees'"]),
        (["train", "dop", "--set", "a", "--model", "b"], ["no objective 'dop'", "give dpo"]),
        (["train", "dpo", "--set", "a", "--model", "embedded:none"], ["no embedded model 'none'", "smollm2-135m"]),
        (["sql", "SELECT 1", "-f", "csv", "--out", "none/rows.csv"], ["none/rows.csv cannot be used", "give another"]),
        (["sql", "SELECT nothing"], ["the query fails", "nothing"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_named(
    factory: Command, place: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], parts: list[str]
) -> None:
    monkeypatch.chdir(place.parent)
    said = sentence(factory(*words))
    assert all(part in said for part in parts), said


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["run", "mine"], "recipe"),
        (["run", "spar", "-o", "templates.judge=mine"], "prompt template"),
        (["build", "mine"], "training set"),
    ],
)
def test_a_file_of_the_user_s_own_that_is_not_utf_8_is_named(
    factory: Command, place: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], kind: str
) -> None:
    monkeypatch.chdir(place.parent)
    Path("mine").write_bytes("name: café\n".encode("latin-1"))
    assert sentence(factory(*words)).startswith(f"{kind} mine is not UTF-8 text (byte 10 is the first that is not)")


def test_a_broken_line_is_named_and_a_run_from_before_is_still_there(
    factory: Command, place: Path, endpoint: ScriptedEndpoint, prompts: Path
) -> None:
    assert factory(*run_words(place, endpoint.url, prompts))[0] == 0
    before = state(place)
    broken = prompts.with_name("broken.jsonl")
    broken.write_text('{"prompt": "a"}\n{"prompt": "b"\n')
    said = sentence(factory(*run_words(place, endpoint.url, broken)))
    assert f"{broken}, line 2: this is not JSON" in said and "fix or remove the line" in said
    assert state(place) == before
    broken.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    assert factory(*run_words(place, endpoint.url, broken))[0] == 0
    assert sorted(state(place).values()) == [("finished", 2), ("finished", 3)]


def test_an_empty_prompt_is_named(factory: Command, place: Path, endpoint: ScriptedEndpoint, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"prompt": "a"}\n{"prompt": "  "}\n')
    said = sentence(factory(*run_words(place, endpoint.url, tmp_path / "mine.jsonl")))
    assert "mine.jsonl, line 2: the prompt is empty" in said
    assert endpoint.stats().received == 0


def test_a_prompt_longer_than_the_context_is_set_aside_and_the_others_are_answered(
    factory: Command, place: Path, prompts: Path
) -> None:
    def short_of_context(request: Request) -> Any:
        if "rain" not in str(request.messages):
            return answer(request)
        words = "This model's maximum context length is 10 tokens."
        return Reply(400, {"error": {"message": words, "type": "invalid_request_error"}})

    with running_endpoint(short_of_context) as endpoint:
        said = sentence(factory(*run_words(place, endpoint.url, prompts)))
    assert "1 of 3 prompts" in said and "the first is prompt 2 (" in said
    assert "maximum context length is 10 tokens" in said and "shorten the prompt" in said
    assert list(state(place).values()) == [("finished", 2)]


def test_a_wrong_weight_file_is_named_and_left_where_it_is(
    factory: Command, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path))
    known = MODELS["smollm2-135m"]
    wrong = tmp_path / known.file_name
    wrong.write_bytes(b"GGUF, but another one")
    said = sentence(factory("run", "demo", "--lake", place))
    assert f"{wrong} is not the expected weight file" in said
    assert known.sha256 in said and "move it away or delete it" in said
    assert wrong.read_bytes() == b"GGUF, but another one"


def test_a_file_that_is_no_model_is_named(factory: Command, place: Path, prompts: Path) -> None:
    said = sentence(factory("run", "demo", "--lake", place, "--model", f"embedded:{prompts}"))
    assert f"{prompts} is not a GGUF file" in said


# How errors are shown


def test_debug_shows_the_traceback_wherever_it_stands() -> None:
    for words in (["--debug", "run", "none.yaml"], ["run", "none.yaml", "--debug"]):
        code, errors = in_process_of_its_own(*words)
        assert code == 1 and "Traceback" in errors and "there is no recipe 'none.yaml'" in errors


def test_debug_shows_the_traceback_of_a_trainer_too(factory: Command, place: Path) -> None:
    words = ["train", "dpo", "--set", "none@1", "--model", "base", "--lake", place]
    assert "has no training set none@1" in sentence(factory(*words))
    code, errors = factory("--debug", *words)
    assert code == 1 and "Traceback" in errors and "in find_training_set" in errors


@pytest.mark.parametrize(
    "words",
    [["rum"], ["run", "--limt", "3"], ["run", "--limit", "many"], ["expire"], ["expire", "--older-than-days", "-1"]],
)
def test_a_command_that_cannot_be_read_has_exit_code_2(factory: Command, words: list[str]) -> None:
    code, errors = factory(*words)
    assert code == 2 and "Usage:" in errors and "Traceback" not in errors


def test_what_others_wrote_cannot_steer_the_terminal(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text('name: "x"\nstages: {"\\e[31m\\n:smile: [bold]": 1}\nmodels: {}\n')
    said = sentence(factory("run", tmp_path / "a.yaml"))
    assert "\x1b" not in said and ":smile: [bold]" in said
