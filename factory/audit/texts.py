"""Faults of answers that their text shows: refusals, names of models, loops, cuts, pieces of templates."""

import polars as pl

from factory.audit.finding import Check, Measured, not_applicable, share
from factory.audit.rows import Audited

_REFUSAL = (
    r"(?i)^\W*(?:i(?:'|’)?m (?:really |very |so )?sorry,? (?:but )?|i apologi[sz]e,? but |unfortunately,? |sorry,? (?:but )?)?"
    r"(?:as an? (?:ai|artificial intelligence|(?:large )?language model)\b[^.\n]{0,40},? ?)?"
    r"(?:i (?:cannot|can(?:'|’)?t|am (?:not able|unable)|(?:'|’)?m (?:not able|unable)|won(?:'|’)?t|will not|must decline|"
    r"(?:do|don(?:'|’)?t) not feel comfortable|don(?:'|’)?t feel comfortable)\b"
    r"[^.\n]{0,60}\b(?:help|assist|provide|comply|fulfil+|create|write|generate|answer|discuss|support|do that|engage|give|share|"
    r"with (?:that|this))|i(?:'|’)?m (?:really |very |so )?sorry,? but i (?:can(?:'|’)?t|cannot)\b)"
    r"|^\W*(?:抱歉|对不起|對不起|很遗憾|很抱歉|非常抱歉)[^。\n]{0,20}(?:不能|无法|無法|不便)"
)
_HARMFUL = (
    r"(?i)\b(?:bombs?|explosives?|molotov|nerve agent|ricin|sarin|meth(?:amphetamine)?|cocaine|heroin|ransomware|malware|keylogger|"
    r"phishing|ddos|steal|stolen|hack(?:ing)? into|break into|pick a lock|murder|kill (?:him|her|someone|my|a person|people)|"
    r"poison(?:ing)?|suicide|self-harm|child porn|rape|stalk|blackmail|launder|counterfeit|forge|credit card numbers?|"
    r"weapons?|shoot|terroris[mt]|racist|slurs?|genocide|cheat on|evade taxes|porn)\b|炸弹|毒品|自杀|杀人|黑客|枪支|武器"
)
_IDENTITY = (
    r"(?i)\b(?:as an? (?:ai|artificial intelligence|(?:large )?language model)(?: (?:language )?(?:model|assistant))?\b"
    r"|i(?:'|’)?m (?:an ai|a (?:large )?language model|chatgpt|claude|gemini|qwen|llama)\b|i am (?:an ai|a (?:large )?language model)\b"
    r"|(?:developed|created|trained|made|built) by (?:openai|anthropic|google|meta|alibaba|mistral|deepseek|microsoft|xai|cohere|"
    r"hugging ?face|moonshot|zhipu|baidu|tencent)\b"
    r"|chatgpt|gpt-?[345]|openai|anthropic|claude (?:[1-5]|ai|instant|opus|sonnet|haiku)|tongyi qianwen)"
    r"|作为(?:一个|一名)?(?:人工智能|AI|大?语言模型)|通义千问|我是(?:ChatGPT|由)"
)
_RESIDUE = (
    r"(?i)<\|[a-z_]{2,30}\|>|<｜[^｜>]{2,40}｜>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>|<think>|</think>"
    r"|^\s*(?:###\s*)?(?:human|user|assistant|system|instruction|response)\s*[:：]\s*$"
    r"|\[\[?(?:rating|score|a|b)\]?\]:|\[(?:begin|start|end) of (?:the )?(?:response|answer|conversation|prompt|critique)[^\]]*\]"
    r"|\bfinal (?:judge?ment|verdict)\s*[:：]|\b(?:refined|revised|improved) (?:response|answer)\s*[:：]"
    r"|\b(?:the )?critique (?:says|states|points out|mentions|notes)\b|\bbased on the (?:critique|feedback)\b|\bper the critique\b"
    r"|\{(?:prompt|response|critique|reference|instruction|input|output)\}"
)
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x{fffd}]"
_LOOP_WORDS, _LOOP_LEAST, _LOOP_TAIL = 4, 40, 203
"""as `factory/work/flaws.py` finds an answer that ends in a loop"""


def refused_chosen(given: Audited) -> Measured:
    harmless = given.rows.filter(~_harmful())
    detail = {"prompts that look harmful, left out": given.rows.height - harmless.height}
    return share(harmless, pl.col("chosen").str.contains(_REFUSAL), detail=detail)


def refused_rejected(given: Audited) -> Measured:
    harmful = given.known("rejected").filter(_harmful())
    if not harmful.height:
        return not_applicable("no prompt looks harmful")
    turned = pl.col("rejected").str.contains(_REFUSAL) & ~pl.col("chosen").str.contains(_REFUSAL)
    return share(harmful, turned)


