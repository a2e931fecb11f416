"""A refined answer that talks to its writer, in words near those of the constraint, critique or template, is an echo."""

import pytest

from factory.templates.rendering import load_template
from factory.work.echo import Refined
from factory.work.flaws import flaw_of

BRIEF = (load_template("judge"), load_template("refine_brief"))
DIALOGUE = (load_template("judge"), load_template("refine"))
TASK = "Tell my neighbour Anna that the big pot is back on her porch."
PARENT = "Hi Anna, the big pot is back on your porch. It held 12 portions, and nobody left hungry."
BODY = "Hi Anna, your big pot is back on the porch. It held soup for twelve."

RULES = {  # what a prompt asks for, and what the verifier says of an answer that does not do it
    "end": (
        'The very last words of your answer must be "I hope this helps." exactly as written here.',
        'The response ends with "left hungry.", but its last words should be "I hope this helps." with nothing after them.',
    ),
    "forbidden": (
        'Do not use any of these words in your answer: "thank", "you".',
        'The response uses "you" (1 time), which was forbidden: use other words.',
    ),
    "postscript": (
        'At the end, add a postscript with "P.S." at its beginning.',
        'The response has no postscript: add one at the end that starts with "P.S.".',
    ),
    "placeholders": (
        "Leave at least 4 placeholders in square brackets to be filled in later, such as [name].",
        "The response has 1 placeholder, but at least 4 were asked for: add at least 3. Write them like [address].",
    ),
    "title": (
        "Give your answer a title and put it in double angle brackets, like <<title>>.",
        "The response has no title in double angle brackets: add one like <<title>>, on one line.",
    ),
    "sentences": (
        "Your answer should have at least 3 sentences.",
        "The response has 2 sentences, but at least 3 were asked for: add at least 1.",
    ),
    "times": (
        'The word "soup" should appear less than 3 times in your answer.',
        'The word "soup" appears 4 times, but less than 3 were asked for: use another word.',
    ),
    "letter": (
        'The letter "i" should appear at least 30 times in your answer.',
        'The letter "i" appears 2 times, but at least 30 were asked for: use more words with "i".',
    ),
    "capitals": (
        "Write your whole answer in English and in capital letters only.",
        'The response should be in capital letters only, but 11 words are not: "Please", "send" and 9 more.',
    ),
    "commas": (
        "Do not use any commas in your answer.",
        'The response has 2 commas, at "Anna,", "12,", but none is allowed: take them out or use full stops.',
    ),
    "words": (
        'Your answer must contain these words: "market", "party".',
        'The response does not contain "market", which it was asked to use: work it in.',
    ),
    "quotation": (
        'Put your whole answer inside double quotation marks, like "this".',
        'The response has no double quotation mark at the start and end: put " at start and end.',
    ),
    "bullets": (
        'Your answer must contain exactly 2 bullet points, each on its own line that starts with "* ".',
        'The response has 0 bullet points, but exactly 2 were asked for: add 2. Each is a line that starts with "* ".',
    ),
    "paragraphs": (
        "Write exactly 2 paragraphs and put the markdown divider *** between them.",
        "The response has 1 paragraph, but exactly 2 were asked for: add 1. Paragraphs are divided by *** and by nothing "
        "else.",
    ),
}
ECHOES = [  # written by SmolLM2-135M, as answers
    ("end", 'The very last words of the answer must be "I hope this helps."'),
    ("end", 'The very last words of your response must be "I hope this helps."'),
    ("end", 'Rewrite the text to end with "I hope this helps." with nothing after them.'),
    ("forbidden", "Do not use any of these words: Thank you"),
    ("forbidden", "Rewrite the text above using other words."),
    ("postscript", "Your response has no postscript."),
    ("postscript", "P.S. I hope this response meets your requirements."),
    ("postscript", "P.S. I hope this response meets your expectations."),
    ("placeholders", "Remember, you can add at least 3 more placeholders."),
    (
        "placeholders",
        "Rewrite the text to include your [name]'s use of the soup pot, and add at least 3 more placeholders.",
    ),
    ("placeholders", 'Rewrite the text. The response should include at least 2 placeholders, but not "[address]".'),
    ("placeholders", "Your response should contain at least 3 placeholders in square brackets."),
    ("placeholders", "This response has 1 placeholders, and 4 items were asked for."),
    ("title", "This response has no title."),
    ("title", "Your answer must contain a title, wrapped in double angular brackets, such as <<The pot>>"),
    ("sentences", "Your response should contain at least 3 sentences."),
    ("sentences", "The text has 2 sentences, but at least 4 sentences were asked for."),
    ("times", 'The word "smol" should appear at least 3 times.'),
    ("letter", 'The letter "i" must appear at least 30 times in your answer.'),
    ("letter", 'The letter "i" appears 2 times, but it was asked to appear at least 30 times.'),
    ("capitals", "Rewrite the text in capital letters only."),
    ("capitals", "The text is in capital letters only."),
    ("capitals", "Your answer should be in English, and in all lowercase letters."),
    ("commas", "Do not use any commas in your response."),
    ("commas", "The response has 8 commas, but no commas are allowed."),
    ("words", "The answer must contain these words."),
    ("quotation", "This response has no double quotation marks at the start and end."),
    ("bullets", "The response must contain exactly 3 bullet points."),
    ("paragraphs", "The response must have 2 paragraphs."),
    ("paragraphs", "The text has 2 paragraphs, but at least 3 paragraphs were asked for: add at least 3."),
]
OTHER = [  # sentences that an answer may well need, near the wording of some rule
    "P.S. I hope you have a wonderful day.",
    "P.S. I added a jar of honey at the end.",
    "I hope this helps.",
    "I hope this meets your needs, and I hope to see you soon.",
    "I hope this pot meets your expectations.",
    "The very last words of the song still make me smile.",
    "Do not use any bleach on the pot.",
    "Please add at least three cups of water to the soup.",
    "Leave at least 4 inches between the pot and the wall.",
    "You can add more salt at the end.",
    "Your answer made my day.",
    "Thank you for your reply, it was very kind.",
    "I would love to hear your answer by Friday.",
    "Please leave me a text when you find it.",
    "I will text you at the end of the week.",
    "In other words, it is as good as new.",
    "My words cannot say how thankful I am.",
    "I was asked to use it with care.",
    "You were asked for help and you gave it at once.",
    "Please start with the heavy one and put the lid on at the end.",
    "Use it as often as you like.",
    "Keep it as long as you need.",
    "Give it a good rinse before you use it.",
    "There is no title on the lid.",
    "The letter in the pot is from my mother.",
    "The letter should arrive before the end of the week.",
    "It has two sections, and each has its own lid.",
    "Write to me at [address] or ask for [name].",
    "The answer to your question is yes.",
    "The answer is that nothing after the party was lost.",
    "The recipe has less than 3 steps in it.",
    "At the start and end of the day the porch is in the sun.",
    "Each is a line from a song.",
    "Take out the spoon first.",
    "We divided the soup into exactly two parts.",
    "It should appear on your porch at least once a month.",
    "Add a note to the handle, and put your name on it.",
    "* Rewrite the text on the label.",
    "Keep every jar that is not broken as it is.",
    "It meets all my needs.",
    "The critics were strict: a soup that lacks salt fails.",
]


