"""The tables that some methods need beside answers, judgements and pairs; see `tables.py`."""

from dataclasses import dataclass

from schemas.columns import column


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a claim was checked against."""

    document_id: str | None  # the passage's document; None: an answer of the model's own
    text: str
    weight: float | None  # the passage's BM25 score, or the share of samples that gave this answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text of a user's corpus, against which claims are checked."""

    document_id: str = column("hash of source, title and text")
    source: str = column("the corpus, as its owner named it")
    title: str | None = column("what the document is about")
    text: str = column("the whole text")
    sha256: str = column("SHA-256 of the text")
    licence: str | None = column("SPDX identifier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An atomic claim that a response makes, and how far it is supported."""

    claim_id: str = column("hash of run, stage, response and position")
    run_id: str = column("the run that checked it")
    prompt_id: str = column("the prompt that the response answers")
    response_id: str = column("the response that makes the claim")
    stage: str = column("name of the recipe's stage that checked it")
    position: int = column("position in the response, from 0")
    text: str = column("the claim")
    question: str | None = column("the question it answers; NULL: the method asks none")
    method: str = column("corpus (a model reads passages of documents) or samples (a model's own answers agree)")
    support: float | None = column(
        "probability that the passages support it, or the share of the largest group of answers; NULL: it cannot be verified",
        "0..1",
    )
    evidence: list[Evidence] = column(
        "passages in the order shown to the checker, or groups of equal answers, largest first"
    )
    model_id: str | None = column("the model that checked it or answered its question; NULL: none was asked")
    call_ids: list[str] = column("the calls behind it: taking it out, asking, checking")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecklistItem:
    """One requirement of a prompt that an answer is judged by."""

    item_id: str = column("hash of run, stage, prompt and position")
    run_id: str = column("the run")
    prompt_id: str = column("the prompt")
    stage: str = column("name of the recipe's stage that wrote it")
    position: int = column("position in the checklist, from 0")
    text: str = column("the requirement, as a question answered by yes or no")
    weight: float = column("its importance among the prompt's items; above 0")
    call_id: str | None = column("the call that wrote it")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaJudgement:
    """Which of two judgements of one response is better: one row per order in which they were shown."""

    meta_judgement_id: str = column("hash of run, stage, and both judgements in the order shown")
    run_id: str = column("the run")
    prompt_id: str = column("the prompt that the response answers")
    response_id: str = column("the response that both judge")
    stage: str = column("name of the recipe's stage that compared")
    first_judgement_id: str = column("the judgement shown first")
    second_judgement_id: str = column("the judgement shown second")
    probability: float | None = column("probability that the first is better; NULL: unparsed", "0..1")
    votes: list[str] = column("one per choice of the call: first, second or unparsed")
    rationales: list[str] = column("the model's full text, one per vote")
    model_id: str = column("the comparing model")
    template_hash: str = column("SHA-256 of its template")
    call_id: str = column("the call that made it")
