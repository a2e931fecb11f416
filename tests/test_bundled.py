"""The bundled prompts: enough of them, no two alike, the same for a seed, none impossible."""

import importlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import cycle, islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.prompts.bundled import bundled_prompts, read_tasks
from factory.verifier.checkers import known_kinds, kwargs_of
from factory.verifier.conflicts import kinds_conflict, why_impossible
from factory.verifier.constraints import describe, read_constraint_table, verify
from factory.verifier.drawing import TASK_KINDS, suitable_kinds
from schemas.ids import canonical_json
from schemas.tables import Prompt

SEEDS = (0, 1, 2)
PROMPTS = [prompt for seed in SEEDS for prompt in bundled_prompts(seed)]

seeds = st.integers(min_value=0, max_value=2**31 - 1)


def test_there_are_enough_tasks_subjects_and_chinese_tasks() -> None:
    tasks = read_tasks()
    assert len(tasks) >= 200
    assert len({task.subject for task in tasks}) >= 10
    assert sum(task.language == "zh" for task in tasks) >= 24
    assert {task.language for task in tasks} == {"en", "zh"}


def test_no_two_tasks_have_the_same_text() -> None:
    texts = [re.sub(r"\W+", " ", task.text.lower()).strip() for task in read_tasks()]
    assert all(texts)
    assert len(texts) == len(set(texts))


def test_every_task_has_a_known_kind_and_keywords_of_its_own() -> None:
    for task in read_tasks():
        assert task.kind in TASK_KINDS
        assert 3 <= len(set(task.keywords)) == len(task.keywords) <= 6
        assert not [word for word in task.keywords if word in task.text.lower()]
        assert all(re.fullmatch(r"[\w-]+", word) for word in task.keywords)  # safe to search for


def test_chinese_tasks_are_written_in_chinese() -> None:
    for task in read_tasks():
        letters = [letter for letter in task.text if letter.isalpha()]
        chinese = sum("一" <= letter <= "鿿" for letter in letters)
        assert chinese == (len(letters) if task.language == "zh" else 0)


@given(seed=seeds)
@settings(max_examples=6, deadline=None)
def test_prompts_of_any_seed_ask_for_nothing_impossible(seed: int) -> None:
    for prompt in bundled_prompts(seed):
        assert 1 <= len(prompt.constraints) <= 3
        assert why_impossible(prompt.constraints) is None
        assert verify(prompt.constraints, _write_answer(prompt)).passed, (
            prompt,
            _write_answer(prompt),
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_is_drawn(seed: int) -> None:
    drawn = {constraint.id for prompt in bundled_prompts(seed) for constraint in prompt.constraints}
    assert drawn == set(known_kinds())


@pytest.mark.parametrize("seed", SEEDS)
def test_most_prompts_have_one_constraint(seed: int) -> None:
    counts = Counter(len(prompt.constraints) for prompt in bundled_prompts(seed))
    assert counts[1] > counts[2] > counts[3] > 0
    assert 0.5 < counts[1] / counts.total() < 0.7


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_prompts_are_a_mixed_sample(seed: int) -> None:
    first = bundled_prompts(seed)[:24]
    assert len({prompt.subject for prompt in first}) >= 8
    assert len({constraint.id for prompt in first for constraint in prompt.constraints}) >= 10
    assert {prompt.language for prompt in first} == {"en", "zh"}


def test_a_seed_gives_the_same_prompts_in_another_process() -> None:
    code = "from factory.prompts.bundled import bundled_prompts\nprint([p.prompt_id for p in bundled_prompts(7)])\n"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("0", "1")
    }
    assert outputs == {str([prompt.prompt_id for prompt in bundled_prompts(7)])}


def test_another_seed_gives_other_constraints_in_another_order() -> None:
    first, second = bundled_prompts(0), bundled_prompts(1)
    assert [p.subject for p in first] != [p.subject for p in second]
    assert {p.prompt_id for p in first} != {p.prompt_id for p in second}


def test_no_two_prompts_of_a_seed_share_an_id() -> None:
    for seed in SEEDS:
        prompts = bundled_prompts(seed)
        assert len({prompt.prompt_id for prompt in prompts}) == len(prompts) == len(read_tasks())