def refined(rule: str, parent: str = PARENT, templates: tuple[str, ...] = BRIEF) -> Refined:
    constraint, critique = RULES[rule]
    return Refined(f"{TASK}\n\n{constraint}", parent, None, critique, templates)


@pytest.mark.parametrize(("rule", "sentence"), ECHOES)
@pytest.mark.parametrize("place", ["{0}", f"{BODY}\n\n{{0}}", f"{{0}}\n\n{BODY}", f"{BODY} {{0}}"])
def test_a_reworded_line_of_what_its_writer_was_shown_is_an_echo(rule: str, sentence: str, place: str) -> None:
    assert flaw_of(place.format(sentence), "stop", refined(rule)) == "echo"


@pytest.mark.parametrize("templates", [BRIEF, DIALOGUE])
@pytest.mark.parametrize("sentence", OTHER)
def test_a_sentence_of_an_answer_is_none_whatever_was_asked(sentence: str, templates: tuple[str, ...]) -> None:
    for rule in RULES:
        assert flaw_of(f"{BODY}\n\n{sentence}", "stop", refined(rule, templates=templates)) is None, rule
        assert flaw_of(f"{BODY} {sentence}", "stop", refined(rule, templates=templates)) is None, rule


@pytest.mark.parametrize(("rule", "sentence"), ECHOES)
def test_what_the_answer_before_said_and_what_is_quoted_is_none(rule: str, sentence: str) -> None:
    assert flaw_of(f"{BODY}\n\n{sentence}", "stop", refined(rule, f"{PARENT}\n\n{sentence}")) is None
    if "Rewrite the text above" not in sentence:  # the refiner's own line, which nobody quotes
        assert flaw_of(f"{BODY} I read: “{sentence}”", "stop", refined(rule)) is None


