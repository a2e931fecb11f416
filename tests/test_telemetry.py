"""A run's spans and metrics reach an OpenTelemetry collector; unless requested, none of it is loaded."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from factory.monitor.telemetry import exporting
from factory.runs.progress import Progress
from tests.runs import answer, run_spar
from tests.scripted_endpoint import Reply, Request, running_endpoint


@pytest.fixture(autouse=True)
def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


class Collector:
    """What a collector was sent, by path."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[bytes]] = {"/v1/traces": [], "/v1/metrics": []}
        self.headers: list[Any] = []
        self.url = ""

    @property
    def spans(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies["/v1/traces"]]
        return [
            s for r in requests for resource in r.resource_spans for scope in resource.scope_spans for s in scope.spans
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        """The newest of each name."""
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        requests = [ExportMetricsServiceRequest.FromString(body) for body in self.bodies["/v1/metrics"]]
        scopes = [scope for r in requests for resource in r.resource_metrics for scope in resource.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}


@contextmanager
def running_collector() -> Iterator[Collector]:
    """OTLP over HTTP on a port of its own, in a thread."""
    collector, started, loop = Collector(), threading.Event(), asyncio.new_event_loop()

    async def take(request: web.Request) -> web.Response:
        collector.headers.append(request.headers)
        collector.bodies[request.path].append(await request.read())
        return web.Response(content_type="application/x-protobuf")

    async def start() -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/{signal}", take)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()

    def serve() -> None:
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    started.wait()
    yield collector
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Collector, str, Progress]]:
    """What a run of six prompts, one of them refused, sends to a collector; its id and counters."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    refused: list[str] = []

    def refuse_one(request: Request) -> Any:
        question = request.messages[0]["content"]
        if request.n == 5 and len(request.messages) == 1 and (not refused or question == refused[0]):
            refused[:] = [question]
            return Reply(400, {"error": {"message": "too long"}})
        return answer(request)

    with (
        running_collector() as collector,
        running_endpoint(refuse_one) as endpoint,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef")
        run_id, progress = run_spar(tmp_path_factory.mktemp("traced") / "lake", endpoint.url)
        yield collector, run_id, progress


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def test_every_prompt_is_a_span_with_its_outcome(exported: tuple[Collector, str, Progress]) -> None:
    collector, run_id, _ = exported
    prompts = [attributes(span) for span in collector.spans if span.name == "prompt"]
    assert len({prompt["factory.prompt_id"] for prompt in prompts}) == len(prompts) == 6
    assert {prompt["factory.run_id"] for prompt in prompts} == {run_id}
    assert sorted(prompt["factory.outcome"] for prompt in prompts) == ["done"] * 5 + ["set aside"]


def test_every_call_is_a_child_of_its_prompt_s_span(exported: tuple[Collector, str, Progress]) -> None:
    collector, _, progress = exported
    parents = {span.span_id: attributes(span)["factory.prompt_id"] for span in collector.spans if span.name == "prompt"}
    calls = [span for span in collector.spans if span.name == "call"]
    assert len(calls) == progress.requests + len(progress.set_aside)
    for call in calls:
        assert parents[call.parent_span_id] == attributes(call)["factory.prompt_id"]


def test_a_call_s_span_says_what_was_asked_and_what_it_took(exported: tuple[Collector, str, Progress]) -> None:
    collector, _, progress = exported
    calls = [attributes(span) for span in collector.spans if span.name == "call"]
    answered = [call for call in calls if "factory.error" not in call]
    assert sum(call["gen_ai.usage.output_tokens"] for call in answered) == progress.tokens
    assert {(call["factory.stage"], call["factory.template"]) for call in answered} == {
        ("sample", "prompt"), ("judge", "judge"), ("search", "judge"), ("search", "refine"),
    }  # fmt: skip
    assert all(call["factory.from_journal"] is False and call["factory.retries"] == 0 for call in answered)
    (failed,) = [call for call in calls if "factory.error" in call]
    assert failed["factory.error"] == "refused (HTTP 400: too long)"


def test_metrics_are_the_run_s_counters(exported: tuple[Collector, str, Progress]) -> None:
    collector, run_id, progress = exported
    metrics = collector.metrics
    sums = {name: metric.sum.data_points for name, metric in metrics.items() if metric.HasField("sum")}
    assert sums["factory.requests"][0].as_int == progress.requests > 0
    assert sums["factory.tokens"][0].as_int == progress.tokens > 0
    assert sums["factory.accepted_pairs"][0].as_int == progress.accepted > 0
    (error,) = sums["factory.request.errors"]
    assert attributes(error) == {"error.type": "HTTP 400", "factory.run_id": run_id} and error.as_int == 1
    in_flight = metrics["factory.requests.in_flight"].gauge.data_points
    assert {attributes(point)["server.address"] for point in in_flight} == {
        server.address for endpoint in progress.endpoints for server in endpoint.servers
    }


def test_no_key_goes_to_the_collector(exported: tuple[Collector, str, Progress]) -> None:
    collector, _, _ = exported
    sent = [body for bodies in collector.bodies.values() for body in bodies]
    assert sent and not any(b"sk-0123456789abcdef" in body for body in sent)


def test_answers_from_the_journal_are_spans_marked_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    with running_collector() as collector, running_endpoint(answer) as endpoint:
        run_spar(tmp_path / "lake", endpoint.url, prompts=1)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        run_spar(tmp_path / "lake", endpoint.url, prompts=1, stages__search__keep=1)
        calls = [attributes(span) for span in collector.spans if span.name == "call"]
        assert calls and calls[0]["factory.from_journal"] is True


def test_where_nothing_asks_for_it_nothing_is_imported() -> None:
    code = (
        "import sys; from factory.runs.loop import run_recipe; from factory.monitor.telemetry import exporting, Progress\n"
        "with exporting(Progress()) as tracing: assert tracing is None\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=str,
)
def test_it_is_switched_off_as_the_standard_says(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with exporting(Progress()) as tracing:
        assert tracing is None


def test_a_missing_extra_is_one_sentence_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    progress = Progress()
    with exporting(progress) as tracing:
        assert tracing is None
    (note,) = progress.notes
    assert "pip install 'preference-factory[otel]'" in note


def test_a_collector_that_is_away_is_noted_once_and_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with running_endpoint(answer) as endpoint:
        _, progress = run_spar(tmp_path / "lake", endpoint.url, prompts=1)
    (note,) = progress.notes
    assert note.startswith("OpenTelemetry: ") and progress.done == 1
