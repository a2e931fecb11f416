"""What a refused request says of: the set-up, which ends the run at the first, or this one request.

Endpoints share no codes, so their words are read: a refusal is the set-up's only where they name what is, and the
prompt's where nothing is recognised.
"""

import re
from datetime import datetime, timedelta

from factory.inference.failures import Failure
from factory.inference.settings import SENT

OF_A_PROMPT = (400, 403, 413, 414, 422, 431, 451)
"""Statuses that may be this one request's fault."""

_LENGTH = re.compile(
    r"context|too (?:long|large|many tokens)|input tokens|`inputs` tokens|prompt tokens|reduce the length|prompt length"
    r"|input length|max_tokens must be at least 1, got -",
    re.IGNORECASE,
)
_POLICY = re.compile(r"flagged|moderation|content.{0,3}(?:policy|filter|management)|safety|harmful", re.IGNORECASE)
_MONEY = re.compile(
    r"insufficient[ _-]?(?:quota|balance|funds|credits?)|balance is (?:too low|insufficient)|out of credits?"
    r"|payment required|arrearage|overdue",
    re.IGNORECASE,
)
_MODEL = re.compile(
    r"model_not_found|\bmodels?\b.{0,80}(?:not found|(?:does not|doesn't|not) exist|is not (?:a )?valid|not available"
    r"|decommissioned|deprecated|no longer)|(?:unknown|no such|invalid|unsupported) model\b|not a valid model",
    re.IGNORECASE,
)
_CEILING = re.compile(r"supports? at most|completion tokens|output tokens", re.IGNORECASE)


def refused_parameter(failure: Failure) -> str | None:
    """The parameter of the request that the endpoint refuses, whatever the prompt; None: it is something else."""
    if failure.status not in (400, 422):
        return None
    of_length = _LENGTH.search(failure.said)
    if of_length and not (failure.parameter == "max_tokens" and _CEILING.search(failure.said)):
        return None
    if failure.parameter in SENT:
        return failure.parameter
    if failure.parameter is not None and failure.parameter != "body":
        return None  # messages, model: it is not of how the answer is sampled
    return next((name for name in SENT if _is_blamed(name, failure.said)), None)


def _is_blamed(name: str, said: str) -> bool:
    """Whether an error names a parameter. Words such as 'seed' may also be the prompt's, so they need quotes or more."""
    if "_" in name or name == "logprobs":
        return re.search(rf"(?<![a-z_]){name}(?![a-z_])", said) is not None
    bare = rf"(?:parameter|argument|field)s?(?: supplied)?:? {name}\b|\b{name} (?:parameter|argument|must be|is not supported)"
    return re.search(rf"""['"`]{name}['"`]|{bare}""", said) is not None


def end_of_run(failure: Failure, address: str, role: str, model: str) -> str | None:
    """The sentence that ends the run for a refusal of the set-up; None: it is of this request alone, or temporary.

    Args:
        role: the model's in the recipe, whose settings the sentence names.
    """
    status, said, way = failure.status, failure.said, failure.by_way
    if failure.remedy is not None:
        return f"{address} cannot be used ({failure}): {failure.remedy}"
    if status == 402 or (status in (400, 403, 429) and _MONEY.search(said)):
        return f"{address} has run out of quota ({failure}): top up your account, then run `factory resume`"
    if not failure.is_refusal or status is None or _is_of_prompt(failure):
        return None
    if status in (401, 403):
        words = "" if said == "no reason given" else f", its words: {said}"
        return (
            f"{address} refuses the key (HTTP {status}){way}: put the right one where models.{role}.api_key_env or "
            f"api_key_file points{words}"
        )
    if _MODEL.search(said) or (status == 404 and model in said):
        return f"{address} has no model {model!r} ({failure}): set models.{role}.name to one it serves"
    if status in (404, 405, 410, 501):
        return (
            f"{address} has nothing at {address.rstrip('/')}/chat/completions ({failure}): does the base URL end in "
            f"/v1? If it is right, set models.{role}.name to a model it serves"
        )
    if (name := refused_parameter(failure)) is not None:
        other = "max_completion_tokens" if "max_completion_tokens" in said else "other_name"
        return (
            f"{address} refuses the parameter {name} ({failure}): change it in the recipe, or run `factory resume` with "
            f"-o 'models.{role}.parameters={{{name}: {other}}}' to send it under another name, or {{{name}: null}} to "
            "leave it out"
        )
    if status not in OF_A_PROMPT:
        return f"{address} refuses every request ({failure}): see its documentation for what it needs"
    return None


def _is_of_prompt(failure: Failure) -> bool:
    if failure.status not in OF_A_PROMPT:
        return False
    # A flagged prompt has status 403 at some; a wrong key's words may mention a policy, but no length.
    return bool(_POLICY.search(failure.said)) or (failure.status == 413)


def names_the_prompt(failure: Failure) -> bool:
    """Whether the endpoint says that it is this prompt: it is too long, or not allowed."""
    return bool(_LENGTH.search(failure.said) or _POLICY.search(failure.said)) or failure.status in (413, 414)


def remedy_for(reason: str) -> str:
    """What may help a prompt that was set aside for this reason."""
    again = "`factory resume --retry-set-aside` asks again"
    if _LENGTH.search(reason) or "HTTP 413" in reason or "HTTP 414" in reason:
        return f"shorten the prompt, or use a model with a longer context: {again}"
    if _POLICY.search(reason):
        return f"the endpoint does not allow this prompt: leave it out, or use another model; {again}"
    if re.search(r"(?:^|: )failed \d+ times", reason):
        return f"find the cause in the endpoint's log; {again}"
    return f"change what the endpoint objects to; {again}"


def clock_time(seconds: float) -> str:
    """The time of day in so many seconds, with the date unless it is today's."""
    now = datetime.now().astimezone()
    then = now + timedelta(seconds=seconds)
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%Y-%m-%d %H:%M}"
