"""Recipes: what they determine, and that mistakes are reported before any model is asked."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from factory.inference.settings import ModelSettings, VllmSettings
from factory.judges import score, verifier, votes
from factory.prompts.settings import PromptSettings
from factory.recipes.reading import RECIPES, load_recipe, recipe_of
from factory.recipes.recipe import Entry, Recipe
from factory.stages import evolve, sample, search
from factory.work.stage import stage_names
from schemas.errors import FactoryError
from tests.defaults import all_defaults

BUNDLED = sorted(file.stem for file in RECIPES.glob("*.yaml"))
SPAR: dict[str, Any] = yaml.safe_load((RECIPES / "spar.yaml").read_text("utf-8"))

_sampling = {
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1, exclude_min=True),
    "max_tokens": st.integers(1, 10_000),
    "model": st.sampled_from(["actor", "refiner"]),
}
_counts = st.integers(1, 9)
_models = st.builds(
    ModelSettings,
    endpoint=st.sampled_from(
        [("embedded:smollm2-135m",), ("http://localhost:8000/v1",), ("http://a:8000/v1", "https://b/v1")]
    ),
    name=st.none() | st.text(min_size=1),
    concurrency=_counts,
    timeout_s=st.floats(0.1, 1e6),
    api_key_file=st.none() | st.text(),
) | st.builds(
    ModelSettings,
    vllm=st.builds(
        VllmSettings,
        model=st.sampled_from(["hub/model", "another"]),
        args=st.dictionaries(st.sampled_from(["dtype", "max_model_len"]), st.booleans() | st.integers() | st.text()),
    ),
)
_search = st.builds(
    search.Settings,
    strategy=st.sampled_from(["bfs", "dfs", "best_of_n"]),
    selection=st.sampled_from(["greedy", "proportional"]),
    roots=st.sampled_from(["one", "every"]),
    threshold=st.floats(0, 1, exclude_max=True),
    **dict.fromkeys(("branch", "keep", "depth", "budget"), _counts),
    **_sampling,
)
_judge = st.builds(votes.Settings, votes=_counts, **_sampling) | st.builds(verifier.Settings)
_scores = st.builds(score.Settings, n=_counts, pass_points=st.none() | st.floats(1, 5), **_sampling)


def entries(stage: str, settings: st.SearchStrategy[Any], *names: str) -> st.SearchStrategy[list[Entry]]:
    """No entry of the stage, or one of each name."""
    return st.lists(st.sampled_from(names), unique=True).flatmap(
        lambda chosen: st.tuples(*(st.builds(Entry, st.just(stage), st.just(name), settings) for name in chosen))
    )


def entry(stage: str, settings: st.SearchStrategy[Any]) -> st.SearchStrategy[Entry]:
    return st.builds(Entry, st.just(stage), st.just(stage), settings)


_stages = st.tuples(
    entries("evolve", st.builds(evolve.Settings, **_sampling), "evolve"),
    st.tuples(entry("sample", st.builds(sample.Settings, n=_counts, **_sampling))),
    st.tuples(entry("judge", _judge)),
    entries("judge", _scores, "rubric", "another"),
    entries("search", _search, "search", "again"),
).map(lambda parts: tuple(one for part in parts for one in part))
recipes = st.builds(
    Recipe,
    name=st.text(),
    models=st.fixed_dictionaries({"actor": _models, "refiner": _models}),
    prompts=st.builds(
        PromptSettings,
        source=st.text(),
        limit=st.none() | _counts,
        columns=st.dictionaries(st.sampled_from(["prompt", "system"]), st.text()),
    ),
    stages=_stages,
    templates=st.sampled_from([{}, {"judge": "judge_json"}]),
    training_sets=st.lists(st.sampled_from(["spar_dpo", "spar_rft"])).map(tuple),
)


def changed(**overrides: Any) -> Recipe:
    return load_recipe("spar", {key.replace("__", "."): value for key, value in overrides.items()})


@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_recipe_loads_under_its_own_name(name: str) -> None:
    assert load_recipe(name).name == name


@given(recipes)
def test_a_recipe_comes_back_from_its_json(recipe: Recipe) -> None:
    again = recipe_of(json.loads(recipe.as_json()), "run x")
    assert again == recipe
    assert again.hash() == recipe.hash()


def test_a_mapping_of_stages_is_read_in_the_usual_order():
    older = {stage: {} for stage in ("search", "judge", "sample", "evolve")}
    recipe = recipe_of({**SPAR, "stages": older}, "x")
    assert [entry.name for entry in recipe.stages] == ["evolve", "sample", "judge", "search"]


def test_both_judges_are_the_verifier_and_votes_beside_it():
    recipe = changed(stages__judge__by="both")
    judges = recipe.entries("judge")
    assert [(entry.name, entry.judge_name, type(entry.settings)) for entry in judges] == [
        ("verifier", "verifier", verifier.Settings),
        ("judge", "votes", votes.Settings),
    ]


def test_the_hash_does_not_depend_on_who_serves_a_model_nor_on_the_prompts() -> None:
    here, there = changed(models__actor__endpoint="http://a/v1"), changed(models__actor__endpoint="http://b/v1")
    assert here.hash() == there.hash()
    assert (
        changed(prompts__limit=3, models__actor__timeout_s=1, description="other").hash() == load_recipe("spar").hash()
    )


@pytest.mark.parametrize(
    "change",
    [
        {"stages__search__depth": 2},
        {"stages__sample__temperature": 0.1},
        {"stages__judge__votes": 3},
        {"models__actor__endpoint": "http://a/v1"},
        {"models__actor__name": "another"},
        {"models__actor__revision": "abc"},
        {"templates__refine": "refine_brief"},
        {"stages__judge__verdict": "json"},
        {"stages__evolve": {}},
        {"pairs": ["best_over_worst"]},
    ],
    ids=str,
)
def test_the_hash_depends_on_all_that_is_asked(change: dict[str, Any]) -> None:
    assert changed(**change).hash() != load_recipe("spar").hash()


def served(model: object, revision: str | None = None, command: str = "vllm", **args: Any) -> str:
    vllm = {"model": str(model), "command": command, "args": args}
    return changed(models__actor={"vllm": vllm, "revision": revision}).hash()


def test_the_hash_depends_on_what_vllm_serves_and_not_on_how_fast() -> None:
    assert served("hub/a", tensor_parallel_size=4, max_num_seqs=8, command="/opt/vllm") == served("hub/a")
    different = [served("hub/b"), served("hub/a", "v2"), served("hub/a", dtype="float32"), served("hub/a")]
    assert len({*different}) == 4 and load_recipe("spar").hash() not in different
    assert served("hub/a", **{"max-model-len": 9}) == served("hub/a", max_model_len=9)


def test_the_hash_depends_on_the_weights_of_a_folder_and_not_on_its_place(tmp_path: Path) -> None:
    for name, weights in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(weights)
    a, b, c = (served(tmp_path / name) for name in "abc")
    assert a == b != c
    (tmp_path / "a" / "model.safetensors").write_bytes(b"22")
    assert served(tmp_path / "a") != a


def test_a_template_for_the_judge_cannot_hold_the_critique(tmp_path: Path) -> None:
    (tmp_path / "judge").write_text("{critique}")
    with pytest.raises(FactoryError, match=r"unknown placeholder \{critique\}: this template may use \{prompt\}"):
        changed(templates__judge=str(tmp_path / "judge"))


def test_the_hash_depends_on_what_is_in_a_template_not_on_its_place(tmp_path: Path) -> None:
    for name, text in (("a", "Mend it."), ("b", "Mend it."), ("c", "Mend it!")):
        (tmp_path / name).write_text(text)
    a, b, c = (changed(templates__refine=str(tmp_path / name)).hash() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"stages__search__dept": 2}, "stages.search: unknown key 'dept': did you mean 'depth'?"),
        ({"stages__serch__depth": 2}, "stages: unknown stage 'serch': did you mean 'search'?"),
        ({"stages__grow": {}}, f"unknown stage 'grow': it takes {', '.join(stage_names())}"),
        ({"stages__judge__kind": "vots"}, "unknown kind of judge 'vots': did you mean 'votes'?"),
        ({"pairs": ["best_over_wors"]}, "no pairing 'best_over_wors': did you mean 'best_over_worst'?"),
        ({"promts__limit": 2}, "unknown key 'promts': did you mean 'prompts'?"),
        ({"models__actor__timeout": 2}, "models.actor: unknown key 'timeout': did you mean 'timeout_s'?"),
        ({"prompts__xyz": 2}, "prompts: unknown key 'xyz': it takes source, limit, language, split, columns"),
        ({"templates__refiner": "refine_brief"}, "templates: unknown key 'refiner': did you mean 'refine'?"),
        ({"stages__judge__verdict": "jsn"}, "verdict: unknown value 'jsn': did you mean 'json'?"),
        ({"stages__search__strategy": "bsf"}, "strategy: unknown value 'bsf': did you mean 'bfs'?"),
        ({"training_sets": ["spar_dpoo"]}, "no training set 'spar_dpoo': did you mean 'spar_dpo'?"),
        ({"templates__refine": "refine_brie"}, "no prompt template 'refine_brie': did you mean 'refine_brief'?"),
    ],
)
def test_what_is_misspelt_is_named_with_the_nearest_right_one(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FactoryError) as caught:
        changed(**change)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"stages__search__branch": 0}, "branch must be at least 1, got 0 (it is the number of refinements per node"),
        ({"stages__search__threshold": 1.0}, "threshold must be in [0, 1), got 1.0"),
        ({"stages__sample__temperature": float("nan")}, "temperature must be in [0, 2], got nan"),
        ({"stages__sample__top_p": 0}, "top_p must be in (0, 1], got 0.0"),
        ({"stages__sample__n": True}, "n must be a whole number, got True"),
        ({"stages__sample__n": "five"}, "n must be a whole number, got 'five'"),
        ({"stages": "sample"}, "stages must be a list of entries such as {stage: sample, n: 5}, got 'sample'"),
        ({"stages": ["sample"]}, "an entry must be a mapping with the key 'stage', got 'sample'"),
        ({"stages__search__judge": "rubric"}, "stages.search.judge is 'rubric', but no judge before it has that name"),
        ({"stages__sample": 5}, "stages.sample must be a mapping, got 5"),
        ({"models": None}, "models must be a mapping, got None"),
        ({"models__actor__concurrency": 0}, "concurrency must be at least 1, got 0"),
        ({"models__actor__timeout_s": 0}, "timeout_s must be above 0, got 0.0"),
        ({"models__actor__endpoint": "localhost:8000"}, "is neither embedded:NAME nor a base URL"),
        ({"models__actor__endpoint": "http://me:sk-1@host/v1"}, "endpoint holds a user or a key"),
        ({"models__actor__vllm": {"model": "x"}}, "models.actor: endpoint and vllm exclude each other"),
        ({"models__actor": {"vllm": {}}}, "models.actor: vllm: key 'model' is missing"),
        ({"models__actor": {"vllm": {"model": "x", "arg": {}}}}, "unknown key 'arg': did you mean 'args'?"),
        ({"models__actor": {"vllm": {"model": "x", "args": {"port": 1}}}}, "vllm: args: 'port' is set by the run"),
        ({"models__actor": {"vllm": {"model": "x", "args": {"api-key": "sk"}}}}, "a key, which a recipe must not hold"),
        ({"prompts__limit": 0}, "limit must be at least 1, got 0"),
        ({"stages__search__model": "judge"}, "stages.search.model is 'judge', which is not in models (actor, refiner)"),
        ({"name__x": 1}, "override name.x: name is not a section"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_place_and_reason(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FactoryError) as caught:
        changed(**change)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        (["judge", "search"], "has no sample"),
        (["sample", "search"], "has search, but no judge before it"),
        (["sample", "search", "judge"], "has search, but no judge before it"),
        (["sample", "sample"], "stages has 'sample' twice"),
    ],
)
def test_a_stage_without_the_one_it_needs_is_refused(stages: list[str], sentence: str) -> None:
    document = {**SPAR, "stages": [{"stage": stage} for stage in stages]}
    with pytest.raises(FactoryError, match=sentence):
        recipe_of(document, "recipe x")


def test_a_search_by_points_needs_to_know_from_which_on_an_answer_passes() -> None:
    stages = [{"stage": "sample"}, {"stage": "judge", "kind": "score"}, {"stage": "search"}]
    with pytest.raises(FactoryError, match=r"set stages\.judge\.pass_points"):
        recipe_of({**SPAR, "stages": stages}, "recipe x")
    stages[1]["pass_points"] = 3
    assert recipe_of({**SPAR, "stages": stages}, "recipe x").stages[1].judge_name == "score"


def test_two_judges_of_one_kind_have_names_and_templates_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "strict.txt").write_text("Is this right? {prompt} {response}")
    stages = [{"stage": "sample"}, {"stage": "judge"}, {"stage": "judge", "name": "strict", "votes": 3}]
    document = {**SPAR, "stages": stages, "templates": {"strict.judge": str(tmp_path / "strict.txt")}, "pairs": None}
    recipe = recipe_of(document, "recipe x")
    assert [entry.judge_name for entry in recipe.entries("judge")] == ["votes", "strict"]
    assert recipe.template_texts["strict.judge"].startswith("Is this right?")
    assert recipe.template_texts["judge"] != recipe.template_texts["strict.judge"]


DEFAULTS = Path(__file__).parent / "data" / "defaults.json"


def test_a_changed_default_raises_the_version_that_ids_hash() -> None:
    """Adding a setting needs nothing; changing a default needs a raised DEFAULTS_VERSION.

    `python -m tests.defaults > tests/data/defaults.json` rewrites the file.
    """
    stored = json.loads(DEFAULTS.read_text("utf-8"))
    now = all_defaults()
    if stored["version"] == now["version"]:
        changed = [
            f"{section}.{name}"
            for section, settings in stored["settings"].items()
            for name, default in settings.items()
            if now["settings"].get(section, {}).get(name, "gone") != default
        ]
        assert changed == []


def test_a_missing_key_is_named() -> None:
    with pytest.raises(FactoryError, match=r"recipe x: models\.actor: key 'endpoint' is missing"):
        recipe_of({**SPAR, "models": {"actor": None}}, "recipe x")


def test_an_override_may_make_a_section_that_the_file_lacks() -> None:
    assert changed(prompts__columns__prompt="question").prompts.columns == {"prompt": "question"}


@pytest.mark.parametrize("content", [b"name: [", b"\xff\xfe\x00", b"- a list", b"word"])
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(FactoryError, match=r"recipe .*mine\.yaml (is not YAML|is not UTF-8|must be a mapping)"):
        load_recipe(str(tmp_path / "mine.yaml"))


def test_every_recipe_of_the_page_on_endpoints_can_be_read() -> None:
    page = (Path(__file__).parents[1] / "docs" / "endpoints.md").read_text("utf-8")
    shown = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(shown) == 4
    for text in shown:
        recipe_of({**SPAR, **yaml.safe_load(text)}, "docs/endpoints.md")


def test_an_unknown_recipe_lists_the_bundled_ones() -> None:
    with pytest.raises(FactoryError, match=f"no recipe 'own': give one of {', '.join(BUNDLED)}"):
        load_recipe("own")


def test_a_misspelt_file_is_named_with_the_nearest_there(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine")
    with pytest.raises(FactoryError, match=r"there is no recipe '.*/mien.yaml': did you mean '.*/mine.yaml'\?"):
        load_recipe(str(tmp_path / "mien.yaml"))