def test_a_prompt_says_its_task_and_each_constraint() -> None:
    texts = {task.text for task in read_tasks()}
    for prompt in PROMPTS:
        (message,) = prompt.messages
        task, _, asked = message.content.partition("\n\n")
        assert message.role == "user"
        assert task in texts
        assert all(describe(c, str(prompt.language)) in asked for c in prompt.constraints)


def test_arguments_are_stored_as_json_with_sorted_keys() -> None:
    for constraint in (constraint for prompt in PROMPTS for constraint in prompt.constraints):
        assert canonical_json(json.loads(constraint.kwargs)) == constraint.kwargs


def test_constraints_suit_their_task() -> None:
    tasks = {task.text: task for task in read_tasks()}
    for prompt in PROMPTS:
        task = tasks[prompt.messages[0].content.partition("\n\n")[0]]
        assert {constraint.id for constraint in prompt.constraints} <= set(suitable_kinds(task))


def test_the_table_of_kinds_is_complete() -> None:
    kinds = read_constraint_table()["kinds"]
    assert sorted(kinds) == known_kinds()
    for entry in kinds.values():
        assert "en" in entry
        assert ("zh" in entry) != ("not_in_chinese" in entry)
        assert entry["tasks"] == "all" or set(entry["tasks"]) <= set(TASK_KINDS)


def test_the_table_of_conflicts_names_known_kinds_and_reads_both_ways() -> None:
    table = read_constraint_table()
    for entry in table["conflicts"]:
        named = {*entry["kinds"], *entry.get("with", []), *entry.get("with_all_but", [])}
        assert named <= set(table["kinds"])
    for a in table["kinds"]:
        assert kinds_conflict(a, a)
        assert all(kinds_conflict(a, b) == kinds_conflict(b, a) for b in table["kinds"])


def test_the_library_s_conflicts_are_kept_but_for_pairs_that_can_be_followed_together() -> None:
    registry = importlib.import_module("if_verifiable.ifeval.instructions_registry")
    dropped = {
        frozenset((a, b))
        for a, others in registry.INSTRUCTION_CONFLICTS.items()
        for b in others
        if not kinds_conflict(a, b)
    }
    repeat, frequency = "combination:repeat_prompt", "keywords:frequency"
    assert dropped == {
        frozenset(pair)
        for pair in (
            (repeat, frequency),
            (repeat, "keywords:forbidden_words"),
            (repeat, "detectable_format:number_bullet_lists"),
            (repeat, "detectable_format:number_highlighted_sections"),
            (repeat, "startend:end_checker"),
            ("detectable_format:json_format", frequency),
            ("combination:two_responses", frequency),
            (
                "detectable_format:multiple_sections",
                "detectable_format:number_highlighted_sections",
            ),
            ("length_constraints:number_paragraphs", "length_constraints:number_sentences"),
        )
    }


_SENTENCES = {
    "en": "the tired cat sits near the house in the shade and then it rests there all day long",
    "es": "el gato cansado está sentado cerca de la casa y luego descansa toda la mañana",
    "fr": "le chat est assis dans le jardin à côté de la maison et il se repose toute la matinée",
    "de": "die Katze sitzt in der Nähe des Hauses und danach ruht sie sich dort aus",
    "it": "il gatto stanco sta seduto nel giardino della casa e poi si riposa lì tutta la mattina",
    "pt": "o gato cansado está sentado no jardim da casa e depois descansa lá durante toda a manhã",
    "zh": "院子里的灯亮着",
}