def test_what_a_parent_with_an_echo_says_excuses_no_child() -> None:
    echo = "Your response has no postscript."
    constraint, critique = RULES["postscript"]
    for flaw, found in ((None, None), ("echo", "echo"), ("preamble", "echo")):
        shown = Refined(f"{TASK}\n\n{constraint}", f"{PARENT}\n\n{echo}", flaw, critique, BRIEF)
        assert flaw_of(f"{BODY}\n\n{echo}\n\nP.S. Thanks!", "stop", shown) == found
    shown = Refined(TASK, f"Here is the revised response:\n{PARENT}", "preamble", critique, BRIEF)
    assert flaw_of(f"Here is the revised response:\n{BODY}", "stop", shown) == "preamble"
    shown = Refined(TASK, f"{PARENT}\n\nRewrite the text above.", "echo", critique, BRIEF)
    assert flaw_of(f"{BODY}\n\nRewrite the text above.", "stop", shown) == "echo"


def test_a_reply_may_hope_that_it_satisfies() -> None:
    text = "Dear Anna, we ship on Monday. I hope this response meets your expectations."
    assert (
        flaw_of(text, "stop", Refined("Write a response to a customer.", "We ship it.", None, "Too short.", BRIEF))
        is None
    )


def test_what_it_hopes_of_itself_is_found_whatever_the_answer_before_spoke_of() -> None:
    text = "Dear Professor, I need three more days.\n\nP.S. I hope this response meets your expectations."
    shown = Refined(
        "Write an e-mail to my professor.", "Here's an example of a reply: Dear Professor,", None, "", BRIEF
    )
    assert flaw_of(text, "stop", shown) == "echo"


def test_an_answer_that_only_names_a_word_to_use_is_an_echo() -> None:
    rule, critique = RULES["words"]
    for text in ('The answer is "market".', "The word is “party”", 'Your answer must be: "market, party"'):
        found = "echo" if "," not in text else None
        assert flaw_of(text, "stop", refined("words")) == found
    asked = Refined(f'Which is right: "market" or "bazaar"?\n\n{rule}', "Neither.", None, critique, BRIEF)
    assert flaw_of('The answer is "market".', "stop", asked) is None
    assert flaw_of('The answer is "no". Take it to the market.', "stop", refined("words")) is None


def test_an_answer_may_take_up_the_words_of_the_question() -> None:
    text = "The text does not have to be in capital letters. Each word of the title should appear once."
    asked = "Does the text have to be in capital letters? Should each word of the title appear once?"
    assert flaw_of(text, "stop", Refined(asked, "No, not at all.", None, "Too short.", BRIEF)) is None


def test_an_answer_that_only_repeats_the_request_is_an_echo_where_more_was_asked() -> None:
    task = "How can I fill a small hole in a wall?"
    rule = "Before you answer, repeat the request in the first paragraph of this message word for word."
    for asked, found in ((f"{task}\n\n{rule}", "echo"), (f"Repeat this word for word: {task}", None)):
        assert flaw_of(task, "stop", Refined(asked, "With plaster.")) == found
        assert flaw_of(f"{task} With plaster.", "stop", Refined(asked, "With plaster.")) is None


def test_a_line_is_no_echo_where_the_task_is_about_that() -> None:
    rule, critique = RULES["title"]
    task = "Teach a class how to write a title for a text."
    answer = "A title is short.\n\nYour text must have a title.\n\nRewrite the text with three titles, and choose."
    assert flaw_of(answer, "stop", Refined(f"{task}\n\n{rule}", "Titles are fun.", None, critique, BRIEF)) is None


