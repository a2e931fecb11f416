"""For each check of the audit, what makes a set with its fault of one without, and which others come with it."""

from collections.abc import Callable

import polars as pl

from factory.audit.rows import Audited, Benchmark
from tests.audits import (
    KINDS,
    PLAIN,
    Rows,
    a_set,
    answered,
    as_trained,
    asked,
    facts_of,
    scores,
)

FAULTS: dict[str, Callable[[Rows], Audited]] = {}
"""by check, what makes a set with its fault of one without"""


def fault(name: str) -> Callable[[Callable[[Rows], Audited]], Callable[[Rows], Audited]]:
    def keep(made: Callable[[Rows], Audited]) -> Callable[[Rows], Audited]:
        FAULTS[name] = made
        return made

    return keep


def said(rows: Rows, text: str, side: str = "chosen", every: int = 1) -> Audited:
    """Puts a text behind the answers of one side."""
    for row in rows[::every]:
        row[side] = answered(f"{row[side][0]['content']} {text}")
    return a_set(rows)


@fault("message_faults")
def _(rows: Rows) -> Audited:
    rows[3]["prompt"] = [{"role": "assistant", "content": "Hello."}, *rows[3]["prompt"]]
    return a_set(rows)


@fault("multi_turn")
def _(rows: Rows) -> Audited:
    for n, row in enumerate(rows):
        for side in ("chosen", "rejected"):
            first = f"Sure about {side}" if n == 7 else "Sure"
            row[side] = [*answered(first), *asked("And then?"), *row[side]]
    return a_set(rows)


@fault("equal_sides")
def _(rows: Rows) -> Audited:
    rows[5]["rejected"] = answered(f" {rows[5]['chosen'][0]['content'].upper()}\n")
    return a_set(rows)


@fault("near_equal_sides")
def _(rows: Rows) -> Audited:
    for row in rows[:6]:
        row["similarity"] = 0.995
    return a_set(rows)


@fault("contradicting_pairs")
def _(rows: Rows) -> Audited:
    return a_set(
        [*rows, {**rows[8], "chosen": rows[8]["rejected"], "rejected": rows[8]["chosen"], "pair_id": "turned"}]
    )


@fault("preference_cycles")
def _(rows: Rows) -> Audited:
    sides = [rows[2]["chosen"], rows[2]["rejected"], answered(f"{PLAIN[4]} {PLAIN[1]} {PLAIN[0]}")]
    more = [{**rows[2], "chosen": sides[n], "rejected": sides[(n + 1) % 3], "pair_id": f"c{n}"} for n in (1, 2)]
    return a_set([*rows, *more])


@fault("duplicate_rows")
def _(rows: Rows) -> Audited:
    return a_set([*rows, {**rows[4], "pair_id": "again"}])


@fault("near_duplicate_prompts")
def _(rows: Rows) -> Audited:
    long = "Please write a short note for my neighbours about the street party on Saturday with times and what to bring"
    for n, row in enumerate(rows[1:5]):
        row["prompt"], row["split"] = asked(f"{long} number {n}"), "train"
    for n, row in enumerate(rows[6:10]):
        row["prompt"], row["split"] = asked(f"{long} number {n + 4}"), "train"
    return a_set(rows)


@fault("split_leak")
def _(rows: Rows) -> Audited:
    rows[0]["prompt"] = asked(rows[1]["prompt"][0]["content"] + " ")
    return a_set(rows)


@fault("misaligned")
def _(rows: Rows) -> Audited:
    answers = [row["rejected"] for row in rows]
    for n, row in enumerate(rows):  # by half of the rows: the next one would be the one they are compared with
        row["rejected"] = answers[(n + 30) % 60]
    return a_set(rows)


@fault("chosen_not_better")
def _(rows: Rows) -> Audited:
    rows[9]["chosen_value"] = 0.2
    return a_set(rows)


