"""Traces and metrics for OpenTelemetry (the extra `otel`), where its environment variables ask for them.

A span for each prompt, a child span for each of its calls; metrics are read off `Progress` by the exporter's thread.
Switched off, its packages are not imported and a request passes nothing of this file. Delivery to a collector goes by
OTLP over HTTP; the SDK reads the other variables (headers, sampler, batch sizes) itself.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from factory.inference.endpoints import SetAside
from factory.inference.replies import one_line
from factory.runs.progress import Progress
from factory.work.context import Asked, Context, Work
from schemas.errors import FactoryError
from schemas.tables import Prompt

DELIVERY_S = 5.0
"""How long the end of a run waits for a collector to take what is left."""

Through = Callable[[Context, Work, Progress], Coroutine[Any, Any, str]]
"""Takes a prompt through the stages; returns what became of it."""


@contextmanager
def exporting(progress: Progress) -> Iterator["Tracing | None"]:
    """Exports as long as the block runs, and delivers what is left at its end; gives None where nothing asks for it.

    What is wrong with it is noted in `progress` and never ends a run.
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
        yield Tracing(tracer_provider.get_tracer("preference-factory")) if traces else None
    finally:
        _all_within(ends, DELIVERY_S)
        logger.removeHandler(noting)
        logger.propagate = propagated


def _all_within(ends: list[Callable[[], None]], timeout_s: float) -> None:
    """Ends exporters at once; one whose collector is away would take a minute, and is left to itself."""
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
    """The SDK's first complaint as a note: it repeats itself every few seconds while a collector is away."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.WARNING)
        self.progress = progress
        self.noted = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.noted:
            self.noted = True
            self.progress.notes.append(f"OpenTelemetry: {one_line(record.getMessage())}")


def measure(meter: Any, progress: Progress) -> None:
    """Has the counters of this start of a run observed whenever the meter's reader asks."""
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
        "factory.requests.in_flight", observed(in_flight), "{request}", "requests under way at a server"
    )


@dataclass(frozen=True, slots=True)
class Tracing:
    """Wraps what a run does in spans of a tracer (`opentelemetry.trace.Tracer`)."""

    tracer: Any

    def of_prompts(self, through: Through) -> Through:
        async def traced(context: Context, work: Work, progress: Progress) -> str:
            attributes = {"factory.run_id": context.run_id, "factory.prompt_id": work.prompt.prompt_id}
            with self.span("prompt", attributes) as span:
                outcome = await through(context, work, progress)
                span.set_attribute("factory.outcome", outcome)
            return outcome

        return traced

    def of_calls(self, context: Context) -> "TracedContext":
        traced = TracedContext(**{field.name: getattr(context, field.name) for field in fields(context)})
        traced.tracing = self
        return traced

    @contextmanager
    def span(self, name: str, attributes: dict[str, Any]) -> Iterator[Any]:
        """A span that is the parent of those begun within it, in tasks too."""
        from opentelemetry.trace import SpanKind, StatusCode

        kind = SpanKind.CLIENT if name == "call" else SpanKind.INTERNAL
        # The SDK would record exceptions with their tracebacks, which may hold anything.
        with self.tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except asyncio.CancelledError:
                span.set_attribute("factory.outcome", "cancelled")
                raise
            except Exception as error:
                words = str(error) if isinstance(error, (SetAside, FactoryError)) else type(error).__name__
                span.set_attribute("factory.error", words)
                span.set_status(StatusCode.ERROR, words)
                raise


class TracedContext(Context):
    """A context whose calls are spans."""

    tracing: Tracing

    async def ask(self, stage: str, prompt: Prompt, role: str, *given: Any, **named: Any) -> Asked:
        attributes = {
            "factory.run_id": self.run_id,
            "factory.prompt_id": prompt.prompt_id,
            "factory.stage": stage,
            "factory.template": named.get("template") or "prompt",
            "gen_ai.request.model": self.endpoints[role].model.name,
        }
        with self.tracing.span("call", attributes) as span:
            asked = await super().ask(stage, prompt, role, *given, **named)
            answered = {
                "gen_ai.usage.input_tokens": asked.call.prompt_tokens,
                "gen_ai.usage.output_tokens": asked.call.completion_tokens,
                "factory.retries": asked.call.retries,
                "factory.from_journal": asked.call.from_journal,
            }
            span.set_attributes({name: value for name, value in answered.items() if value is not None})
            return asked
