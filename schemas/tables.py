"""The tables of the lake. Rows are added, not changed; 'not known' is NULL, never 0 or false; time is UTC."""

from dataclasses import dataclass
from datetime import datetime

from schemas.columns import column

SCHEMA_VERSION = 3
"""A lake of an earlier version can be read; `factory migrate` brings it to this one (`stores/migrations/`)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str  # system, user or assistant
    content: str


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint that a program can check."""

    id: str  # as IFEval names it: length_constraints:number_words
    kwargs: str  # JSON with sorted keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One row each time a run starts, stops or ends; the newest one is its state (view `current_runs`)."""

    run_event_id: str = column("hash of run, attempt and status")
    run_id: str = column("recipe's name and a hash of recipe, templates, parameters, seed, iteration, parent")
    attempt: int = column("how often the run had been started before: 0, then 1 after the first resume")
    status: str = column("running, finished, stopped (by a person, a budget) or failed")
    reason: str | None = column("why it stopped or failed, in one sentence")
    recipe_name: str = column("the recipe's name")
    recipe: str = column("the recipe in full, as canonical JSON, overrides of the command line included")
    recipe_hash: str = column("SHA-256 of recipe and templates")
    templates: dict[str, str] = column("the prompt templates used: name and text")
    pairings: dict[str, str] = column("the queries that made its pairs: source and text")
    parameters: str = column("JSON: where the prompts came from, how many, which")
    seed: int = column("every sampling seed of the run is derived from it")
    iteration: int = column("round of self-play, from 0")
    parent_run_id: str | None = column("the run whose models this one continues")
    code_version: str = column("version of preference-factory")
    package_versions: dict[str, str] = column("versions of the packages that decide results")
    started_at: datetime = column("when this attempt started")
    ended_at: datetime | None = column("when this attempt stopped or ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that answered, judged or was trained."""

    model_id: str = column("hash of name and revision")
    name: str = column("the name the endpoint knows it by")
    origin: str = column("where it came from: embedded:NAME, vllm:PATH, or a base URL without credentials")
    revision: str | None = column("revision, or SHA-256 of its weights where they are at hand")
    training_run_id: str | None = column("the training run that made it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a language model."""

    call_id: str = column("hash of run and request")
    run_id: str = column("the run that asked")
    request_hash: str = column("hash of model, messages, parameters and seed: the answer's key in the journal")
    stage: str = column("the recipe's stage that asked, by its name")
    role: str | None = column("the model's role in the recipe; NULL: not known (a lake of an earlier version)")
    prompt_id: str = column("the prompt that it was asked for")
    response_ids: list[str] = column("the responses that it is about, in the order in which the template shows them")
    template: str | None = column("the run's template that was filled; NULL: the prompt's own messages were sent")
    model_id: str = column("the model that was asked")
    endpoint: str = column("who answered: embedded:NAME, or the base URL without credentials")
    messages_hash: str = column("SHA-256 of the rendered messages as JSON; view `call_messages` renders them")
    parameters: str = column("JSON: temperature, top_p, max_tokens and what else was sent")
    seed: int = column("sampling seed sent")
    choices: int = column("number of choices asked for")
    prompt_tokens: int | None = column("tokens of the rendered messages", "tokens")
    completion_tokens: int | None = column("tokens generated, all choices together", "tokens")
    latency_s: float | None = column("time from sending to answer, of the attempt that succeeded", "seconds")
    retries: int = column("attempts before the last one")
    finish_reasons: list[str] = column("one for each choice: stop, length, ...")
    error: str | None = column("why there is no answer: kind and one sentence; NULL when answered")
    from_journal: bool = column("the answer had been paid for earlier and was read from the journal")
    started_at: datetime = column("when the request was sent, or read from the journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is asked of the actor."""

    prompt_id: str = column("hash of messages, constraints, reference and the prompt it was evolved from")
    messages: list[Message] = column("conversation up to the answer: system, user, assistant, user, ...")
    language: str | None = column("ISO 639-1 code")
    subject: str | None = column("everyday subject")
    source: str = column("bundled set, or file and its SHA-256, or dataset and revision")
    licence: str | None = column("SPDX identifier")
    constraints: list[Constraint] = column("verifiable constraints; empty: a program cannot judge it")
    reference: str | None = column("reference answer")
    evolved_from: str | None = column("the easier prompt that it was made from")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPrompt:
    """Which prompts a run takes."""

    run_prompt_id: str = column("hash of run and prompt")
    run_id: str = column("the run")
    prompt_id: str = column("the prompt")
    position: int = column("place in the run's order, from 0; an evolved prompt has its parent's")
    evolved: bool = column("whether this run's evolve stage made it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer to a prompt, whoever made it."""

    response_id: str = column("hash of run, kind, and call and choice (sampled) or tree, parent and child")
    run_id: str = column("the run that made it")
    prompt_id: str = column("the prompt that it answers")
    kind: str = column("sampled, refined, resampled (best-of-n) or reference")
    text: str = column("the answer")
    stage: str | None = column("the recipe's stage that made it, by its name; NULL for a reference answer")
    model_id: str | None = column("the model that wrote it")
    choice_index: int | None = column("which choice of its call, from 0")
    finish_reason: str | None = column("stop, length, ...; repetition where the text goes in circles")
    tokens: int | None = column("tokens generated for it, a refiner's reflection included", "tokens")
    logprobs: str | None = column("JSON: each token with its log-probability, as the endpoint gave them")
    call_id: str | None = column("the call that made it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One judgement of one judge on one response; view `verdicts` has what several come to."""

    judgement_id: str = column("hash of run, response, judge and vote index")
    run_id: str = column("the run that judged")
    prompt_id: str = column("the prompt that the response answers")
    response_id: str = column("the response that was judged")
    judge: str = column("the judge's name in the recipe; its kind where it was given none")
    kind: str = column(
        "votes (a model says yes or no), score (a model gives points), verifier (a program) or reward_model"
    )
    decides: bool = column(
        "whether this judge's verdict counts: it is the first of the recipe's that can judge the response"
    )
    model_id: str | None = column("the judging model")
    template_hash: str | None = column("SHA-256 of the judge's template")
    vote: int = column("vote index, from 0")
    verdict: str | None = column("yes, no or unparsed; NULL: points alone")
    points: float | None = column("points as given: of a score, or the share of constraints followed (verifier)")
    value: float | None = column("what it adds to the verdict's value; NULL: unparsed", "0..1")
    pass_points: float | None = column("the mean of points from which a response passes; NULL: points do not decide")
    probabilities: dict[str, float] | None = column("probability of each label at the place where points were read")
    critique: str = column("the judge's words in full")
    call_id: str | None = column("the call that made it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Which of two responses to a prompt is better: one row for each order in which the two were shown."""

    comparison_id: str = column("hash of run, stage, and both responses in the order shown")
    run_id: str = column("the run that compared")
    prompt_id: str = column("the prompt that both answer")
    stage: str = column("the recipe's stage that compared, by its name")
    first_response_id: str = column("the response that stood first")
    second_response_id: str = column("the response that stood second")
    probability: float | None = column(
        "that the first is better, by the labels' log-probabilities, else by votes; NULL: unparsed", "0..1"
    )
    votes: list[str] = column("one for each choice of the call: first, second or unparsed")
    rationales: list[str] = column("the model's words in full, one for each vote")
    model_id: str = column("the comparing model")
    template_hash: str = column("SHA-256 of its template")
    call_id: str = column("the call that made it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree search from one failed response."""

    tree_id: str = column("hash of run, root response, strategy and parameters")
    run_id: str = column("the run")
    prompt_id: str = column("the prompt")
    stage: str = column("the recipe's stage that searched, by its name")
    root_response_id: str = column("the failed response at the root")
    strategy: str = column("bfs, dfs or best_of_n")
    parameters: str = column("JSON: branch, keep, depth, budget, threshold, selection")
    outcome: str = column("accepted, exhausted, budget or failed")
    nodes_expanded: int = column("refinements asked for, the root not counted", "nodes")
    accepted_node_id: str | None = column("the node that was accepted")
    error: str | None = column("why it failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node of a search tree: a refinement (or, at depth 0, the failed response)."""

    node_id: str = column("hash of tree, parent and index among its siblings")
    tree_id: str = column("the tree")
    run_id: str = column("the run")
    prompt_id: str = column("the prompt")
    parent_node_id: str | None = column("the node it was refined from; NULL at the root")
    depth: int = column("0 at the root")
    visit: int = column("order of visit, 0 at the root")
    response_id: str | None = column("its response; NULL when the refiner's output could not be parsed")
    judged_response_id: str | None = column("whose judgements give the value: equal text is judged once a tree")
    critique_judgement_id: str | None = column("the judgement whose critique it was refined from")
    reflection: str | None = column("what the refiner wrote before the refined answer")
    output: str | None = column("the refiner's output in full; NULL at the root and in best_of_n")
    flaw: str | None = column(
        "unended (cut at max_tokens), repetitive or unchanged (its parent's text); NULL: none of them"
    )
    value: float | None = column("the judge's value: share of yes among readable votes", "0..1")
    state: str = column("open, accepted, pruned, unparsed or unjudged")
    call_id: str | None = column("the call that made it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A preference: chosen over rejected."""

    pair_id: str = column("hash of run, source, chosen and rejected")
    run_id: str = column("the run")
    prompt_id: str = column("the prompt")
    chosen_response_id: str = column("the better response")
    rejected_response_id: str = column("the worse response")
    chosen_value: float | None = column("the judge's value of the chosen one", "0..1")
    rejected_value: float | None = column("the judge's value of the rejected one", "0..1")
    source: str = column("the pairing that made it: a query in stores/pairing/, or one of the user's own")
    tree_id: str | None = column("the tree it comes from, if any")
    node_id: str | None = column("the accepted node, if any")
    similarity: float = column("word-level edit similarity: 1 - Levenshtein distance / longer one", "0..1")
    length_ratio: float | None = column("words of chosen / words of rejected; NULL when the latter is empty")
    shared_prefix_words: int = column("words at the start that both share", "words")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """A training set: a query, pinned at a snapshot."""

    training_set_id: str = column("hash of name, version and fingerprint")
    name: str = column("the SQL file's name")
    version: int = column("1, 2, ...; the same rows keep their version")
    snapshot: int = column("the lake's snapshot that the query read")
    sql: str = column("the query's text")
    views: str | None = column("the views and macros of its time; NULL: those that the lake held at the snapshot")
    parameters: str = column("JSON: the query's parameters")
    format: str = column("preference or prompt_completion, both conversational")
    train_rows: int = column("rows in the training split", "rows")
    held_out_rows: int = column("rows in the held-out split", "rows")
    fingerprint: str = column("SHA-256 over all rows in their order")
    created_at: datetime = column("when it was built")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """One training of a model on a training set."""

    training_run_id: str = column("hash of training set, base model, configuration and seed, and start")
    training_set_id: str = column("the training set")
    objective: str = column("dpo or rft")
    base_model: str = column("the model that was trained")
    base_weights_sha256: str = column("SHA-256 of its weights")
    configuration: str = column("JSON: the trainer's configuration")
    package_versions: dict[str, str] = column("versions of the packages that decide the weights")
    seed: int = column("the trainer's seed")
    hardware: str = column("processor or accelerator, and how many")
    loss_curve: list[float] = column("training loss, one for each logged step")
    metrics: str = column("JSON: held-out margin, accuracy, log-probability, before and after")
    weights_sha256: str = column("SHA-256 of the trained weights")
    output: str = column("folder of the trained model")
    started_at: datetime = column("start")
    ended_at: datetime = column("end")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One figure measured of a model; filled by evaluations to come."""

    evaluation_id: str = column("hash of model, benchmark, metric and seed")
    model_id: str = column("the model measured")
    benchmark: str = column("the benchmark and its revision")
    metric: str = column("what was measured")
    value: float = column("the figure")
    examples: int = column("over how many examples", "examples")
    seed: int | None = column("sampling seed")
    recorded_at: datetime = column("when")


TABLES: dict[str, type] = {
    "runs": Run,
    "models": Model,
    "calls": Call,
    "prompts": Prompt,
    "run_prompts": RunPrompt,
    "responses": Response,
    "judgements": Judgement,
    "comparisons": Comparison,
    "trees": Tree,
    "nodes": Node,
    "pairs": Pair,
    "training_sets": TrainingSet,
    "training_runs": TrainingRun,
    "evaluations": Evaluation,
}
TABLE_OF: dict[type, str] = {table: name for name, table in TABLES.items()}
