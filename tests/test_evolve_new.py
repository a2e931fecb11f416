"""New prompts after examples of the run's own, and Self-Rewarding's recipe end to end."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.recipes.reading import load_recipe, recipe_of
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from factory.stages.evolve import Settings, prepare, read_new
from factory.work.near_duplicates import Texts, rouge_words
from schemas.errors import FactoryError
from schemas.tables import Prompt, Run, RunPrompt
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.judging import asked, part
from tests.rows import asked as turns
from tests.rows import fill, minutes, row
from tests.runs import assert_same_tables, assert_sound, tables
from tests.scripted_endpoint import Request, running_endpoint
from tests.view_pages import pages_of

# Near duplicates


def test_rouge_l_is_twice_the_longest_common_subsequence_over_all_words() -> None:
    texts = Texts.of([("p1", "Name three red birds."), ("p2", "Write a poem about the sea, please!")])
    # name three birds: 3 of 4 and 4 words
    assert texts.nearest("Name, three BLUE birds", 0.7) == ("p1", pytest.approx(0.75))
    assert texts.nearest("Name three blue birds", 0.76) is None
    assert texts.nearest("!?", 0.7) is None
    assert rouge_words("Write_2 haikus: 春の海!") == ["write", "2", "haikus", "春", "の", "海"]


def test_the_nearest_text_is_found_whatever_its_length() -> None:
    draw = random.Random(5)
    texts = [(f"p{i}", " ".join(draw.choices("abcdef", k=draw.randint(1, 12)))) for i in range(200)]
    known = Texts.of(texts)

    def rouge_l(one: str, other: str) -> float:
        a, b = one.split(), other.split()
        best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                best[i + 1][j + 1] = best[i][j] + 1 if x == y else max(best[i][j + 1], best[i + 1][j])
        return 2 * best[-1][-1] / (len(a) + len(b))

    for _ in range(100):
        text = " ".join(draw.choices("abcdef", k=draw.randint(1, 12)))
        most = max(rouge_l(text, other) for _, other in texts)
        found = known.nearest(text, 0.7)
        assert (None if found is None else round(found[1], 9)) == (round(most, 9) if most >= 0.7 else None)


# Reading


@pytest.mark.parametrize(
    ("output", "prompt"),
    [
        ("Name a fish.", "Name a fish."),
        ("[Instruction 9]\nName a fish.\n[End of instruction 9]\n\n[Instruction 10]\nName a dog.", "Name a fish."),
        ("**New instruction:** Name a fish.", "Name a fish."),
        ("Instruction: Name a fish.\nAnd a dog.", "Name a fish.\nAnd a dog."),
        ("<think>Fish?</think>\n9. Name a fish.", "Name a fish."),
        ("Instructions are dull. Why?", "Instructions are dull. Why?"),
        ("None", None),
        ("[Instruction 9]\n", None),
        (" ", None),
    ],
)
def test_the_first_new_instruction_is_read(output: str, prompt: str | None) -> None:
    assert read_new(output) == prompt


def test_an_instruction_that_was_cut_off_is_none() -> None:
    assert read_new("Name a", "length") is None
    assert read_new("Name a fish.\n[End of instruction 9]\n[Instr", "length") == "Name a fish."


# What prompts may not resemble


def test_earlier_prompts_are_the_run_s_own_and_those_of_runs_that_began_before(lake: Lake) -> None:
    for place, run in enumerate(("before", "run", "after")):
        recipe = json.dumps({"stages": [{"stage": "evolve", "name": "evolve", "how": "new", "examples": 1}]})
        fill(lake, row(Run, f"{run}/0", run_id=run, recipe=recipe, started_at=minutes(place)),
             row(Run, f"{run}/1", run_id=run, recipe=recipe, attempt=1, started_at=minutes(10)))  # fmt: skip
        for name, evolved in (("given", False), ("made", True)):
            fill(lake, row(Prompt, f"{run}/{name}", messages=turns(f"{run} {name}")),
                 row(RunPrompt, f"{run}/{name}", run_id=run, prompt_id=f"{run}/{name}", evolved=evolved))  # fmt: skip
    pool = prepare(lake, "run", Settings(how="new", examples=1))
    assert pool is not None and sorted(pool.earlier.ids) == ["before/given", "before/made", "run/given"]
    assert pool.examples("run/given", 1) == "[Instruction 1]\nrun given\n[End of instruction 1]"
    assert prepare(lake, "run", Settings()) is None
    with pytest.raises(FactoryError, match="has 1 prompts, and stage evolve shows 8 as examples: take more"):
        prepare(lake, "run", Settings(how="new"))


# End to end


def script(request: Request) -> Sequence[str]:
    """A new prompt after examples (for the second given prompt nearly the third one, for the third none), four answers of
    1 to 4 words, and points by words; no difference between answers to the first prompt's offspring."""
    text = asked(request)
    if text.startswith("Below are instructions"):
        own = part(text, "Instruction 1")
        return [
            {
                "0": "Sing a song of birds.",
                "1": "Please say something about it, 2!",
                "2": "None",
                "3": "Draw three cats.",
            }[own[-1]]
        ]
    if "Score: " in text:
        words = len(part(text, "Response").split())
        return [f"Score: {3 if 'Sing' in part(text, 'Request') else words}"] * request.n
    return ["one", "two words", "now three words", "these are four words"][: request.n]