def _write_answer(prompt: Prompt) -> str:
    """An answer that follows any combinable constraints: dull, but possible."""
    asked: dict[str, dict[str, Any]] = {c.id: kwargs_of(c) for c in prompt.constraints}
    if "detectable_format:constrained_response" in asked:
        return "My answer is maybe."
    language = asked.get("language:response_language", {}).get("language", str(prompt.language))
    banned = set(asked.get("keywords:forbidden_words", {}).get("forbidden_words", []))
    frequency = asked.get("keywords:frequency", {})
    if frequency.get("relation") == "less than":
        banned.add(frequency["keyword"])
    sentence = " ".join(word for word in _SENTENCES[language].split() if word not in banned)
    body = _write_body(asked, sentence, banned)
    if "combination:two_responses" in asked:
        return f"{body}\n******\nonce more: {body}"
    if "detectable_format:json_format" in asked:
        return json.dumps({"answer": body}, ensure_ascii=False)
    if "combination:repeat_prompt" in asked:
        body = f"{asked['combination:repeat_prompt']['prompt_to_repeat']}\n{body}"
    if "detectable_content:postscript" in asked:
        body += f"\n{asked['detectable_content:postscript']['postscript_marker']} it rests!"
    if "startend:end_checker" in asked:
        body += f"\n{asked['startend:end_checker']['end_phrase']}"
    if "change_case:english_capital" in asked:
        body = body.upper()
    return f'"{body}"' if "startend:quotation" in asked else body


def _words_with(letter: str, banned: set[str]) -> list[str]:
    """Everyday English words: repeated syllables such as 'na' would be taken for another language."""
    words = (
        "almost always another answers because before between children evenings friends gardens happiness keeping "
        "learning little mornings mountains nothing outside people questions remember seasons sometimes stations "
        "thousands together understand visitors whatever windows yesterday juice prize expect quick"
    )
    return [word for word in words.split() if letter in word and word not in banned]


def _write_body(asked: dict[str, dict[str, Any]], sentence: str, banned: set[str]) -> str:
    short = " ".join(sentence.split()[:2])
    extra = list(asked.get("keywords:existence", {}).get("keywords", []))
    for kind, name, times, relation in (
        ("keywords:frequency", "keyword", "frequency", "relation"),
        ("change_case:capital_word_frequency", None, "capital_frequency", "capital_relation"),
        ("keywords:letter_frequency", "letter", "let_frequency", "let_relation"),
    ):
        kwargs = asked.get(kind, {})
        if kwargs.get(relation) == "at least":
            words = _words_with(kwargs["letter"], banned) if name == "letter" else [kwargs[name] if name else "USA"]
            extra += list(islice(cycle(words), kwargs[times]))
    extra += [f"[{short}]"] * asked.get("detectable_content:number_placeholders", {}).get("num_placeholders", 0)
    extra += ["*here*"] * asked.get("detectable_format:number_highlighted_sections", {}).get("num_highlights", 0)
    length = asked.get("length_constraints:number_words", {})
    words = length["num_words"] if length.get("relation") == "at least" else 0
    count = asked.get("length_constraints:number_sentences", {})
    sentences = count["num_sentences"] if count.get("relation") == "at least" else 1
    long_sentence = " and ".join([sentence] * max(1, -(-words // len(sentence.split()))))
    text = " ".join([f"{long_sentence} {' '.join(extra)}!", *[f"{short}!"] * (sentences - 1)])
    return _lay_out(asked, text, short)


def _lay_out(asked: dict[str, dict[str, Any]], text: str, short: str) -> str:
    if "length_constraints:number_paragraphs" in asked:
        more = asked["length_constraints:number_paragraphs"]["num_paragraphs"] - 1
        text = "\n***\n".join([text, *[f"{short}!"] * more])
    if "length_constraints:nth_paragraph_first_word" in asked:
        kwargs = asked["length_constraints:nth_paragraph_first_word"]
        parts = [text, *[f"{short}!"] * (kwargs["num_paragraphs"] - 1)]
        parts[kwargs["nth_paragraph"] - 1] = f"{kwargs['first_word']} {parts[kwargs['nth_paragraph'] - 1]}"
        text = "\n\n".join(parts)
    if "detectable_format:multiple_sections" in asked:
        kwargs = asked["detectable_format:multiple_sections"]
        marks = [f"{kwargs['section_spliter']} {i + 1}" for i in range(kwargs["num_sections"])]
        text = "\n".join(f"{mark} {text if i == 0 else short + '!'}" for i, mark in enumerate(marks))
    if "detectable_format:number_bullet_lists" in asked:
        text += f"\n* {short}!" * asked["detectable_format:number_bullet_lists"]["num_bullets"]
    return f"<<title>>\n{text}" if "detectable_format:title" in asked else text
