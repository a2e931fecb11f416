"""The table that compares methods: every figure is from rows, and what was done is not done again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.recipes.reading import RECIPES
from schemas.errors import FactoryError
from scripts.compare_methods import main, trained_recipes
from scripts.methods_table import BEGIN, END, put_in_page, table
from tests.completions import Tokens
from tests.scripted_endpoint import Request, running_endpoint


def script(request: Request) -> Sequence[Any]:
    """Answers of one to five words; the longer of two is preferred with certainty, in both orders."""
    asked = str(request.messages[-1]["content"])
    if "[Response 1]" not in asked:
        if request.n == 1:
            return ["the same"]
        return [" ".join(["word"] * (index % 5 + 1)) for index in range(request.n)]
    first, second = (asked.split(f"[Response {i}]\n")[1].split(f"\n[End of response {i}]")[0] for i in (1, 2))
    return [Tokens([("1", {"1": 1.0}) if len(first) > len(second) else ("2", {"2": 1.0})])] * request.n


def test_methods_share_prompts_and_each_row_has_what_its_rows_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_endpoint(script) as endpoint:
        given = ["--out", str(tmp_path / "m"), "--model", endpoint.url, "--prompts", "2", "--no-train"]
        given += ["--recipes", "sppo,spin,rlaif_dpo,delta"]
        main(given)
        asked = endpoint.stats().received
        first = capsys.readouterr().out
        main(given)
        assert endpoint.stats().received == asked and capsys.readouterr().out == first
        with pytest.raises(FactoryError, match="was begun with other options"):
            main([*given, "--max-tokens", "7"])
    rows = {
        line.split("|")[1].strip(" `"): [cell.strip() for cell in line.split("|")[2:]]
        for line in first.splitlines()[2:]
        if line
    }
    assert rows["sppo"][:3] == ["5 answers, 20 comparisons", "42", "21.0"] and rows["sppo"][4] == "2"
    assert rows["spin"][:3] == ["1 reference, 1 answer", "2", "1.0"]
    assert rows["rlaif_dpo"][:3] == ["2 answers, 2 comparisons", "6", "3.0"]
    assert [rows[name][6] for name in ("sppo", "spin", "rlaif_dpo")] == [
        "actor (sppo, 2)",
        "actor (dpo, 2)",
        "actor (dpo, 2)",
    ]
    # Both models say the same, so that nothing is to be learned.
    assert rows["delta"][4].startswith("0") and rows["delta"][6].startswith("not done: training set delta has no rows")
    likeness = json.loads((tmp_path / "m/figures/sppo.json").read_text())["trainings"]["actor"]["likeness"]
    assert rows["sppo"][7] == f"{likeness['value']:.2f} [{likeness['low']:.2f}, {likeness['high']:.2f}]"
    assert rows["sppo"][5] == "100 [34, 100] %"  # Wilson's, of 2 of 2 prompts
    prompts = [json.loads(line) for line in (tmp_path / "m/prompts.jsonl").read_text().splitlines()]
    assert len(prompts) == 2 and all(one["reference"] and one["instruction_id_list"] for one in prompts)


def test_a_changed_setting_makes_new_data_and_a_misspelt_recipe_is_named(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    with running_endpoint(script) as endpoint:
        given = [
            "--out",
            str(tmp_path / "m"),
            "--model",
            endpoint.url,
            "--prompts",
            "2",
            "--no-train",
            "--recipes",
            "delta",
        ]
        for answers in (2, 3):
            file.write_text(f"sppo: {{stages.sample.n: {answers}}}\n")
            main([*given[:-1], "sppo", "--settings", str(file)])
            figures = json.loads((tmp_path / "m/figures/sppo.json").read_text())
            assert (figures["data"]["answers"], figures["trainings"]["actor"]["rows"]) == (2 * answers, 2)
        for text, sentence in (
            ("spo: {stages.sample.n: 2}", "settings are given for spo, and there is no such recipe"),
            ("- sppo", "must be a mapping of recipes"),
            ("sppo: [", "cannot be read"),
        ):
            file.write_text(text)
            with pytest.raises(FactoryError, match=sentence):
                main([*given, "--settings", str(file)])


def test_preferences_are_imported_where_people_must_compare(tmp_path: Path) -> None:
    file = tmp_path / "preferences.jsonl"
    file.write_text('{"prompt": "Count to two.", "chosen": "One, two.", "rejected": "Two."}\n')
    out = tmp_path / "m"
    with running_endpoint(script) as endpoint:
        main(["--out", str(out), "--model", endpoint.url, "--prompts", "2", "--no-train", "--recipes", "rlhf",
              "--preferences", str(file)])  # fmt: skip
    found = json.loads((out / "figures/rlhf.json").read_text())
    assert (found["data"]["pairs"], found["data"]["imported answers"], found["data"]["requests"]) == (1, 2, 0)
    assert {role: one["rows"] for role, one in found["trainings"].items()} == {"reward": 1, "actor": 1}


def test_a_recipe_from_elsewhere_writes_nothing_outside_the_folder_nor_into_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = (RECIPES / "sppo.yaml").read_text("utf-8")
    (tmp_path / "mine.yaml").write_text(plain.replace("name: sppo", "name: ../../mine"))
    (tmp_path / "role.yaml").write_text(plain.replace("actor", "'/../<!-- methods: end -->'"))
    given = ["--out", str(tmp_path / "m"), "--source", "unread", "--no-train"]
    main([*given, "--recipes", f"{tmp_path / 'mine.yaml'},{tmp_path / 'role.yaml'}"])
    page = capsys.readouterr().out
    assert page.count("not done: the name") == 2 and END not in page
    assert {file.name for file in tmp_path.iterdir()} == {"m", "mine.yaml", "role.yaml"}
    assert {file.name for file in (tmp_path / "m/figures").iterdir()} == {"mine.json", "role.json"}
    with pytest.raises(FactoryError, match=r"cannot be a file's"):
        main([*given, "--recipes", "a/b|c.yaml"])


def test_a_trained_method_shows_its_losses_and_the_memory_of_its_trainer() -> None:
    data = {"prompts": 2, "requests": 8, "read": None, "written": 60, "pairs": 4, "answers": 4, "references": 0, "imported answers": 0,
            "judgements": 6, "comparisons": 0, "refinements": 0, "claims": 0, "checklist items": 0,
            "comparisons of judgements": 0, "prompts with a pair": 1, "prompts given": 2}  # fmt: skip
    training = {
        "trainer": "dpo",
        "rows": 4,
        "likeness": {"value": 0.256, "low": 0.2, "high": 0.3, "examples": 4},
        "loss": [0.6931, 0.5],
        "reward": [],
        "status": "finished",
        "peak_bytes": 2**30,
    }
    diverged = {**training, "status": "diverged", "trainer": "sppo"}
    online = {
        **training,
        "trainer": "online",
        "requests": 1200,
        "likeness": {"value": None},
        "loss": [0.0, 0.0],
        "reward": [0.25, 0.5],
    }
    text = table(
        {
            "a": {"data": data, "trainings": {"actor": training, "judge": diverged}},
            "b": {"trainings": {}, "reason": "no | <b>luck</b>"},
            "c": {"trainings": {"actor": online}},
        }
    )
    assert text.splitlines()[2:] == [
        "| `a` | 2 answers, 3 judgements | 8 | 2.0 | ? + 15 | 4 | 50 [9, 91] % | actor (dpo, 4) | 0.26 [0.20, 0.30] | 0.6931 → 0.5 | 1.00 GiB |",
        "|  |  |  |  |  |  |  | judge (sppo, 4) | 0.26 [0.20, 0.30] | 0.6931 → 0.5 (diverged) | 1.00 GiB |",
        "| `b` | – | – | – | – | – | – | not done: no \\| &lt;b&gt;luck&lt;/b&gt; | – | – | – |",
        "| `c` | – | – | – | – | – | – | actor (online, 4; 1,200 requests) | – | reward 0.25 → 0.5 | 1.00 GiB |",
    ]


def test_the_table_stands_in_its_page_between_two_marks(tmp_path: Path) -> None:
    page = tmp_path / "methods.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_in_page(page, "new\n")
    assert page.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(FactoryError, match="has no lines"):
        put_in_page(page, "new\n")


def test_every_recipe_that_trains_is_compared() -> None:
    assert {"sppo", "spin", "delta", "spar"} <= set(trained_recipes()) and "demo" not in trained_recipes()