def document(url: str, prompts: str, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(load_recipe("self_rewarding").as_json())
    made["stages"][0] |= {"examples": 3, **changes}
    return {**made, "models": {role: {"endpoint": url} for role in made["models"]}, "prompts": {"source": prompts}}


def four_prompts(folder: Path) -> str:
    (folder / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": f"Say something about it, {i}"}) + "\n" for i in range(4))
    )
    return str(folder / "prompts.jsonl")


def test_self_rewarding_end_to_end_and_gone_on_with(tmp_path: Path) -> None:
    where = str(tmp_path / "lake")
    with running_endpoint(script) as endpoint:
        recipe = recipe_of(document(endpoint.url, four_prompts(tmp_path)), "recipe x")
        run_id = run_recipe(RunSpecification(recipe), where, Progress())
        assert endpoint.stats().received == 4 + 2 + 2 * 4
        whole = tables(where)
        with Lake.open(where) as lake:
            lake.remove("DELETE FROM judgements; DELETE FROM pairs", {}, message="killed", details={})
        run_recipe(RunSpecification(recipe), where, Progress())
        assert endpoint.stats().received == 14
    assert_same_tables(whole, tables(where))
    assert_sound(where)
    with Lake.open(where) as lake:
        made = lake.query(
            "SELECT p.messages[1].content AS text, o.messages[1].content AS parent FROM prompts AS p "
            "JOIN prompts AS o ON o.prompt_id = p.evolved_from ORDER BY text"
        ).to_pylist()
        notes = lake.query("SELECT note FROM calls WHERE note IS NOT NULL ORDER BY note").column(0).to_pylist()
        third = lake.query("SELECT prompt_id FROM prompts WHERE messages[1].content LIKE '%2'").column(0)[0].as_py()
        shown = (
            lake.query("SELECT messages[1].content FROM call_messages WHERE template = 'evolve'").column(0).to_pylist()
        )
        drift = lake.query("SELECT pairs, chosen_words, rejected_words, answer_words FROM drift").to_pylist()
        built = build_training_set(lake, "best_over_worst", {"held_out": 0.0}, [run_id])
    assert made == [
        {"text": "Draw three cats.", "parent": "Say something about it, 3"},
        {"text": "Sing a song of birds.", "parent": "Say something about it, 0"},
    ]
    # say something about it 2: 5 words in both, of 5 and 6
    assert notes == ["it holds no whole prompt", f"its prompt is left out: ROUGE-L 0.91 to prompt {third}"]
    assert len(shown) == 4 and all(text.count("[Instruction ") == 3 for text in shown)
    # Each given prompt is shown three times in all.
    assert [sum(f"about it, {i}\n" in text for text in shown) for i in range(4)] == [3] * 4
    assert drift == [{"pairs": 1, "chosen_words": 4.0, "rejected_words": 1.0, "answer_words": 2.5}]
    assert built.train.column("prompt").to_pylist() == [[{"role": "user", "content": "Draw three cats."}]]
    with pages_of(where) as pages, Lake.open(where) as lake:
        found = lake.query("SELECT evolved_from, prompt_id FROM prompts WHERE messages[1].content = 'Draw three cats.'")
        parent, child = (column[0].as_py() for column in found.columns)
        [pair_id] = built.train.column("pair_id").to_pylist()
        for page in (f"/prompt/{child}", f"/pair/{pair_id}"):
            assert f'href="/prompt/{parent}"' in pages.get(page).text


def test_too_few_prompts_for_the_examples_are_told_before_anything_is_paid_for(tmp_path: Path) -> None:
    with running_endpoint(script) as endpoint:
        recipe = recipe_of(document(endpoint.url, four_prompts(tmp_path), examples=5), "recipe x")
        with pytest.raises(FactoryError, match="has 4 prompts, and stage evolve shows 5 as examples"):
            run_recipe(RunSpecification(recipe), str(tmp_path / "lake"), Progress())
        assert endpoint.stats().received == 0
