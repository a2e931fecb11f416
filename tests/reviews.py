"""A lake with pairs to review, for tests."""

from typing import Any

from schemas.tables import Message, Node, Pair, Prompt, Response, Run, Tree
from stores.lake import Lake
from stores.likeness import likeness
from tests.rows import fill, minutes, row, sampled, votes
from tests.sets import TEMPLATES


def pair_rows(number: int, chosen: str, rejected: str, prompt: str | None = None, **given: Any) -> list[Any]:
    """A prompt with two answers and the pair `pairN` of them."""
    words = likeness(chosen, rejected)
    id, flaw = f"p{number}", given.pop("flaw", None)
    return [
        row(Prompt, id, messages=[Message("user", prompt or f"question {number}")], source="by hand", language="en"),
        sampled(f"{id} good", prompt_id=id, text=chosen, model_id="model", flaw=flaw),
        sampled(f"{id} bad", prompt_id=id, text=rejected, model_id="model"),
        row(
            Pair, f"pair{number}", prompt_id=id, chosen_response_id=f"{id} good",
            rejected_response_id=f"{id} bad", similarity=words.similarity, length_ratio=words.length_ratio,
            shared_prefix_words=words.shared_prefix_words,
            **{"run_id": "run", "source": "refined_over_failed", "chosen_value": 1.0, "rejected_value": 0.0, **given},
        ),
    ]  # fmt: skip


RUN = row(
    Run, "event", run_id="run", recipe_name="demo", purpose="data", status="finished", templates=TEMPLATES, started_at=minutes(0)
)  # fmt: skip


def lake_of_pairs(lake: Lake, count: int = 3) -> None:
    """Pairs `pair1`, `pair2`, ...: the first longer, the second flawed, the third with a judge who disagrees."""
    rows: list[Any] = [RUN]
    for number in range(1, count + 1):
        kind = {1: "long", 2: "flawed", 3: "doubted"}.get(number, "plain")
        chosen = f"The answer {number} is right" + " and goes on and on" * (3 if kind == "long" else 0)
        rows += pair_rows(
            number, chosen, f"The answer {number} is wrong", flaw="preamble" if kind == "flawed" else None
        )
        for side, verdicts in (("good", "yyy"), ("bad", "nnn")):
            rows += votes(f"p{number} {side}", verdicts, prompt_id=f"p{number}", model_id="judging")
    for side, verdict in (("good", "n"), ("bad", "y")):
        rows += votes(f"p3 {side}", verdict, judge="strict", kind="votes", decides=False, prompt_id="p3")
    fill(lake, *rows)


def with_tree(number: int) -> list[Any]:
    """A pair from a search: the rejected answer at the root, the chosen one accepted below it."""
    id = f"p{number}"
    rows = pair_rows(number, "a better answer", "a worse answer", tree_id=f"t{number}", node_id=f"n{number}")
    return [
        *rows,
        row(Tree, f"t{number}", run_id="run", prompt_id=id, root_response_id=f"{id} bad", outcome="accepted",
            accepted_node_id=f"n{number}"),
        row(Node, f"r{number}", tree_id=f"t{number}", run_id="run", prompt_id=id, response_id=f"{id} bad",
            judged_response_id=f"{id} bad", state="open", value=0.0),
        row(Node, f"n{number}", tree_id=f"t{number}", run_id="run", prompt_id=id, parent_node_id=f"r{number}", depth=1,
            response_id=f"{id} good", judged_response_id=f"{id} good", state="accepted", value=1.0, call_id=f"c{number}"),
    ]  # fmt: skip


def texts(lake: Lake, ids: list[str]) -> list[str]:
    found = {one.response_id: one.text for one in lake.read(Response)}
    return [found[id] for id in ids]
