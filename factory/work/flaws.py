"""What is wrong with an answer whatever a judge says: judges often pass a text that is cut off or repeats the question.

A flaw is found without a model, from the text and what its writer was shown. The rules prefer missing a flaw to seeing
one that is not there: a shared run of words counts only if neither the prompt nor the text that was refined holds it.
"""

import re

from factory.inference.values import is_blank
from factory.work.echo import Refined, echoes
from stores.likeness import words


def flaw_of(text: str, finish_reason: str | None, refined: Refined | None = None) -> str | None:
    """The first flaw of an answer; None: no flaw.

    Args:
        refined: for a refined answer, what it was made from.
    Returns:
        empty, repetitive, unended, or for a refined answer unchanged, echo or preamble; `responses.flaw` explains each.
    """
    if is_blank(text):
        return "empty"
    if finish_reason == "repetition" or repeats_itself(text):
        return "repetitive"
    if finish_reason == "length":
        return "unended"
    if refined is None:
        return None
    if text.strip() == refined.parent.strip():
        return "unchanged"
    if refined.parent_flaw == "unended" and words(text)[-5:] == words(refined.parent)[-5:]:
        return "unended"  # the refiner kept the end that was cut off
    if echoes(text, refined):
        return "echo"
    excusing = "" if refined.parent_flaw in ("echo", "preamble") else refined.parent
    if opens_with_preamble(text) and not opens_with_preamble(excusing):
        return "preamble"
    commented = comments_on_rewriting(text) and not comments_on_rewriting(excusing)
    return "preamble" if commented and not _ASKS_TO_REWRITE.search(refined.prompt) else None


def repeats_itself(text: str) -> bool:
    """Whether a text ends in a loop: fewer than half of its last 200 four-word sequences are distinct."""
    last = words(text)[-203:]
    runs = [tuple(last[i : i + 4]) for i in range(len(last) - 3)]
    return len(runs) >= 40 and len(set(runs)) < len(runs) / 2


_CHANGED = (
    r"(?:revised|refined|rewritten|re-written|reworded|improved|corrected|updated|mended|modified|edited|fixed|polished|"
    r"adjusted|rephrased|amended|new|better|shorter|longer)"
)
_ANSWER = r"(?:response|answer|version|rewrite|revision|refinement|reply|text|draft)"
_PIECE = rf"(?:{_ANSWER[3:-1]}|letter|e-?mail|message|note|story|poem|essay|paragraphs?|sentences?|list|summary|review)"
_CHANGED_ZH = (
    r"(?:修改|改写|改寫|修订|修訂|修正|重写|重寫|润色|潤色|改进|改進|优化|優化|完善|更新|精炼|精簡|精简|调整|調整|更正)"
)
_PIECE_ZH = r"(?:回答|回复|回覆|答复|答案|版本|文本|文字|内容|內容|文章|句子|段落|版)"
_PREAMBLES = (
    # Here is the revised response: / Below is a shorter version without commas:
    rf"(?:here(?:['’]?s| is| are)|below (?:is|are)|the following is|this is) (?:(?:an?|the|my|your) )?"
    rf"(?:[^\s.]+ ){{0,2}}?(?:{_CHANGED} (?:[^\s.]+ ){{0,2}}?{_PIECE}|{_ANSWER} {_CHANGED})\b",
    r"(?:here(?:['’]?s| is)|below is|the following is) (?:an?|the|my|your) (?:[^\s.]+ )?"
    r"(?:response|answer|version|rewrite|revision|refinement)\b[^.\n]{0,80}[:\n]",
    # Refined answer: / My revised version of the letter:
    rf"(?:the |my |your )?{_CHANGED} {_PIECE}\b(?: (?:is|of|with|that)\b[^.\n]{{0,60}})?[\s*_\"')\]]{{0,4}}[:：\n]",
    # I have rewritten the response so that …
    rf"(?:i|we)(?:['’]ve| have)? (?:now )?(?:{_CHANGED[3:-1]}|rewrote|changed) (?:the|your|my|this) (?:[^\s.]+ ){{0,2}}?{_ANSWER}\b",
    # The response has been revised …
    rf"(?:the|this|your) (?:[^\s.]+ )?{_ANSWER} (?:has been|was|is now|should be|can be) {_CHANGED}",
    # 以下是修改后的回答： / 改进版： / 我已经把回答改写了
    rf"(?:以下|下面|这|這)(?:就)?[是为為][^。！？\n]{{0,8}}?{_CHANGED_ZH}(?:[后後过過]的?|[之的]?{_PIECE_ZH})",
    rf"(?:经过?|經過?)?{_CHANGED_ZH}(?:[后後过過])?[之的]?{_PIECE_ZH}[^。！？，,\n]{{0,6}}[：:\n]",
    rf"我(?:已经|已經|已)?(?:对|對|将|將|把)?(?:[^。！？\n]{{0,6}}{_PIECE_ZH}[^。！？\n]{{0,8}}{_CHANGED_ZH}"
    rf"|{_CHANGED_ZH}了?[^。！？\n]{{0,6}}{_PIECE_ZH})",
    # Japanese, German, French, Spanish
    r"(?:以下|こちら)[はが][^。\n]{0,20}(?:修正|改善|書き直|改訂)",
    r"hier ist [^.\n]{0,20}(?:überarbeitete|verbesserte|korrigierte|geänderte)\w? (?:antwort|version|fassung|text)",
    r"voici [^.\n]{0,20}(?:réponse|version|texte) (?:révisée?|corrigée?|améliorée?|modifiée?)",
    r"(?:aquí está|aquí tienes|esta es) [^.\n]{0,20}(?:respuesta|versión|texto) (?:revisad|corregid|mejorad|modificad)",
)
_OBLIGING = (
    # Sure, here's a note that …:
    r"(?:sure|certainly|of course|absolutely|okay|ok|alright|got it|no problem|understood|my apologies|i apologi[sz]e)\b"
    r"[^\n]{0,40}?\b(?:here(?:['’]?s| is| are)|below (?:is|are))\b",
    r"(?:好的|当然|當然|没问题|沒問題|明白了?)(?:可以)?[，,。！!：:\s]{0,3}(?:这是|這是|以下|下面)",
)
_DECORATION = r"[\s*#_>\"'“”\-\[(【]*"
_PREAMBLE = re.compile(
    rf"{_DECORATION}(?:(?:sure|certainly|of course|okay|ok|好的)[,.!，。！]?\s*)?(?:{'|'.join(_PREAMBLES)})"
    rf"|{_DECORATION}(?:{'|'.join(_OBLIGING)})",
    re.IGNORECASE,
)


