"""What people say of pairs, as rows: accepted, rejected, or the chosen answer written anew.

Reviews are added through `Lake.append_decided`, so they may be written while a run is writing, and by several people at
once. Rows are never changed: who reviews a pair again adds a row, and view `current_reviews` takes the newest.
"""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.errors import FactoryError, nearest
from schemas.ids import content_id, seed_of
from schemas.streams import visible
from schemas.tables import Pair, Response, Review
from stores.lake import Lake
from stores.likeness import likeness

VERDICTS = ("accept", "reject", "edit")
PREFERRED = ("chosen", "rejected", "neither")
LONGEST_NAME = 80  # characters
LONGEST_REASON = 10_000  # characters
LONGEST_ANSWER = 1_000_000  # characters


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a reviewer says of a pair; raises FactoryError if it contradicts itself."""

    reviewer: str
    verdict: str
    """accept, reject or edit"""
    preferred: str | None = None
    """the better side: chosen, rejected or neither; None: not asked"""
    edited: str | None = None
    """edit: the chosen answer as it should be"""
    reason: str | None = None
    first_side: str | None = None
    """the side shown first, chosen or rejected, to a reviewer who was not told which is which; None: they were told"""
    seconds: float | None = None

    def __post_init__(self) -> None:
        _one_of("verdict", self.verdict, VERDICTS)
        if self.preferred is not None:
            _one_of("preferred side", self.preferred, PREFERRED)
        check_reviewer(self.reviewer)
        if (self.verdict == "edit") != (self.edited is not None):
            raise FactoryError("an edit, and nothing else, comes with the new text of the chosen answer")
        if self.verdict == "accept" and self.preferred not in (None, "chosen"):
            raise FactoryError("a pair whose chosen side is not the better one cannot be accepted: reject it")
        if self.verdict == "reject" and self.preferred == "chosen":
            raise FactoryError("a pair whose chosen side is the better one cannot be rejected: accept it")
        for what, text, most in (
            ("reason", self.reason, LONGEST_REASON),
            ("edited answer", self.edited, LONGEST_ANSWER),
        ):
            _check_text(what, text, most)


def check_reviewer(name: str) -> None:
    """Raises:
    FactoryError: a name that could not be told from another one, or is too long to show.
    """
    if not name or name != name.strip() or name != visible(name) or "\n" in name or "\t" in name:
        raise FactoryError("a reviewer's name is one line of visible characters, without spaces around it")
    if len(name) > LONGEST_NAME:
        raise FactoryError(f"a reviewer's name has at most {LONGEST_NAME} characters")


def first_side(pair_id: str, reviewer: str) -> str:
    """The side that a blind page shows this reviewer first: by a hash, so that neither page nor order tell which it is."""
    return ("chosen", "rejected")[seed_of("blind review", pair_id, reviewer) % 2]


def review(lake: Lake, pair_id: str, opinion: Opinion) -> Review:
    """Adds a review to the lake; an edit adds the new answer and its pair in the same transaction.

    Raises:
        FactoryError: no such pair, an edit that changes nothing or leaves nothing, or the lake cannot be written.
    """
    written: list[Review] = []

    def decide() -> tuple[list[Any], str]:
        rows = _rows(lake, pair_id, opinion)
        written[:] = [rows[-1]]
        return rows, f"review of pair {pair_id} by {opinion.reviewer}: {opinion.verdict}"

    lake.append_decided(decide, {"pair_id": pair_id, "reviewer": opinion.reviewer})
    return written[0]


def _rows(lake: Lake, pair_id: str, opinion: Opinion) -> list[Any]:
    found = lake.read(Pair, "pair_id = $id", {"id": pair_id})
    if not found:
        raise FactoryError(
            f"lake {lake.place.where} has no pair {visible(pair_id)[:80]!r}: `factory view` lists its pairs"
        )
    pair = found[0]
    earlier = lake.query(
        "SELECT count(*) AS n, max(reviewed_at) AS newest FROM reviews WHERE pair_id = $pair AND reviewer = $reviewer",
        {"pair": pair_id, "reviewer": opinion.reviewer},
    )
    (before,) = earlier.to_pylist()
    # The newest counts, also where the clock of the machine that wrote the one before was ahead.
    now = datetime.now(UTC)
    if before["newest"] is not None:
        now = max(now, before["newest"] + timedelta(microseconds=1))
    edited = None if opinion.edited is None else _edited(lake, pair, opinion.edited)
    row = Review(
        review_id=content_id("review", pair_id, opinion.reviewer, before["n"]),
        pair_id=pair_id,
        run_id=pair.run_id,
        prompt_id=pair.prompt_id,
        reviewer=opinion.reviewer,
        verdict=opinion.verdict,
        preferred=opinion.preferred,
        blind=opinion.first_side is not None,
        first_side=opinion.first_side,
        reason=opinion.reason,
        edited_response_id=None if edited is None else edited[0].response_id,
        edited_pair_id=None if edited is None else edited[1].pair_id,
        seconds=opinion.seconds,
        reviewed_at=now,
    )
    return [*(edited or ()), row]


def _edited(lake: Lake, pair: Pair, text: str) -> tuple[Response, Pair]:
    """The new answer, and its pair in the old one's place: same run, source, tree and rejected side."""
    ids = [pair.chosen_response_id, pair.rejected_response_id]
    texts = {row.response_id: row.text for row in lake.read(Response, "list_contains($ids, response_id)", {"ids": ids})}
    chosen, rejected = (texts.get(id) for id in ids)
    if chosen is None or rejected is None:
        raise FactoryError(f"pair {pair.pair_id}: its answers are not in the lake: see `factory verify`")
    if text == chosen:
        raise FactoryError("the edited answer is the same as before: accept the pair instead")
    if text == rejected:
        raise FactoryError("the edited answer is the rejected one: reject the pair instead")
    blank = lake.query("SELECT is_blank($text) AS blank", {"text": text}).column(0)[0].as_py()
    if blank:
        raise FactoryError("the edited answer has nothing to read: reject the pair instead")
    response = Response(
        response_id=content_id("response", pair.run_id, "edited", pair.chosen_response_id, text),
        run_id=pair.run_id,
        prompt_id=pair.prompt_id,
        kind="edited",
        text=text,
        stage=None,
        model_id=None,
        choice_index=None,
        finish_reason=None,
        tokens=None,
        logprobs=None,
        flaw=None,
        call_id=None,
    )
    return response, dataclasses.replace(
        pair,
        pair_id=content_id("pair", pair.run_id, pair.source, response.response_id, pair.rejected_response_id),
        chosen_response_id=response.response_id,
        chosen_value=None,
        **dataclasses.asdict(likeness(text, rejected)),
    )


def _one_of(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise FactoryError(f"a review's {what} is not {visible(given)[:80]!r}: {nearest(given, known, 'it is one of')}")


def _check_text(what: str, text: str | None, most: int) -> None:
    if text is None:
        return
    if len(text) > most:
        raise FactoryError(f"the {what} has {len(text):,} characters: at most {most:,} are kept")
    if "\0" in text or text != text.encode("utf-8", "ignore").decode():
        raise FactoryError(f"the {what} holds a character that is no text (NUL, or half a surrogate pair): remove it")
