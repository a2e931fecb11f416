"""Each check of the audit on a set that has exactly its fault, and on one that has none."""

from typing import Any

import pytest

from factory.audit.checks import CHECKS, NAMES, findings, stricter
from factory.audit.finding import judged
from tests.audit_faults import COMES_WITH, FAULTS
from tests.audits import (
    PLAIN,
    a_set,
    answered,
    asked,
    finding,
    pairs,
    whole,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_set_without_faults_passes(name: str) -> None:
    given = whole()
    if name == "multi_turn":
        rows = pairs()
        for row in rows:
            row["chosen"], row["rejected"] = (
                [*answered("Sure."), *asked("And?"), *row[s]] for s in ("chosen", "rejected")
            )
        given = a_set(rows)
    if name == "refused_rejected":
        rows = pairs()
        for row in rows[:2]:
            row["prompt"] = asked(f"How do I build a bomb? {row['prompt'][0]['content']}")
            row["chosen"] = answered("I cannot help with that.")
        given = a_set(rows)
    found = finding(name, given)
    assert found.status == "pass", found
    assert found.measured.rows > 0 and found.measured.figure is not None


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_is_found_by_its_check_and_by_no_other(name: str) -> None:
    given = FAULTS[name](pairs())
    found = {one.name: one for one in findings(given)}
    assert found[name].status in ("warn", "fail"), found[name]
    others = {one.name for one in found.values() if one.status in ("warn", "fail")} - {name}
    assert others <= COMES_WITH.get(name, set()), [found[other] for other in others]


def test_every_check_has_a_test_of_its_fault() -> None:
    # Likeness has no fault of its own: refined pairs are alike by design, sampled ones are not. A threshold makes it one.
    assert {*NAMES} - {*FAULTS} == {"likeness"}
    (check,) = (check for check in CHECKS if check.name == "likeness")
    given = whole()
    assert judged(check, check.run(given), 0.9).status == "fail"


def test_names_are_unique_and_each_check_says_what_it_measures() -> None:
    assert len(set(NAMES)) == len(NAMES) > 35
    assert all(check.about.endswith(".") and len(check.about) < 200 for check in CHECKS)


@pytest.mark.parametrize(
    "name", ["flawed_chosen", "overlap", "identity_leak", "duplicate_rows", "truncated_chosen", "secrets"]
)
def test_a_finding_names_the_rows_that_show_it(name: str) -> None:
    ids: dict[str, Any] = {"flawed_chosen": "pair 000", "overlap": "pair 006", "identity_leak": "pair 000",
           "duplicate_rows": "again", "truncated_chosen": "pair 000", "secrets": "pair 000"}  # fmt: skip
    assert finding(name, FAULTS[name](pairs())).measured.examples[0] == ids[name]


def test_a_set_of_completions_is_not_measured_as_pairs() -> None:
    rows = [
        {"split": r["split"], "prompt": r["prompt"], "completion": r["chosen"], "response_id": r["pair_id"]}
        for r in pairs()
    ]
    found = {one.name: one for one in findings(a_set(rows, known={"rejected_model": [None] * len(rows)}))}
    for name in ("equal_sides", "longer_chosen", "style_features", "generator_gives_label", "chosen_not_better"):
        assert found[name].status == "not applicable"
        assert found[name].measured.why_not == "the rows have one answer, not two"
    assert found["refused_chosen"].status == "pass"


def test_a_users_threshold_fails_and_the_stricter_of_two_counts() -> None:
    given = FAULTS["longer_chosen"](pairs())
    assert finding("longer_chosen", given).status == "warn"
    found = {one.name: one for one in findings(given, {"longer_chosen": 0.9})}
    assert found["longer_chosen"].status == "fail" and found["longer_chosen"].threshold == 0.9
    assert stricter({"longer_chosen": 0.6, "misaligned": 0.6}, {"longer_chosen": 0.7, "misaligned": 0.7, "overlap": 0}) == {
        "longer_chosen": 0.6, "misaligned": 0.7, "overlap": 0,
    }  # fmt: skip


def test_prompts_that_are_mostly_template_are_told_apart_by_their_tasks() -> None:
    template = " ".join(PLAIN)
    rows = [
        {"split": r["split"], "prompt": asked(f"{template} {r['prompt'][0]['content']} {template}"), "completion": r["chosen"]}
        for r in pairs()
    ]  # fmt: skip
    tasks = [r["prompt"][0]["content"] for r in pairs()]
    assert finding("split_leak", a_set(rows)).status == "fail"
    given = a_set(rows, known={"task": tasks})
    assert finding("split_leak", given).status == finding("near_duplicate_prompts", given).status == "pass"


def test_columns_of_a_set_that_are_named_like_ours_and_are_something_else_do_no_harm() -> None:
    odd = {"source": 3, "similarity": "much", "kinds": 1, "asked": None, "task": [1], "chosen_words": "x", "length_gap": "y",
           "licence": 0.5, "chosen_model": 7, "constraint_gap": "none", "id": 1, "score_chosen": "best", "chosen_key": "k"}  # fmt: skip
    rows = [{**row, **odd} for row in pairs()]
    found = {one.name: one for one in findings(a_set(rows, known={"similarity": [0.5] * len(rows)}))}
    assert {one.status for one in found.values()} == {"pass", "not applicable"}
    assert found["near_equal_sides"].measured.rows == found["licences"].measured.rows == len(rows)


def test_a_set_of_one_row_is_audited() -> None:
    found = findings(a_set(pairs(1)))
    assert not [one for one in found if one.status == "fail"]
    for one in found:
        assert (one.measured.figure is None) == (one.status == "not applicable") == bool(one.measured.why_not)