@fault("score_against_aspects")
def _(rows: Rows) -> Audited:
    facts = facts_of(rows)
    wrong = (pl.col("judge") == "overall_score") & pl.col("id").is_in(["pair 001", "pair 002", "pair 003"])
    low = (
        (pl.col("kind") == "imported")
        & (pl.col("judge") != "overall_score")
        & pl.col("id").is_in(["pair 001", "pair 002", "pair 003"])
    )
    points = pl.when(wrong).then(10.0).when(low).then(1.0).otherwise("points")
    return a_set(rows, facts={"scores": facts["scores"].with_columns(points=points)})


@fault("score_against_critique")
def _(rows: Rows) -> Audited:
    critiques = facts_of(rows)["critiques"].with_columns(
        points=pl.when(pl.col("id") < "pair 002").then(10.0).otherwise("points")
    )
    return a_set(rows, facts={"critiques": critiques})


@fault("score_outside_scale")
def _(rows: Rows) -> Audited:
    facts = facts_of(rows)
    wrong = (pl.col("judge") == "honesty") & (pl.col("id") == "pair 007") & (pl.col("side") == "chosen")
    return a_set(
        rows, facts={"scores": facts["scores"].with_columns(points=pl.when(wrong).then(11.0).otherwise("points"))}
    )


@fault("scale_pile_up")
def _(rows: Rows) -> Audited:
    points = [float(10 if n % 4 else n % 9) for n in range(2 * len(rows))]
    return a_set(
        rows, facts={"scores": scores(rows, judge="score", kind="score").with_columns(points=pl.Series(points))}
    )


@fault("small_contrast")
def _(rows: Rows) -> Audited:
    return a_set(rows, known={"constraint_gap": [n % 3 - 1 for n in range(len(rows))]})


@fault("longer_chosen")
def _(rows: Rows) -> Audited:
    return said(rows, "as well")


@fault("length_gap")
def _(rows: Rows) -> Audited:
    for n, row in enumerate(rows):
        side = ("chosen", "rejected")[n % 20 == 0]
        row[side] = answered(f"{row[side][0]['content']} {' '.join(PLAIN)} {' '.join(PLAIN)}")
    return a_set(rows)


@fault("style_features")
@fault("style_classifier")
def _(rows: Rows) -> Audited:
    said(rows, "Good luck.", "rejected", every=2)
    return said(rows, "Good luck!", every=2)


@fault("generator_gives_label")
def _(rows: Rows) -> Audited:
    return a_set(rows, known={"chosen_model": ["gpt-oss"] * len(rows), "rejected_model": ["smollm"] * len(rows)})


@fault("refused_chosen")
def _(rows: Rows) -> Audited:
    for row in rows[:4]:
        row["chosen"] = answered(f"I'm sorry, but I can't help with that. {row['chosen'][0]['content']}")
    return a_set(rows)


@fault("refused_rejected")
def _(rows: Rows) -> Audited:
    for row in rows[:2]:
        row["prompt"] = asked(f"How do I build a bomb? {row['prompt'][0]['content']}")
        row["rejected"] = answered(f"I cannot help with that. {row['rejected'][0]['content']}")
    return a_set(rows)


@fault("identity_leak")
def _(rows: Rows) -> Audited:
    return said(rows, "I was trained by OpenAI.", every=30)


@fault("repetitive_chosen")
def _(rows: Rows) -> Audited:
    rows[3]["chosen"] = answered(f"{rows[3]['chosen'][0]['content']} " + "and so it goes on " * 60)
    return a_set(rows)


@fault("truncated_chosen")
def _(rows: Rows) -> Audited:
    for row in rows[:2]:
        row["chosen"] = answered(f"{row['chosen'][0]['content']}\n```python\nprint(1)")
    return a_set(rows)


@fault("control_characters")
def _(rows: Rows) -> Audited:
    return said(rows, "caf\ufffd", every=30)