ZH_TASK = "给邻居写一张便条，借一口大汤锅。"
ZH_PARENT = "你好，我想借你的汤锅。"
ZH_RULES = (
    "请至少留出4个待填写的占位符，用英文方括号表示，例如 [姓名]。",
    "回答的最后一句必须是“希望对你有帮助。”，一字不差，后面不要再有任何内容。",
    "请在结尾加一段附记，以“附言”开头。",
    "回答中不要出现“汤锅”这个词。",
    "回答中必须正好有2个要点，每个要点单独一行，以“* ”开头。",
    "请给回答加一个标题，并用双尖括号括起来，例如 <<标题>>。",
)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (0, "请至少留出3个要填写的占位符，用方括号表示。"),
        (0, "至少留出4个待填写的占位符，用英文方括号。"),
        (1, "你的回答的最后一句必须是“希望对你有帮助。”"),
        (1, "一字不差，回答的最后一句必须是：希望对你有帮助。"),
        (2, "请在回答结尾加一段附记，以“附言”开头。"),
        (3, "你的回答中不要出现“锅”这个词。"),
        (4, "回答中必须有2个要点，每个要点单独一行。"),
        (4, "你的回答中必须正好有两个要点。"),
        (5, "请给你的回答加一个标题，用双尖括号括起来。"),
    ],
)
def test_a_reworded_line_is_an_echo_in_chinese(rule: int, sentence: str) -> None:
    shown = Refined(f"{ZH_TASK}\n\n{ZH_RULES[rule]}", ZH_PARENT, None, "", BRIEF)
    assert flaw_of(f"你好，周六我能借用一下你的大锅吗？\n{sentence}", "stop", shown) == "echo"
    assert flaw_of(sentence, "stop", shown) == "echo"


@pytest.mark.parametrize(
    "sentence",
    [
        "请在周六之前给我一个回复，谢谢！",
        "期待你的回复，祝你一切顺利。",
        "请把锅放在门口，我晚上来取。",
        "用完以后我一定洗干净还给你。",
        "希望对你有帮助。",
        "附言：如果你没有空，请不要为难。",
        "你的回答让我很高兴，真是太好了。",
        "不要使用洗碗机，锅会坏的。",
        "至少有二十位客人要来我家。",
        "请在门上留一张便条，写上你的名字。",
        "请至少留出一个小时来炖汤。",
        "最后一句话：谢谢你，好邻居。",
    ],
)
def test_a_chinese_sentence_of_an_answer_is_none_whatever_was_asked(sentence: str) -> None:
    for rule in ZH_RULES:
        shown = Refined(f"{ZH_TASK}\n\n{rule}", ZH_PARENT, None, "", BRIEF)
        assert flaw_of(f"你好，周六我能借用一下你的大锅吗？\n{sentence}", "stop", shown) is None, rule


# Talk about the rewriting, after an answer's first words


@pytest.mark.parametrize(
    "text",
    [
        "Dear [name],\n\nHere's the text rewritten to fit your request:\n\nDear [name],",
        "Hi Anna.\n\nI've rewritten the text to make it more concise and direct.",
        "Hi Anna. I have rewritten the text to keep it so.",
        "Hi Anna.\n\nThe rewritten version is more direct and to the point.",
        "This text has been changed. Here's the revised text:\n\nHi Anna.",
        "Hi Anna.\n\nHere's the text with commas removed:\nHi Anna",
        "Hi Anna.\n\nIn this example, I added commas to separate clauses and provide clarity.",
        "Hi Anna.\n\nI replaced commas with dashes, which is the correct punctuation in this context.",
        "Hi Anna.\n\nI added a postscript with the recipient's name.",
        "你好，安娜。\n\n我已经把回答改写了一遍。",
    ],
)
def test_talk_about_the_rewriting_is_found_anywhere(text: str) -> None:
    assert flaw_of(text, "stop", Refined(TASK, PARENT)) == "preamble"
    assert flaw_of(f"{text} Bye.", "stop", Refined(TASK, text)) is None
    assert flaw_of(text, "stop", Refined(f"Rephrase and correct this: {TASK}", PARENT)) is None


@pytest.mark.parametrize(
    "text",
    [
        "Hi Anna. Here is the pot with the new lid.",
        "Hi Anna. I added two carrots and removed the lid.",
        "Hi Anna. I've changed the time of the party.",
        "Hi Anna.\n\nThe revised schedule is on the door.",
        "Hi Anna.\n\nHere's a new message from my brother.",
        "Hi Anna. The original text of the recipe is lost.",
        "你好，安娜。我已经把会议改到周五了。",
    ],
)
def test_talk_about_the_world_is_none(text: str) -> None:
    assert flaw_of(text, "stop", Refined(TASK, PARENT)) is None
