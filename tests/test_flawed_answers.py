"""Flaws of answers: how each is found, and that no answer with one is accepted, preferred or imitated."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.search.tree_search import SearchNode, SearchTree, search_tree
from factory.stages.search import Settings as SearchSettings
from factory.stages.search import roots_of
from factory.templates.rendering import load_template
from factory.work.echo import Refined
from factory.work.flaws import flaw_of, opens_with_preamble
from factory.work.judging import Assessment
from schemas.tables import Node, Response, Tree
from stores.lake import Lake
from stores.pairing import load_pairing, unpaired
from stores.training_sets import NoRows, build_training_set
from tests.completions import Request, completion_body
from tests.rows import fill, row, sampled, votes
from tests.runs import answer, run_spar
from tests.scripted_endpoint import Reply, running_endpoint
from tests.sets import ALL, build, prompts
from tests.sets import pair as pair_row

LETTER = " ".join(f"word{i} and then word{i * 7}" for i in range(60))
LOOP = LETTER + " I am sorry, I cannot do that." * 40
DIALOGUE = (load_template("judge"), load_template("refine"))
BRIEF = (load_template("judge"), load_template("refine_brief"))

NOTE = (
    "Write a short note to my neighbour asking whether I may borrow her soup pot for Saturday. Use less than 30 words."
)
FAILED = "Hi Anna, may I borrow your pot on Saturday? I will bring it back on Sunday evening."
CRITIQUE = "The response has 31 words, but less than 30 were asked for: take out at least 2.\nFinal Judgement: No"


# How flaws are found


@pytest.mark.parametrize(
    ("text", "finish_reason", "flaw"),
    [
        (LETTER, "stop", None),
        (LETTER, None, None),
        (LETTER, "length", "unended"),
        (LOOP, "length", "repetitive"),
        (LOOP, "stop", "repetitive"),
        ("很抱歉我不能这样做" * 30, "length", "repetitive"),
        ("a text that the server stopped", "repetition", "repetitive"),
        ("no no no no no", "stop", None),
        ("", "stop", "empty"),
        (" \n\u200b\ufeff", "length", "empty"),
        ("Here is the revised response: yes", "stop", None),
    ],
)
def test_what_is_wrong_with_any_answer(text: str, finish_reason: str | None, flaw: str | None) -> None:
    assert flaw_of(text, finish_reason) == flaw


@pytest.mark.parametrize(
    ("text", "finish_reason", "flaw"),
    [
        ("the failed answer", "stop", "unchanged"),
        ("the failed answer\n", "stop", "unchanged"),
        ("the mended answer", "stop", None),
        (LETTER, "length", "unended"),
        (LOOP, "stop", "repetitive"),
    ],
)
def test_what_is_wrong_with_a_refined_answer(text: str, finish_reason: str, flaw: str | None) -> None:
    assert flaw_of(text, finish_reason, Refined("a prompt", "the failed answer")) == flaw


def test_the_end_of_an_answer_that_was_cut_off_is_not_whole_when_it_is_kept() -> None:
    cut = Refined("a prompt", f"One. {LETTER}", parent_flaw="unended")
    assert flaw_of(f"Two. {LETTER}", "stop", cut) == "unended"
    assert flaw_of(f"Two. {LETTER} and an end.", "stop", cut) is None


@pytest.mark.parametrize(
    ("text", "templates"),
    [
        ("The response has 31 words, but less than 30 were asked for. Hi Anna, may I borrow it?", BRIEF),
        ("Rewrite the text above. Hi Anna, may I borrow your pot?", BRIEF),
        ("Hi Anna. Keep every sentence that is not at fault as it is, word for word.", DIALOGUE),
        ("Hi Anna, may I?\n[End of response]", DIALOGUE),
        ("Hi Anna, may I?\n\nFinal Judgement: Yes", DIALOGUE),
        ("Hi Anna, may I?\n**Reflection:** it was too long.", DIALOGUE),
        (f"{NOTE}\n\nHi Anna, may I?", BRIEF),
        ("Write a short note to my neighbour asking whether I may borrow her soup pot for Saturday. Hi Anna!", BRIEF),
    ],
)
def test_an_echo_of_instruction_prompt_or_critique_is_found(text: str, templates: tuple[str, ...]) -> None:
    assert flaw_of(text, "stop", Refined(NOTE, FAILED, None, CRITIQUE, templates)) == "echo"


@pytest.mark.parametrize(
    ("text", "critique"),
    [
        ("Hi Anna, may I borrow your pot on Saturday? I will bring it back on Sunday.", CRITIQUE),
        # What the prompt or the answer before holds is no echo.
        ("Hi Anna, I write to ask whether I may borrow her soup pot for Saturday.", f"It must ask whether {NOTE}"),
        # A fact that the critique states, and words that it suggests, belong in the answer.
        (
            "The Battle of Hastings took place in 1066 in the south of England.",
            "The date is wrong. The Battle of Hastings took place in 1066 in the south of England.",
        ),
        (
            "Dear Anna, please let me know by Friday evening whether that suits you.",
            'The response lacks a closing sentence, such as "please let me know by Friday evening whether that suits you".',
        ),
        ("Reflection: a poem\nThe lake was still.", ""),
    ],
)
def test_an_answer_of_its_own_is_no_echo(text: str, critique: str) -> None:
    assert flaw_of(text, "stop", Refined(NOTE, FAILED, None, critique, BRIEF)) is None


def test_an_answer_that_is_only_words_of_the_prompt_is_an_echo() -> None:
    ending = 'The very last words of your answer must be "I hope this helps."'
    prompt = f"What did a town crier do?\n\n{ending} exactly as written here."
    assert flaw_of(ending, "stop", Refined(prompt, "He cried.")) == "echo"
    assert flaw_of("He called out the news. I hope this helps.", "stop", Refined(prompt, "He cried.")) is None


def test_a_prompt_that_is_to_be_repeated_is_no_echo() -> None:
    prompt = "First repeat this request word for word, then answer it: why is the sky blue?"
    assert flaw_of(f"{prompt} Because of scattering.", "stop", Refined(prompt, "Scattering.")) is None


def test_an_echo_is_found_in_chinese() -> None:
    critique = "回答缺少关键词“礼物”，应当在第二句话里面加入这个词。\n最终判断：否"
    refined = Refined(
        "给邻居写一张便条，借一口大汤锅，不超过三十个字。", "你好，我想借你的汤锅。", None, critique, BRIEF
    )
    assert flaw_of("你好。应当在第二句话里面加入这个词。", "stop", refined) == "echo"
    assert flaw_of("你好，周六能借你的汤锅吗？还有礼物给你。", "stop", refined) is None
    assert flaw_of("给邻居写一张便条，借一口大汤锅，不超过三十个字。你好！", "stop", refined) == "echo"


@pytest.mark.parametrize(
    "text",
    [
        "Here is the revised response:\nHi",
        "Sure, here's a note that is shorter: Hi",
        "Refined answer: Hi",
        "**Revised response:**\nHi",
        "Here's a revised version of the letter:",
        "Certainly! Here is the improved version of your story:",
        "I have rewritten the response to include the word.",
        "Below is the corrected text.",
        "Here is a response that meets all requirements:\nHi",
        "The response has been revised to leave out commas.",
        "以下是修改后的回答：\n你好",
        "好的，以下是三条建议：",
        "修改后的回答：你好",
        "改进版：\n你好",
        "我已经把回答改写了一遍：",
        "Hier ist die überarbeitete Antwort:",
        "Voici la réponse révisée :",
    ],
)
def test_an_answer_that_begins_by_talking_about_the_rewriting_has_a_preamble(text: str) -> None:
    assert flaw_of(text, "stop", Refined("a prompt", "Hi")) == "preamble"
    assert flaw_of(f"{text} there", "stop", Refined("a prompt", text)) is None  # it was there before the rewriting


@pytest.mark.parametrize(
    "text",
    [
        "Here is a new idea for dinner: pasta.",
        "Here is a story about a new message",
        "Here are three tips:\n1.",
        "Dear Anna, here is the revised schedule.",
        "Sure, I will be there on Saturday.",
        "Of course you can freeze it.",
        "I have changed the time of our meeting.",
        "Final answer: 42",
        "以下是三个建议：",
        "以下是修改密码的步骤：",
        "抱歉，我不能参加你的聚会。",
        "我已经修改了会议时间。",
    ],
)
def test_an_answer_that_begins_otherwise_has_none(text: str) -> None:
    assert not opens_with_preamble(text)


@given(st.text(), st.text(), st.text())
def test_any_text_has_a_flaw_or_none(text: str, parent: str, critique: str) -> None:
    flaw = flaw_of(text, "stop", Refined("a prompt", parent, None, critique, DIALOGUE))
    assert flaw in (None, "empty", "repetitive", "unended", "unchanged", "echo", "preamble")


# What a search does with them


def searched(children: dict[str, tuple[float, str | None]], root: str = "r", **changes: Any) -> SearchTree:
    """Searches a tree in which every expansion gives these children: text, value and flaw."""

    async def expand(parent: SearchNode, first: int, count: int) -> list[SearchNode]:
        return [
            SearchNode(parent, first + i, text, value, flaw=flaw)
            for i, (text, (value, flaw)) in enumerate(list(children.items())[first : first + count])
        ]

    settings = SearchSettings(**{"branch": len(children), "depth": 1, **changes})
    return asyncio.run(search_tree(SearchNode(None, 0, root, 0.0), expand, settings.strategy_of(), random.Random(0)))


def test_a_flawed_node_is_not_accepted_and_not_expanded_if_the_judge_passes_it() -> None:
    tree = searched({"cut": (1.0, "unended"), "whole": (0.6, None)})
    assert tree.accepted is tree.nodes[2]
    tree = searched({"cut": (1.0, "unended"), "near": (0.4, "echo")}, depth=2)
    assert (tree.outcome, tree.accepted) == ("exhausted", None)
    assert [node.state for node in tree.nodes[1:3]] == ["pruned", "open"]
    assert {node.parent for node in tree.nodes[3:]} == {tree.nodes[2]}


def test_a_flawed_node_is_accepted_if_the_recipe_says_so() -> None:
    tree = searched({"cut": (1.0, "unended"), "whole": (0.6, None)}, accept_flawed=True)
    assert tree.accepted is tree.nodes[1]


def test_eager_expansion_goes_on_after_a_flawed_child() -> None:
    tree = searched({"cut": (1.0, "unended"), "whole": (0.6, None), "more": (1.0, None)}, expansion="eager")
    assert [node.text for node in tree.nodes] == ["r", "cut", "whole"]


def test_of_equal_nodes_the_one_most_like_the_root_is_accepted() -> None:
    root = "the red cat sat on the old mat"
    children = {
        "a dog": (1.0, None),
        "the red cat sat on a mat": (1.0, None),
        "the cat": (1.0, None),
        root + "!": (0.8, None),
    }
    assert searched(children, root).accepted.text == "the red cat sat on a mat"  # type: ignore[union-attr]


# What becomes of them in pairs and training sets


def unended(id: str, **given: Any) -> Response:
    return sampled(id, text=f"text {id}", flaw="unended", **given)


def chosen(lake: Lake, pairing: str) -> list[tuple[str, str]]:
    found = unpaired(lake, "run", load_pairing(pairing))
    return [(pair.chosen_response_id, pair.rejected_response_id) for pair in found]


@pytest.mark.parametrize("pairing", ["best_over_worst", "all_ordered", "passing_over_failing"])
def test_a_flawed_answer_is_rejected_but_never_chosen(lake: Lake, pairing: str) -> None:
    fill(lake, unended("best"), *votes("best", "yyy"), sampled("good", text="text good"), *votes("good", "yyn"))
    fill(lake, unended("worst"), *votes("worst", "nnn"))
    assert chosen(lake, pairing) == [("good", "worst")]


def test_a_pairing_of_ones_own_cannot_choose_a_flawed_answer_either(lake: Lake, tmp_path: Path) -> None:
    fill(lake, unended("one"), sampled("other", text="text other"))
    (tmp_path / "mine.sql").write_text(
        "SELECT a.prompt_id, a.response_id AS chosen_response_id, b.response_id AS rejected_response_id, 1.0 AS chosen_value, "
        "0.0 AS rejected_value FROM responses AS a JOIN responses AS b ON a.response_id <> b.response_id "
        "WHERE a.run_id = $run_id ORDER BY 2"
    )
    assert chosen(lake, str(tmp_path / "mine.sql")) == [("other", "one")]


@pytest.mark.parametrize(("parameters", "pairs"), [("{}", 0), ('{"accept_flawed":true}', 1)])
def test_a_flawed_refinement_is_chosen_only_where_its_search_accepts_such(
    lake: Lake, parameters: str, pairs: int
) -> None:
    of_run = {"run_id": "run", "prompt_id": "p1"}
    fill(
        lake,
        *prompts(1),
        sampled("root", text="text root"),
        row(Response, "node", kind="refined", text="text node", flaw="unended", **of_run),
        row(
            Tree,
            "t",
            root_response_id="root",
            outcome="accepted",
            accepted_node_id="n",
            parameters=parameters,
            **of_run,
        ),
        row(Node, "r", tree_id="t", response_id="root", value=0.0, **of_run),
        row(
            Node, "n", tree_id="t", parent_node_id="r", response_id="node", value=1.0, flaw="unended", depth=1, **of_run
        ),
    )
    found = unpaired(lake, "run", load_pairing("refined_over_failed"))
    assert len(found) == pairs
    made = pair_row("made", "p1", "node", "root", tree_id="t")  # by an earlier version, which looked at no flaw
    fill(lake, made)
    if pairs:
        assert build_training_set(lake, "spar_dpo", ALL, ["run"]).train.num_rows == 1
    else:
        with pytest.raises(NoRows):
            build_training_set(lake, "spar_dpo", ALL, ["run"])


def test_a_flawed_answer_is_not_imitated(lake: Lake) -> None:
    built = build(
        lake,
        "best_of_n_sft",
        [*prompts(1), unended("best"), *votes("best", "yyy"), sampled("good", text="t"), *votes("good", "yyn")],
    )
    assert built.train.column("response_id").to_pylist() == ["good"]


def test_a_run_records_the_flaws_of_sampled_and_refined_answers_and_pairs_none(tmp_path: Path) -> None:
    def half_cut(request: Request) -> Any:
        body = completion_body(request, answer(request))
        if not ("Final Judgement" in str(request.messages[-1]) or request.body.get("response_format")):
            for choice in body["choices"][::2]:
                choice["finish_reason"] = "length"
        return Reply(200, body)

    with running_endpoint(half_cut) as endpoint:
        run_spar(tmp_path / "lake", endpoint.url)
    with Lake.open(tmp_path / "lake") as lake:
        said = lake.query("SELECT kind, finish_reason, flaw, count(*) AS n FROM responses GROUP BY ALL").to_pylist()
        assert {(r["kind"], r["finish_reason"], r["flaw"]) for r in said} == {
            (kind, reason, {"length": "unended", "stop": None}[reason])
            for kind in ("sampled", "refined")
            for reason in ("length", "stop")
        }
        differ = "SELECT * FROM nodes JOIN responses AS r USING (response_id) WHERE nodes.flaw IS DISTINCT FROM r.flaw"
        assert lake.query(differ).num_rows == 0
        assert lake.query("SELECT * FROM pairs").num_rows > 0
        assert (
            lake.query("FROM pairs JOIN responses ON response_id = chosen_response_id WHERE flaw IS NOT NULL").num_rows
            == 0
        )


def test_a_search_starts_from_a_whole_answer_if_one_has_failed() -> None:
    made = [sampled("cut", text="a", flaw="unended"), sampled("whole", text="b"), sampled("good", text="c")]
    judged = {r.response_id: Assessment(votes(r.response_id, "n" if r.text < "c" else "y"), []) for r in made}
    assert [root.response_id for root in roots_of(made, judged, False)] == ["whole"]
    assert [root.response_id for root in roots_of(made, judged, True)] == ["whole", "cut"]
