"""One answer that follows and one that does not, for each kind of constraint, in English and in Chinese."""

from dataclasses import dataclass, field
from typing import Any

from schemas.ids import canonical_json
from schemas.tables import Constraint


@dataclass(frozen=True)
class Example:
    """One kind of constraint with a passing and a failing answer."""

    kind: str
    asked: str  # part of the sentence in the prompt
    passing: str
    failing: str
    critique: str  # part of what is said of the failing answer
    kwargs: dict[str, Any] = field(default_factory=dict)

    def constraint(self) -> Constraint:
        return Constraint(id=self.kind, kwargs=canonical_json(self.kwargs))


EXAMPLES = [
    Example(
        "keywords:existence",
        '"bread", "salt"',
        "Bake the bread with a little salt.",
        "Bake the bread slowly.",
        'does not contain "salt"',
        {"keywords": ["bread", "salt"]},
    ),
    Example(
        "keywords:frequency",
        '"oven" should appear less than 2 times',
        "Heat the oven first.",
        "Heat the oven. Open the oven. Clean the oven.",
        '"oven" appears 3 times, but less than 2 were asked for',
        {"keyword": "oven", "frequency": 2, "relation": "less than"},
    ),
    Example(
        "keywords:forbidden_words",
        '"just", "very"',
        "It is every bit as good.",
        "It is very, very good.",
        'uses "very" (2 times)',
        {"forbidden_words": ["just", "very"]},
    ),
    Example(
        "keywords:letter_frequency",
        '"e" should appear at least 4 times',
        "We need the bees.",
        "We nod.",
        '"e" appears 1 time, but at least 4 were asked for',
        {"letter": "e", "let_frequency": 4, "let_relation": "at least"},
    ),
    Example(
        "language:response_language",
        "in French",
        "Le chat est assis dans le jardin et il regarde les oiseaux.",
        "The cat is sitting in the garden and looking at the birds.",
        "reads as English, but it should be in French",
        {"language": "fr"},
    ),
    Example(
        "length_constraints:number_sentences",
        "less than 3 sentences",
        "Dr. Grey paid 3.50 for it. He was content.",
        "One came. Two came. Three came.",
        "has 3 sentences, but less than 3 were asked for: take out at least 1",
        {"num_sentences": 3, "relation": "less than"},
    ),
    Example(
        "length_constraints:number_paragraphs",
        "exactly 2 paragraphs",
        "Water the seeds.\n***\nThen wait a week.",
        "Water the seeds.\n\nThen wait a week.",
        "has 1 paragraph, but exactly 2 were asked for: add 1",
        {"num_paragraphs": 2},
    ),
    Example(
        "length_constraints:number_words",
        "at least 6 words",
        "Six words are enough for this.",
        "Four words, no more.",
        "has 4 words, but at least 6 were asked for: add at least 2",
        {"num_words": 6, "relation": "at least"},
    ),
    Example(
        "length_constraints:nth_paragraph_first_word",
        'paragraph 2 with the word "finally"',
        "Dig a hole.\n\nFinally, plant the tree.",
        "Dig a hole.\n\nThen plant the tree.",
        'Paragraph 2 starts with "Then" instead of "finally"',
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "finally"},
    ),
    Example(
        "detectable_content:number_placeholders",
        "at least 2 placeholders",
        "Dear [name], see you on [date].",
        "Dear [name], see you soon.",
        "has 1 placeholder, but at least 2 were asked for",
        {"num_placeholders": 2},
    ),
    Example(
        "detectable_content:postscript",
        '"P.S."',
        "See you soon.\nP.S. Bring the keys.",
        "See you soon. Bring the keys.",
        'no postscript: add one at the end that starts with "P.S."',
        {"postscript_marker": "P.S."},
    ),
    Example(
        "detectable_format:number_bullet_lists",
        "exactly 3 bullet points",
        "Pack these:\n* socks\n* a map\n* water",
        "Pack these:\n* socks\n* a map\n* water\n- tea\n- soap",
        "has 5 bullet points, but exactly 3 were asked for: take out 2",
        {"num_bullets": 3},
    ),
    Example(
        "detectable_format:constrained_response",
        '"My answer is maybe."',
        "My answer is no. It is too cold.",
        "No, it is too cold.",
        'none of the sentences "My answer is yes."',
    ),
    Example(
        "detectable_format:number_highlighted_sections",
        "at least 2 parts",
        "First *stretch* and then **walk slowly**.",
        "First *stretch* and then walk slowly.",
        "has 1 highlighted part, but at least 2 were asked for",
        {"num_highlights": 2},
    ),
    Example(
        "detectable_format:multiple_sections",
        '"Part 1", "Part 2" and so on',
        "Part 1\nMix it.\nPart 2\nBake it.",
        "Part 1\nMix it.\nThen bake it.",
        "has 1 section, but at least 2 were asked for",
        {"section_spliter": "Part", "num_sections": 2},
    ),
    Example(
        "detectable_format:json_format",
        "valid JSON",
        '```json\n{"items": ["hammer", "tape"]}\n```',
        'Here you are: {"items": []}',
        "not valid JSON (Expecting value at line 1, column 1)",
    ),
    Example(
        "detectable_format:title",
        "<<title>>",
        "<<Rain>>\nIt rains.",
        "Rain\nIt rains.",
        "no title in double angle brackets",
    ),
    Example(
        "combination:two_responses",
        "******",
        "Call her.\n******\nWrite to her.",
        "Call her.",
        "has 1 answer, but exactly 2 were asked for",
    ),
    Example(
        "combination:repeat_prompt",
        "word for word",
        "Why is the sky blue? Because air scatters blue light.",
        "Why is the sea blue? Because water takes up red light.",
        'right up to "Why is the s"',
        {"prompt_to_repeat": "Why is the sky blue?"},
    ),
    Example(
        "startend:end_checker",
        '"I hope this helps." exactly',
        "Oil the hinge. I hope this helps.",
        "Oil the hinge.",
        'ends with "Oil the hinge.", but its last words should be "I hope this helps."',
        {"end_phrase": "I hope this helps."},
    ),
    Example(
        "change_case:capital_word_frequency",
        "at least 2 words",
        "NEVER mix these. DANGER of fire.",
        "Never mix these. DANGER of fire.",
        'has 1 all-capital word, but at least 2 were asked for: add at least 1. Found: "DANGER"',
        {"capital_frequency": 2, "capital_relation": "at least"},
    ),
    Example(
        "change_case:english_capital",
        "capital letters only",
        "PLEASE COME HOME BEFORE THE RAIN STARTS TONIGHT.",
        "PLEASE COME HOME before the rain STARTS TONIGHT.",
        'in capital letters only, but 3 words are not: "before", "the", "rain"',
    ),
    Example(
        "change_case:english_lowercase",
        "lower-case letters only",
        "please come home before the rain starts tonight.",
        "Please come home before the rain starts tonight.",
        'in lower-case letters only, but 1 word is not: "Please"',
    ),
    Example(
        "punctuation:no_comma",
        "any commas",
        "Bring bread and salt.",
        "Bring bread, salt, and oil.",
        'has 2 commas, at "bread,", "salt,"',
    ),
    Example(
        "startend:quotation",
        "double quotation marks",
        '"The bus is late."',
        '"The bus" is late.',
        "no double quotation mark at the end",
    ),
]

