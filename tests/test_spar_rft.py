"""The refiner's own data: every class, its templates, its caps."""

from collections import Counter
from dataclasses import fields, replace
from typing import Any

from factory.templates.rendering import render
from schemas.ids import sha256_text
from schemas.tables import Call, Judgement, Node
from stores.lake import Lake
from stores.training_sets import (
    TrainingSetRows,
)
from tests.rows import row, votes
from tests.sets import RUN, TEMPLATES, answer, build, column, prompts, said, tree


def by_class(built: TrainingSetRows) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, id in zip(column(built, "class"), column(built, "id"), strict=True):
        found.setdefault(name, []).append(id)
    return found


def test_spar_rft_gives_four_turns_for_every_step_of_an_accepted_path(lake: Lake) -> None:
    nodes = {"r": "nnn", "ra": "nnn", "rb": "nnn", "raa": "yyy", "rab": "nnn"}
    built = build(lake, "spar_rft", [*prompts(1, 2), *tree(1, nodes, "raa"), *tree(2, {"r": "nnn", "ra": "nnn"})])
    assert by_class(built) == {"refinement": ["1ra", "1raa"]}
    _, last = built.train.to_pylist()
    assert said(last["prompt"]) == [
        ("user", render(TEMPLATES["judge"], prompt="question 1", response="text 1ra")),
        ("assistant", "1ra/0 says no"),
        ("user", render(TEMPLATES["refine"], prompt="question 1", response="text 1ra")),
    ]
    assert said(last["completion"]) == [("assistant", "output 1raa")]
    assert (last["prompt_id"], last["tree_id"], built.row.format) == ("p1", "t1", "prompt_completion")


def test_spar_rft_finds_the_critique_of_an_answer_that_was_judged_as_its_equal(lake: Lake) -> None:
    rows = tree(1, {"r": "nnn", "ra": "nnn", "rb": "", "rba": "yyy"}, "rba")
    equal = {
        "response_id": {"1rb": {"text": "text 1ra"}},
        "node_id": {"1rb": {"judged_response_id": "1ra"}, "1rba": {"critique_judgement_id": "1ra/0"}},
    }
    rows = [replace(made, **equal.get(key := fields(made)[0].name, {}).get(getattr(made, key), {})) for made in rows]
    built = build(lake, "spar_rft", [*prompts(1), *rows])
    assert by_class(built) == {"refinement": ["1rb", "1rba"]}
    assert said(built.train.to_pylist()[1]["prompt"])[1] == ("assistant", "1ra/0 says no")


def test_spar_rft_takes_one_critique_of_each_kind_a_tree_where_votes_disagreed(lake: Lake) -> None:
    nodes = {
        "r": "nny",
        "ra": "nyy",
        "rb": "yyn",
        "rc": "ynn",
        "rd": "nyn",
        "re": "yy",
        "rf": "nn",
        "rg": "yn",
        "rh": "uyyn",
    }
    built = build(lake, "spar_rft", [*prompts(1), *tree(1, nodes)])
    # The root is a sampled answer: its critique is a judgement of its own class.
    assert by_class(built) == {
        "negative critique": ["1rc/1"],
        "negative judgement": ["1r/0"],
        "positive critique": ["1ra/1"],
    }
    negative, *_ = built.train.to_pylist()
    assert said(negative["prompt"]) == [("user", render(TEMPLATES["judge"], prompt="question 1", response="text 1rc"))]
    assert said(negative["completion"]) == [("assistant", "1rc/1 says no")]


def test_spar_rft_takes_judgements_of_sampled_answers_where_votes_disagreed(lake: Lake) -> None:
    rows = [*prompts(1), *(answer(id, "p1") for id in "abcdef")]
    cast = {"a": "yyn", "b": "nny", "c": "yyy", "d": "nnn", "e": "yn", "f": "unyuy"}
    rows += [vote for id, said in cast.items() for vote in votes(id, said)]
    rows += votes("c", "n", judge="verifier")
    assert by_class(build(lake, "spar_rft", rows)) == {
        "negative judgement": ["b/0"],
        "positive judgement": ["a/0", "f/2"],
    }


def test_spar_rft_teaches_the_json_that_a_verdict_was_asked_for_in(lake: Lake) -> None:
    rows = tree(1, {"r": "nnn", "ra": "yny"}, "ra")
    rows = [replace(made, call_id="c") if isinstance(made, Judgement) else made for made in rows]
    asked_for_json = row(
        Call, "c", run_id="run", template="judge", parameters='{"response_format":{"type":"json_schema"}}'
    )
    built = build(lake, "spar_rft", [*prompts(1), *rows, asked_for_json])
    judged, refined = built.train.to_pylist()
    assert said(judged["completion"]) == [("assistant", '{"critique":"1ra/0 says yes","verdict":"yes"}')]
    assert said(refined["prompt"])[1] == ("assistant", "1r/0 says no")
    assert said(refined["completion"]) == [("assistant", "output 1ra")]


def test_spar_rft_asks_with_the_templates_that_were_used(lake: Lake) -> None:
    texts = {
        "judge": "not this one",
        "strict": "Strictly: {prompt} {response}",
        "refine": "nor this",
        "mend": "Mend it.",
    }
    rows = tree(1, {"r": "nnn", "ra": "yny"}, "ra")
    of_judgement = {"template_hash": sha256_text(texts["strict"]), "judge": "strict"}
    rows = [replace(made, **of_judgement) if isinstance(made, Judgement) else made for made in rows]
    rows = [replace(made, call_id="c") if isinstance(made, Node) and made.depth else made for made in rows]
    refining = row(Call, "c", run_id="run", template="mend")
    built = build(lake, "spar_rft", [*prompts(1), *rows, refining], replace(RUN, templates=texts))
    judged, refined = built.train.to_pylist()
    assert said(judged["prompt"]) == [("user", "Strictly: question 1 text 1ra")]
    assert [content for _, content in said(refined["prompt"])] == [
        "Strictly: question 1 text 1r",
        "1r/0 says no",
        "Mend it.",
    ]


def test_spar_rft_keeps_one_judgement_of_equal_answers_to_a_prompt(lake: Lake) -> None:
    rows: list[Any] = [*prompts(1, 2), answer("a", "p1", "same"), answer("b", "p1", "same"), answer("c", "p2", "same")]
    rows += [*votes("a", "yyn"), *votes("b", "nny"), *votes("c", "yyn", prompt_id="p2")]
    assert by_class(build(lake, "spar_rft", rows)) == {"negative judgement": ["b/0"], "positive judgement": ["c/0"]}


def test_spar_rft_keeps_to_each_class_cap(lake: Lake) -> None:
    rows: list[Any] = [*prompts(*range(1, 7))]
    for number in range(1, 7):
        rows += tree(number, {"r": "nny" if number % 2 else "nn", "ra": "nyy", "rb": "nny", "rc": "yyy"}, "rc")
        rows += [answer(f"s{number}", f"p{number}"), *votes(f"s{number}", "yyn", prompt_id=f"p{number}")]
    caps = {
        "refinements": 4,
        "positive_critiques": 3,
        "negative_critiques": 2,
        "positive_judgements": 5,
        "negative_judgements": 1,
    }
    built = build(lake, "spar_rft", rows, **caps)
    assert Counter(column(built, "class")) == {
        name.removesuffix("s").replace("_", " "): cap for name, cap in caps.items()
    }
    assert by_class(built)["refinement"] == ["1rc", "2rc", "3rc", "4rc"]