def opens_with_preamble(text: str) -> bool:
    """Whether a text begins by talking about the rewriting: 'Here is the revised response:', '以下是修改后的回答：'."""
    return _PREAMBLE.match(text) is not None


_REWRITTEN = r"(?:revised|refined|rewritten|reworded|corrected|rephrased|modified|edited|improved)"
_WHOLE = r"(?:response|answer|version|text|rewrite)"
_MARKS = (
    r"(?:commas?|placeholders?|postscript|full stops?|quotation marks?|capital letters?|square brackets|bullet points?)"
)
_COMMENT = re.compile(
    r"(?:^(?:[*#_>]|[^\S\n])*|(?<=[.!?] ))(?:"
    # Here's the text rewritten to fit your request: / Here's the text with commas removed:
    rf"here(?:['’]?s| is) (?:an?|the|my|your) (?:[^\s.]+ ){{0,2}}?(?:{_REWRITTEN} (?:[^\s.]+ )?{_WHOLE}|{_WHOLE} {_REWRITTEN})\b"
    rf"|here(?:['’]?s| is) (?:the|your) {_WHOLE} (?:with|without|in which)\b[^.\n]*:"
    # I've rewritten the text to … / The rewritten version is more concise
    rf"|i(?:['’]ve| have)? (?:now |also )?(?:{_REWRITTEN}|rewrote) (?:the|your|this) (?:[^\s.]+ )?{_WHOLE}\b"
    rf"|(?:the|this) (?:rewritten|revised|reworded|rephrased) {_WHOLE}\b"
    # In this version, I removed the commas / I have added two placeholders
    rf"|(?:in this (?:example|{_WHOLE[3:-1]}), )?i(?:['’]ve| have)? (?:also )?(?:added|removed|replaced|included|used) "
    rf"(?:[^\s.]+ ){{0,2}}?{_MARKS}\b"
    # 我已经把回答改写了
    rf"|我(?:已经|已經|已)?(?:对|對|将|將|把)[^。！？\n]{{0,4}}(?:回答|回复|回覆|答复|文本)[^。！？\n]{{0,8}}{_CHANGED_ZH}"
    r")",
    re.IGNORECASE | re.MULTILINE,
)
_ASKS_TO_REWRITE = re.compile(
    r"\b(?:rewrit|rephras|reword|revis|edit|proofread|correct|improv|shorten|polish|grammar|punctuat)|改|修|润|潤|校",
    re.IGNORECASE,
)


def comments_on_rewriting(text: str) -> bool:
    """Whether a text says, at the beginning of any line or sentence, that it was rewritten, or how."""
    return _COMMENT.search(text) is not None
