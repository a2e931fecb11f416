"""Traces and metrics for OpenTelemetry (the extra `otel`), if its environment variables ask for them.

A span per prompt, with a child span per call; the exporter's thread reads metrics from `Progress`. When off, its
packages are not imported and requests bypass this file. Collectors are reached by OTLP over HTTP; the SDK reads the
other variables (headers, sampler, batch sizes) itself.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from factory.inference.endpoints import SetAside
from factory.inference.failures import one_line
from factory.runs.progress import Progress
from factory.runs.session import Through, Tracing, Working
from factory.work.asker import Asker
from factory.work.context import Work
from factory.work.request import Answered, Request
from schemas.errors import FactoryError

DELIVERY_S = 5.0
"""How long a run's end waits for a collector to take the rest."""


@contextmanager
def exporting(progress: Progress) -> Iterator[Tracing | None]:
    """Exports while the block runs, and delivers the rest at its end; yields None if nothing asks for traces.

    Its errors are noted in `progress` and never end a run.
    """
    traces, metrics = _is_asked_for("TRACES"), _is_asked_for("METRICS")
    if not (traces or metrics):
        yield None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        progress.notes.append(
            "OTEL_… asks for OpenTelemetry, which is not installed: pip install 'preference-factory[otel]', or unset it"
        )
        yield None
        return
    logger, noting = logging.getLogger("opentelemetry"), _Noting(progress)
    logger.addHandler(noting)
    propagated, logger.propagate = logger.propagate, False
    named = {"service.name": "preference-factory", **OTELResourceDetector().detect().attributes}
    resource = Resource.create(named)
    tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    ends = [tracer_provider.shutdown]
    try:
        if traces:
            tracer_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        if metrics:
            reader = PeriodicExportingMetricReader(OTLPMetricExporter())
            meter_provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
            ends.append(meter_provider.shutdown)
            measure(meter_provider.get_meter("preference-factory"), progress)
        yield tracing_with(tracer_provider.get_tracer("preference-factory")) if traces else None
    finally:
        _all_within(ends, DELIVERY_S)
        logger.removeHandler(noting)
        logger.propagate = propagated


def _all_within(ends: list[Callable[[], None]], timeout_s: float) -> None:
    """Ends all exporters in parallel, and abandons slow ones: an unreachable collector would take a minute."""
    threads = [threading.Thread(target=end, daemon=True) for end in ends]
    for thread in threads:
        thread.start()
    deadline_s = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))


def _is_asked_for(signal: str) -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = os.environ.get(f"OTEL_{signal}_EXPORTER")
    if exporter:
        return exporter.lower() != "none"
    return any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in ("ENDPOINT", f"{signal}_ENDPOINT"))


class _Noting(logging.Handler):
    """Notes only the SDK's first warning: it repeats every few seconds while a collector is unreachable."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.WARNING)
        self.progress = progress
        self.noted = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.noted:
            self.noted = True
            self.progress.notes.append(f"OpenTelemetry: {one_line(record.getMessage())}")


def measure(meter: Any, progress: Progress) -> None:
    """Registers the counters of this attempt with a meter."""
    from opentelemetry.metrics import Observation

    def observed(read: Callable[[], Any]) -> list[Callable[[Any], Any]]:
        return [lambda _: [Observation(count, {"factory.run_id": progress.run_id, **of}) for count, of in read()]]

    def in_flight() -> Iterator[tuple[int, dict[str, str]]]:
        for endpoint in list(progress.endpoints):
            for server in endpoint.servers:
                of = {"gen_ai.request.model": endpoint.model.name, "server.address": server.address}
                yield server.pace.in_flight, of

    counter = meter.create_observable_counter
    counter("factory.requests", observed(lambda: [(progress.requests, {})]), "{request}", "requests answered")
    counter("factory.tokens", observed(lambda: [(progress.tokens, {})]), "{token}", "tokens generated")
    counter(
        "factory.request.errors",
        observed(lambda: [(n, {"error.type": kind}) for kind, n in dict(progress.errors).items()]),
        "{request}",
        "requests that failed, tried again or given up",
    )
    accepted = observed(lambda: [(progress.accepted - progress.accepted_before, {})])
    counter("factory.accepted_pairs", accepted, "{pair}", "refined pairs accepted")
    meter.create_observable_gauge(
        "factory.requests.in_flight", observed(in_flight), "{request}", "requests in flight at a server"
    )


def tracing_with(tracer: Any) -> Tracing:
    """Wraps a run's prompts and calls in spans of a tracer (`opentelemetry.trace.Tracer`)."""

    def of_asker(asker: Asker) -> Asker:
        traced = TracedAsker(**{field.name: getattr(asker, field.name) for field in fields(asker)})
        traced.tracer = tracer
        return traced

    def of_prompts(through: Through) -> Through:
        async def traced(working: Working, work: Work) -> str:
            attributes = {"factory.run_id": working.asker.run_id, "factory.prompt_id": work.prompt.prompt_id}
            with span(tracer, "prompt", attributes) as opened:
                outcome = await through(working, work)
                opened.set_attribute("factory.outcome", outcome)
            return outcome

        return traced

    return Tracing(of_asker, of_prompts)


@contextmanager
def span(tracer: Any, name: str, attributes: dict[str, Any]) -> Iterator[Any]:
    """A span, the parent of spans begun within it, even in other tasks."""
    from opentelemetry.trace import SpanKind, StatusCode

    kind = SpanKind.CLIENT if name == "call" else SpanKind.INTERNAL
    # The SDK would record tracebacks, which may hold anything.
    with tracer.start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as opened:
        try:
            yield opened
        except asyncio.CancelledError:
            opened.set_attribute("factory.outcome", "cancelled")
            raise
        except Exception as error:
            words = str(error) if isinstance(error, (SetAside, FactoryError)) else type(error).__name__
            opened.set_attribute("factory.error", words)
            opened.set_status(StatusCode.ERROR, words)
            raise


class TracedAsker(Asker):
    """An asker whose calls are spans."""

    tracer: Any

    async def ask(self, request: Request) -> Answered:
        attributes = {
            "factory.run_id": self.run_id,
            "factory.prompt_id": request.prompt.prompt_id,
            "factory.stage": request.stage,
            "factory.template": request.template or "prompt",
            "gen_ai.request.model": self.endpoints[request.role].model.name,
        }
        with span(self.tracer, "call", attributes) as opened:
            answered = await super().ask(request)
            told = {
                "gen_ai.usage.input_tokens": answered.call.prompt_tokens,
                "gen_ai.usage.output_tokens": answered.call.completion_tokens,
                "factory.retries": answered.call.retries,
                "factory.from_journal": answered.call.from_journal,
            }
            opened.set_attributes({name: value for name, value in told.items() if value is not None})
            return answered