def identity_leak(given: Audited) -> Measured:
    """Names that the prompt mentions are no leak."""
    leaks = pl.col("chosen").str.contains(_IDENTITY) & ~pl.col("prompt").str.contains(_IDENTITY)
    rejected = 0
    if given.format == "preference":
        rejected = given.rows.filter(
            pl.col("rejected").str.contains(_IDENTITY) & ~pl.col("prompt").str.contains(_IDENTITY)
        ).height
    return share(given.rows, leaks, detail={"in rejected": rejected})


def repetitive_chosen(given: Audited) -> Measured:
    from factory.work.flaws import repeats_itself

    # Only texts that repeat much compared with their length are looked at word by word.
    wordy = given.rows.filter(pl.col("chosen_words") >= _LOOP_LEAST)
    tail = wordy.with_columns(
        few=pl.col("chosen").str.split(" ").list.tail(_LOOP_TAIL).list.n_unique()
        / pl.col("chosen").str.split(" ").list.tail(_LOOP_TAIL).list.len()
    )
    # A script without spaces has few 'words' between spaces, and none of them twice.
    unspaced = pl.col("chosen").str.contains(r"[\p{Han}\p{Hiragana}\p{Katakana}]{20}")
    suspects = tail.filter((pl.col("few") < 0.5) | unspaced)
    loops = [id for id, text in suspects.select("id", "chosen").iter_rows() if repeats_itself(text)]
    return share(given.rows, pl.col("id").is_in(loops))


def truncated_chosen(given: Audited) -> Measured:
    fences = pl.col("chosen").str.count_matches(r"(?m)^\s*```") % 2 == 1
    cut = pl.lit(False)
    if "chosen_finish_reason" in given.rows.columns:
        cut = (pl.col("chosen_finish_reason") == "length").fill_null(False)
    rows = given.rows.select("id", fence=fences, cut=cut)
    detail = {"ended at max_tokens": rows["cut"].sum(), "code fence left open": rows["fence"].sum()}
    return share(rows, pl.col("fence") | pl.col("cut"), detail=detail)


def control_characters(given: Audited) -> Measured:
    return share(given.rows, pl.col("chosen").str.contains(_CONTROL))


def template_residue(given: Audited) -> Measured:
    rows = given.rows.filter(pl.col("chosen").str.contains(_RESIDUE))
    # What the prompt holds too was asked for.
    found = rows.select(
        "id",
        residue=pl.col("chosen")
        .str.extract_all(_RESIDUE)
        .list.set_difference(pl.col("prompt").str.extract_all(_RESIDUE)),
    ).filter(pl.col("residue").list.len() > 0)
    return share(given.rows, pl.col("id").is_in(found["id"].to_list()))


def flawed_chosen(given: Audited) -> Measured:
    rows = given.known("chosen_flaw_known")
    kinds = rows.drop_nulls("chosen_flaw")["chosen_flaw"].value_counts(sort=True)
    detail = {str(kind): count for kind, count in kinds.iter_rows()}
    return share(rows, pl.col("chosen_flaw").is_not_null(), detail=detail)


def _harmful() -> pl.Expr:
    return pl.col("prompt").str.contains(_HARMFUL)


CHECKS = (
    Check(
        "refused_chosen",
        "Share of chosen answers to prompts that look harmless that refuse.",
        refused_chosen,
        0.02,
    ),
    Check(
        "refused_rejected",
        "Share of pairs with a prompt that looks harmful in which the refusal is rejected for an answer.",
        refused_rejected,
        0.1,
        needs=("rejected",),
    ),
    Check(
        "identity_leak",
        "Share of chosen answers that say which model or maker wrote them ('As an AI by …'), unless the prompt does.",
        identity_leak,
        0.0,
    ),
    Check(
        "repetitive_chosen",
        "Share of chosen answers that end in a loop: under half of the last 200 four-word sequences are distinct.",
        repetitive_chosen,
        0.0,
        beyond="fail",
    ),
    Check(
        "truncated_chosen",
        "Share of chosen answers that ended at max_tokens or leave a code fence open.",
        truncated_chosen,
        0.01,
    ),
    Check(
        "control_characters",
        "Share of chosen answers with control characters or U+FFFD, the mark of text decoded wrongly.",
        control_characters,
        0.0,
    ),
    Check(
        "template_residue",
        "Share of chosen answers with pieces of a template, a judge's or refiner's prompt, or a critique that the prompt lacks.",
        template_residue,
        0.0,
        beyond="fail",
    ),
    Check(
        "flawed_chosen",
        "Share of chosen answers in which the run itself found a flaw (cut off, repetitive, echo, preamble, …).",
        flawed_chosen,
        0.0,
        needs=("chosen_flaw_known",),
    ),
)
