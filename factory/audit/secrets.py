"""Secrets (by detect-secrets' named detectors) and personal data. No value is shown, only the rows' ids.

detect-secrets looks at a line at a time and slowly, so only lines that could hold a key reach it. Its entropy detectors
are left out: to them, lines of English are secrets.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from factory.audit.finding import Check, Measured, share
from factory.audit.rows import Audited

_COULD_BE = (
    r"AKIA|ASIA|A3T|gh[pousr]_|github_pat_|glpat-|xox[abposr]-|hooks\.slack|sk-|sk_live|rk_live|AIza|SG\.|npm_|pypi-|"
    r"-----BEGIN|://[^\s/:@]+:[^\s/@]+@|eyJ[\w-]{10}|AccountKey=|hf_[A-Za-z]{10}|SK[0-9a-f]{8}|key-[0-9a-z]{8}|\d{8,10}:[\w-]{35}"
)
_DETECTORS = (
    "AWSKeyDetector", "AzureStorageKeyDetector", "BasicAuthDetector", "DiscordBotTokenDetector", "GitHubTokenDetector",
    "GitLabTokenDetector", "JwtTokenDetector", "MailchimpDetector", "NpmDetector", "OpenAIDetector", "PrivateKeyDetector",
    "PypiTokenDetector", "SendGridDetector", "SlackDetector", "SquareOAuthDetector", "StripeDetector",
    "TelegramBotTokenDetector", "TwilioKeyDetector",
)  # fmt: skip
_BEYOND = re.compile(r"\bsk-(?:proj|ant|or)-[\w-]{20,}|\bhf_[A-Za-z]{30,}|\bAIza[\w-]{35}|\bgithub_pat_\w{22,}")
"""keys that the detectors miss"""
_PERSONAL = {
    "e-mail address": r"[\w.+-]{2,}@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}",
    "telephone number": r"(?:\+\d{1,3}[ .-]?)(?:\(?\d{1,4}\)?[ .-]?){2,4}\d{2,4}|\(\d{3}\) ?\d{3}-\d{4}",
    "IBAN": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b",
    "card number": r"\b(?:\d[ -]?){13,16}\b",
    "social security number": r"\b\d{3}-\d{2}-\d{4}\b",
}
_NOBODY = re.compile(
    r"@(?:[\w-]+\.)*(?:example|test|invalid|domain|email|company|yourcompany|mail)\.\w+$|@example\b|^\(?555|\b555[ .-]?\d{4}|"
    r"^(?:name|you|your\.?\w*|user\w*|someone|first\.?last\w*|john\.?doe|jane\.?doe|info|support|contact|hello|admin|no-?reply)@",
    re.IGNORECASE,
)
"""addresses and numbers that stand for anybody's"""


def secrets(given: Audited) -> Measured:
    bad, kinds = secrets_in(_texts(given))
    return share(given.rows, pl.col("id").is_in(bad), detail=kinds)


def personal_data(given: Audited) -> Measured:
    bad, kinds = personal_data_in(_texts(given))
    return share(given.rows, pl.col("id").is_in(bad), detail=kinds)


def secrets_in(texts: pl.DataFrame) -> tuple[list[str], dict[str, int]]:
    """The ids of texts (id, text) with a key, token or password, and how many texts hold each kind."""
    bad: set[str] = set()
    kinds: dict[str, int] = {}
    with _detecting() as scan:
        for id, text in texts.filter(pl.col("text").str.contains(_COULD_BE)).iter_rows():
            found = {kind for line in text.splitlines() if re.search(_COULD_BE, line) for kind in scan(line)}
            if found:
                bad.add(id)
            for kind in found:
                kinds[kind] = kinds.get(kind, 0) + 1
    return sorted(bad), kinds


def personal_data_in(texts: pl.DataFrame) -> tuple[list[str], dict[str, int]]:
    """The ids of texts (id, text) with personal data, and how many ids have each kind."""
    bad: set[str] = set()
    kinds: dict[str, int] = {}
    for kind, pattern in _PERSONAL.items():
        seen = texts.with_columns(found=pl.col("text").str.extract_all(pattern)).filter(pl.col("found").list.len() > 0)
        ids = {id for id, values in seen.select("id", "found").iter_rows() if any(_is_real(kind, v) for v in values)}
        if ids:
            kinds[kind] = len(ids)
        bad |= ids
    return sorted(bad), kinds


def _texts(given: Audited) -> pl.DataFrame:
    """id, text: each text of each row."""
    sides = [s for s in ("prompt", "chosen", "rejected") if given.rows[s].null_count() < given.rows.height]
    return pl.concat([given.rows.select("id", text=side) for side in sides])


def _is_real(kind: str, value: str) -> bool:
    if kind == "card number":
        return _luhn(value)
    if kind == "IBAN":
        return _iban(value)
    return not _NOBODY.search(value.strip())


def _luhn(value: str) -> bool:
    """Whether a number's check digit is right (ISO/IEC 7812-1), and it is no run of one digit."""
    digits = [int(c) for c in value if c.isdigit()]
    doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits))]
    return len(digits) >= 13 and len(set(digits)) > 2 and digits[0] in (2, 3, 4, 5, 6) and sum(doubled) % 10 == 0


def _iban(value: str) -> bool:
    """Whether the check digits are right (ISO 13616)."""
    plain = value.replace(" ", "")
    return len(plain) >= 15 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


@contextmanager
def _detecting() -> Iterator[Any]:
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import transient_settings

    def scan(line: str) -> set[str]:
        found = {secret.type for secret in scan_line(line)}
        return found | ({"API key"} if _BEYOND.search(line) else set())

    with transient_settings({"plugins_used": [{"name": name} for name in _DETECTORS]}):
        yield scan


CHECKS = (
    Check(
        "secrets",
        "Share of rows with a key, token or password in a text.",
        secrets,
        0.0,
        beyond="fail",
        of_prompts=True,
    ),
    Check(
        "personal_data",
        "Share of rows with an e-mail address, telephone, card, bank account or social security number in a text.",
        personal_data,
        0.0,
        of_prompts=True,
    ),
)