CHINESE = [
    Example(
        "keywords:existence",
        "“面粉”、“鸡蛋”",
        "先把面粉和鸡蛋拌在一起。",
        "先把面粉放好。",
        '"鸡蛋"',
        {"keywords": ["面粉", "鸡蛋"]},
    ),
    Example(
        "keywords:frequency",
        "不要出现“盐”",
        "放一点糖。",
        "放一点盐。",
        '"盐" appears 1 time, but it should not appear at all',
        {"keyword": "盐", "frequency": 1, "relation": "less than"},
    ),
    Example(
        "detectable_content:postscript",
        "“附言”",
        "明天见。\n附言 记得带伞。",
        "明天见。",
        '"附言"',
        {"postscript_marker": "附言"},
    ),
    Example(
        "detectable_format:multiple_sections",
        "“小节 1”、“小节 2”",
        "小节 1 洗菜。\n小节 2 下锅。",
        "小节 1 洗菜。",
        "has 1 section",
        {"section_spliter": "小节", "num_sections": 2},
    ),
    Example(
        "startend:end_checker",
        "“希望对你有帮助。”",
        "多喝水。希望对你有帮助。",
        "多喝水。",
        '"希望对你有帮助。"',
        {"end_phrase": "希望对你有帮助。"},
    ),
]
