"""Rows of the lake from samples: prompts, responses, judgements and pairs of one imported source, and its run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from factory.importing.shapes import DECIDING, Answer, Sample, Score
from schemas.columns import to_arrow
from schemas.ids import content_id, model_id
from schemas.tables import TABLE_OF, Judgement, Model, Pair, Prompt, Response, RunPrompt
from stores.likeness import likeness

KIND = "imported"
FROM_SCORES = "imported_scores"
_AT_ONCE = 10_000
_VERDICT_VALUES = {"yes": 1.0, "no": 0.0}


def imported_response_id(run_id: str, prompt_id: str, model_id: str | None, text: str) -> str:
    """The id of an imported answer: an equal one of the same model is the same response."""
    return content_id("response", run_id, KIND, prompt_id, model_id, text)


@dataclass(slots=True)
class Imported:
    """Collects rows as Arrow, which takes a fraction of the memory of objects."""

    run_id: str
    best_by: str | None = None
    """the score by which answers are ranked"""
    samples: int = 0
    equal: int = 0
    """preferences left out: both sides are the same, or one is empty"""
    scores: Counter[str] = field(default_factory=Counter)
    """by judge"""
    _waiting: list[Any] = field(default_factory=list)
    _done: dict[str, list[pa.Table]] = field(default_factory=dict)
    _seen: Counter[str] = field(default_factory=Counter)
    """how often each prompt, response and model has come so far"""
    _ranked: dict[str, tuple["_Ranked", "_Ranked"]] = field(default_factory=dict)
    """by prompt, its best and its worst answer so far"""

    def add(self, prompt: Prompt, sample: Sample) -> None:
        """Adds a row of the source."""
        if not self._seen[prompt.prompt_id]:
            self._waiting += [prompt, _taken(self.run_id, prompt.prompt_id, self.samples)]
        self._seen[prompt.prompt_id] += 1
        self.samples += 1
        ids = [self._answer(prompt.prompt_id, answer) for answer in sample.answers]
        for chosen, rejected in sample.pairs:
            sides = sample.answers[chosen], sample.answers[rejected]
            if (
                ids[chosen] == ids[rejected]
                or not all(side.text.strip() for side in sides)
                or sides[0].text == sides[1].text
            ):
                self.equal += 1
            else:
                self._pair(prompt.prompt_id, KIND, (ids[chosen], ids[rejected]), (sides[0].text, sides[1].text))
        if not sample.compared:
            for id, answer in zip(ids, sample.answers, strict=True):
                self._rank(prompt.prompt_id, id, answer)
        if len(self._waiting) >= _AT_ONCE:
            self._to_arrow()

    def tables(self) -> dict[str, pa.Table]:
        """All rows by table; of prompts with several scored answers, the best over the worst is a pair, too."""
        for prompt_id, (best, worst) in self._ranked.items():
            if best.points > worst.points and best.text != worst.text:
                self._pair(prompt_id, FROM_SCORES, (best.response_id, worst.response_id), (best.text, worst.text))
        self._ranked.clear()
        self._to_arrow()
        return {name: pa.concat_tables(parts) for name, parts in self._done.items()}

    def _answer(self, prompt_id: str, answer: Answer) -> str:
        """Adds an answer with its scores; returns its id. An equal answer of the same model is the same response."""
        model = None if answer.model is None else model_id(answer.model, None)
        id = imported_response_id(self.run_id, prompt_id, model, answer.text)
        vote = self._seen[id]
        self._seen[id] += 1
        if not vote:
            self._waiting.append(_response(self.run_id, prompt_id, id, model, answer.text))
        if model is not None and not self._seen[model]:
            self._seen[model] += 1
            name = str(answer.model)
            self._waiting.append(
                Model(
                    model_id=model, name=name, origin=KIND, revision=None, training_run_id=None, chat_template_hash=None
                )
            )
        deciding = deciding_of(answer.scores, self.best_by)
        for score in answer.scores:
            self.scores[score.judge] += 1
            self._waiting.append(self._judgement(prompt_id, id, score, vote, decides=score is deciding))
        return id

    def _judgement(self, prompt_id: str, response_id: str, score: Score, vote: int, *, decides: bool) -> Judgement:
        return Judgement(
            judgement_id=content_id("judgement", self.run_id, response_id, score.judge, None, vote),
            run_id=self.run_id,
            prompt_id=prompt_id,
            response_id=response_id,
            judge=score.judge,
            kind=KIND,
            decides=decides,
            model_id=None,
            template_hash=None,
            vote=vote,
            verdict=score.verdict,
            points=score.points,
            value=_VERDICT_VALUES.get(score.verdict or ""),
            pass_points=None,
            probabilities=None,
            critique=score.critique,
            call_id=None,
            item_id=None,
            weight=None,
        )

    def _pair(self, prompt_id: str, source: str, ids: tuple[str, str], texts: tuple[str, str]) -> None:
        self._waiting.append(
            Pair(
                pair_id=content_id("pair", self.run_id, source, *ids),
                run_id=self.run_id,
                prompt_id=prompt_id,
                chosen_response_id=ids[0],
                rejected_response_id=ids[1],
                chosen_value=None,
                rejected_value=None,
                source=source,
                tree_id=None,
                node_id=None,
                **asdict(likeness(*texts)),
            )
        )

    def _rank(self, prompt_id: str, response_id: str, answer: Answer) -> None:
        deciding = deciding_of(answer.scores, self.best_by)
        if deciding is None or deciding.points is None or not answer.text.strip():
            return
        one = _Ranked(deciding.points, response_id, answer.text)
        best, worst = self._ranked.get(prompt_id, (one, one))
        self._ranked[prompt_id] = (
            one if one.points > best.points else best,
            one if one.points < worst.points else worst,
        )

    def _to_arrow(self) -> None:
        by_table: dict[type, list[Any]] = {}
        for row in self._waiting:
            by_table.setdefault(type(row), []).append(row)
        self._waiting = []
        for table, rows in by_table.items():
            self._done.setdefault(TABLE_OF[table], []).append(to_arrow(table, rows))


def _taken(run_id: str, prompt_id: str, position: int) -> RunPrompt:
    return RunPrompt(
        run_prompt_id=content_id("run_prompt", run_id, prompt_id),
        run_id=run_id,
        prompt_id=prompt_id,
        position=position,
        evolved=False,
    )


def _response(run_id: str, prompt_id: str, response_id: str, model: str | None, text: str) -> Response:
    return Response(
        response_id=response_id,
        run_id=run_id,
        prompt_id=prompt_id,
        kind=KIND,
        text=text,
        stage=None,
        model_id=model,
        choice_index=None,
        finish_reason=None,
        tokens=None,
        logprobs=None,
        flaw=None if text.strip() else "empty",
        call_id=None,
    )


@dataclass(frozen=True, slots=True)
class _Ranked:
    points: float
    response_id: str
    text: str


def deciding_of(scores: Sequence[Score], best_by: str | None = None) -> Score | None:
    """The score that says which answer is best: the one named, else by DECIDING, else the only one; None: unknown."""
    by_judge = {score.judge: score for score in scores}
    if best_by is not None:
        return by_judge.get(best_by)
    only = scores[0] if len(by_judge) == 1 else None
    return next((by_judge[judge] for judge in DECIDING if judge in by_judge), only)
