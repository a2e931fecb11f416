"""How long it takes to find the passages that a claim is checked against: build, milliseconds a claim, memory.

    python -m benchmarks.claims_retrieval [--documents 100000] [--claims 500]

The corpus is made up: documents of 220 words in the median (log-normal), words drawn by Zipf's law from a vocabulary of 200,000.
A claim is 12 words in a row of a document, frequent words included, which is the hard case: they are in most passages. Aim:
at most 5 ms a claim at 100,000 documents.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from factory.documents.searching import index_documents
from schemas.columns import arrow_schema
from schemas.ids import content_id, sha256_text
from schemas.tables import Document
from stores.lake import Lake

VOCABULARY = 200_000
WORDS, SPREAD = 220, 0.6
CLAIM_WORDS = 12


def corpus(count: int, seed: int = 0) -> list[str]:
    """Texts whose words' frequencies are like those of real ones."""
    draw = np.random.default_rng(seed)
    words = np.array([f"w{number:x}" for number in range(VOCABULARY)])
    shares = np.cumsum(1 / np.arange(3, VOCABULARY + 3))
    lengths = np.maximum(20, draw.lognormal(np.log(WORDS), SPREAD, count).astype(int))
    ends = np.cumsum(lengths)
    drawn = words[np.searchsorted(shares / shares[-1], draw.random(ends[-1]))]
    return [" ".join(drawn[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def claims_of(texts: list[str], count: int, seed: int = 1) -> list[str]:
    draw = np.random.default_rng(seed)
    claims = []
    for place in draw.integers(0, len(texts), count):
        words = texts[place].split()
        start = draw.integers(0, len(words) - CLAIM_WORDS)
        claims.append(" ".join(words[start : start + CLAIM_WORDS]))
    return claims


def fill(lake: Lake, texts: list[str]) -> None:
    size = len(texts)
    columns = [
        [content_id("document", "made", None, text) for text in texts], ["made"] * size, [None] * size, texts,
        [sha256_text(text) for text in texts], [None] * size,
    ]  # fmt: skip
    schema = arrow_schema(Document)
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)]
    lake.append_arrow({"documents": pa.Table.from_arrays(arrays, schema=schema)}, message="made up")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--claims", type=int, default=500)
    given = parser.parse_args()
    texts = corpus(given.documents)
    asked = claims_of(texts, given.claims)
    with tempfile.TemporaryDirectory() as folder, Lake.open(Path(folder) / "lake", create=True) as lake:
        fill(lake, texts)
        del texts
        before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        cpu_s = time.process_time()
        found = index_documents(lake, None, 100)
        print(f"{found.note}; {time.process_time() - cpu_s:.1f} s of CPU time")
        print(
            f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB, before {before_mb:,.0f}"
        )
        took = []
        cpu_s = time.process_time()
        for claim in asked:
            start = time.perf_counter()
            found.search(claim, 5)
            took.append((time.perf_counter() - start) * 1e3)
        cpu_ms = (time.process_time() - cpu_s) * 1e3 / len(asked)
    low, middle, high = np.percentile(took, [5, 50, 95])
    print(
        f"a claim: median {middle:.2f} ms, 5% to 95% {low:.2f} to {high:.2f} ms, mean {np.mean(took):.2f} ms, "
        f"{cpu_ms:.2f} ms of CPU time"
    )


if __name__ == "__main__":
    main()
