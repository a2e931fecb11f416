"""Reads a refiner's output."""

import re
from dataclasses import dataclass

from factory.work.verdict_text import without_thinking

_MARKER = re.compile(
    r"^[ \t*#_]*(?:refined (?:response|answer)|"
    r"(?:(?:refined|revised|improved|mended|corrected) (?:response|answer|version)|"
    r"(?:改进|改進|修改|修订|修正|优化|改写|精炼)[后後]?的?(?:回答|回复|答案|版本)|(?:修正|改善)後の(?:回答|応答))(?=[ \t*_]*(?:[:：]|$)))"
    r"[ \t]*[:：]?[ \t*_]*[:：]?[ \t*_]*",
    re.IGNORECASE | re.MULTILINE,
)
_REFLECTION = re.compile(r"^[\s*#_]*(?:reflection|反思|反省)[\s*_]*[:：]?[\s*_]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refinement:
    """What a refiner wrote."""

    text: str | None  # the refined answer; None: not found
    reflection: str | None


def read_refinement(output: str, *, with_reflection: bool) -> Refinement:
    """The reflection and the refined answer in a refiner's output.

    Args:
        output: thinking in it is left out.
        with_reflection: whether the template asked for 'Reflection: ... Refined response: ...'; if not, the whole
            output is the answer. The first marker at the start of a line counts: the answer may repeat its words.
    """
    output = without_thinking(output)
    if not with_reflection:
        return Refinement(output.strip() or None, None)
    marker = _MARKER.search(output)
    if marker is None:
        return Refinement(None, None)
    reflection = _REFLECTION.sub("", output[: marker.start()]).strip()
    return Refinement(output[marker.end() :].strip() or None, reflection or None)


def asks_for_reflection(template: str) -> bool:
    return "Refined response:" in template
