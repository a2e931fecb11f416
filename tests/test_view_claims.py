"""Claims where people look: pages of pairs, answers, calls and the corpus; the lineage that is published; a rerun."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from factory.monitor.estimate import estimate
from factory.publishing.lineage import lineage_tables, texts_of
from factory.reruns.runs import Asked, repeat_run
from factory.runs.progress import Progress
from schemas.tables import Claim, Document, Pair
from stores.lake import Lake
from tests.claims import DOCUMENTS, corpus, facts, run, specification
from tests.scripted_endpoint import running_endpoint
from tests.view_pages import check_harmless, pages_of, read_markup