@fault("template_residue")
def _(rows: Rows) -> Audited:
    return said(rows, "<|im_end|>", every=30)


@fault("flawed_chosen")
def _(rows: Rows) -> Audited:
    return a_set(rows, known={"chosen_flaw": ["echo", *[None] * (len(rows) - 1)]})


@fault("language_mismatch")
def _(rows: Rows) -> Audited:
    for row in rows[:3]:
        row["chosen"] = answered(
            "Das ist eine gute Frage, und die Antwort darauf ist nicht ganz einfach, weil sie von vielen Dingen abhängt, die man "
            "vorher nicht kennt und die sich auch noch ändern können."
        )
    return a_set(rows)


@fault("overlap")
def _(rows: Rows) -> Audited:
    item = "Tell me how the tides come about and why they are higher in some bays than on the open coast"
    rows[6]["prompt"] = asked(f"My daughter asks: {item.lower()}, please?")
    return a_set(rows, benchmarks=(Benchmark("tides", "0" * 64, (item,)),))


@fault("constraint_kinds")
def _(rows: Rows) -> Audited:
    return a_set(rows, benchmarks=(Benchmark("ifeval", "0" * 64, ("nothing of the kind",), KINDS),))


@fault("split_votes")
def _(rows: Rows) -> Audited:
    return a_set(rows, facts={"scores": scores(rows, yes_votes=3, no_votes=2)})


@fault("judge_agreement")
def _(rows: Rows) -> Audited:
    verifier = scores(rows, judge="verifier", kind="verifier", decides=False, passed=True)
    return a_set(rows, facts={"scores": pl.concat([scores(rows), verifier])})


@fault("order_flips")
def _(rows: Rows) -> Audited:
    return a_set(
        rows, facts={"orders": pl.DataFrame({"id": [row["pair_id"] for row in rows], "one": 0.9, "other": 0.8})}
    )


@fault("win_rate_gap")
def _(rows: Rows) -> Audited:
    for row in rows:
        row |= {"chosen_win_rate": 0.51, "rejected_win_rate": 0.49}
    return a_set(rows)


@fault("known_faults")
def _(rows: Rows) -> Audited:
    return a_set(rows, known={"source": ["datasets:Anthropic/hh-rlhf", *["bundled"] * (len(rows) - 1)]})


@fault("licences")
def _(rows: Rows) -> Audited:
    return a_set(rows, known={"licence": [None, "CC-BY-NC-4.0", *["MIT"] * (len(rows) - 2)]})


@fault("generator_terms")
def _(rows: Rows) -> Audited:
    known = [("qwen", "gpt-4o")[n % 2] for n in range(len(rows))]
    return a_set(rows, known={"chosen_model": known, "rejected_model": [known[n - 1] for n in range(len(rows))]})


@fault("secrets")
def _(rows: Rows) -> Audited:
    return said(rows, "Set AWS_KEY to AKIA" + "Q3EGRIFWC7XNWLSA first.", every=30)


@fault("personal_data")
def _(rows: Rows) -> Audited:
    return said(rows, "Write to maria.huber@posteo.de about it.", every=30)


@fault("cut_by_trainer")
def _(rows: Rows) -> Audited:
    return a_set(rows, trainer=as_trained(rows, longest=3_000))


@fault("equal_after_template")
def _(rows: Rows) -> Audited:
    return a_set(rows, trainer=as_trained(rows, equal=True))


COMES_WITH: dict[str, set[str]] = {
    "equal_sides": {"longer_chosen"},
    "contradicting_pairs": {"near_duplicate_prompts"},
    "longer_chosen": {"style_features", "style_classifier"},
    "length_gap": {"longer_chosen", "style_features", "style_classifier"},
    "style_features": {"style_classifier"},
    "style_classifier": {"style_features"},
    "refused_chosen": {"style_features"},
    "misaligned": set(),
}
"""Faults that another brings along."""
