"""Traces, where OTEL_* asks for them: one span a batch, linked to the spans of its requests. Else no SDK is loaded.

No value of a request is in them, nor the text of an error: only counts, places and names of ours. Of a request's trace
context the two ids and the flags are linked; `tracestate` is free text, and stays in the records.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from app.model import Record
from app.settings import SettingsError
from app.telemetry.logs import log

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Link, Span

SERVICE: Final = "patient-upsert"
MOST_LINKS: Final = 128
"""What OpenTelemetry keeps of a span unless it is told otherwise; the requests beyond are counted, not linked."""
STOP_LIMIT: Final = 1.0
"""Seconds to send what is left when the worker stops."""

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL: Final = "http/protobuf"
_INSTALL: Final = "install patient-upsert[otel], or unset it"
_CONTEXT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


def asked_for(environ: Mapping[str, str]) -> str | None:
    """The variable that asks for traces; None when none does.

    Raises:
        SettingsError: it asks for what this worker cannot do.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    name = "OTEL_TRACES_EXPORTER" if exporter else next((name for name in _ENDPOINTS if environ.get(name)), None)
    if name is None or exporter == "none":
        return None
    if exporter not in {"", "otlp"}:
        raise SettingsError(["OTEL_TRACES_EXPORTER: must be otlp or none"])
    protocol = next((name for name in _PROTOCOLS if environ.get(name)), None)
    if protocol is not None and environ[protocol].strip() != _PROTOCOL:
        raise SettingsError([f"{protocol}: must be {_PROTOCOL}"])
    return name


def make_traces(environ: Mapping[str, str]) -> Traces | None:
    """Traces over OTLP as OTEL_* wants them; None when nothing asks for them.

    Raises:
        SettingsError: they are asked for, and cannot be had.
    """
    name = asked_for(environ)
    if name is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise SettingsError([f"{name}: traces need OpenTelemetry; {_INSTALL}"]) from None
    return Traces(OTLPSpanExporter())


class Traces:
    """Makes spans and gives them to an exporter, in the background."""

    def __init__(self, exporter: SpanExporter) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        release = version(SERVICE)
        given = Resource.create({SERVICE_VERSION: release})  # with those of OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME
        if str(given.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            given = given.merge(Resource({SERVICE_NAME: SERVICE}))
        self._provider: TracerProvider = TracerProvider(resource=given, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_told(exporter)))
        self._tracer = self._provider.get_tracer(SERVICE, release)

    @contextmanager
    def batch(self, records: Sequence[Record], group: str) -> Iterator[None]:
        """A span for the processing of these, linked to those in which they were sent."""
        from opentelemetry.trace import SpanKind

        topic = records[0].position.topic
        attributes = {
            **_messaging("process", "process", len(records)),
            "messaging.destination.name": topic,
            "messaging.consumer.group.name": group,
        }
        links = list(islice(_links(records), MOST_LINKS))
        with self._span(f"process {topic}", SpanKind.CONSUMER, attributes, links):
            yield

    @contextmanager
    def stage(self, name: str, records: int | None) -> Iterator[None]:
        """A span for a stage of the batch; none outside a batch, such as for one that is looked at in advance."""
        from opentelemetry.trace import SpanKind, get_current_span

        if not get_current_span().get_span_context().is_valid:
            yield
            return
        kind, attributes = SpanKind.INTERNAL, dict[str, Any]()
        if name == "publish":
            kind, attributes = SpanKind.PRODUCER, _messaging("send", "send", records)
        elif name == "offsets":
            kind, attributes = SpanKind.CLIENT, _messaging("commit", "settle", None)
        elif name in {"read", "write", "commit"}:
            kind, attributes = SpanKind.CLIENT, {"db.system.name": "postgresql"}
        with self._span(name, kind, attributes):
            yield

    @contextmanager
    def _span(
        self, name: str, kind: Any, attributes: Mapping[str, Any], links: Sequence[Link] | None = None
    ) -> Iterator[Span]:
        """The current span within. Of an error only the class is told: its text could hold data."""
        from opentelemetry.trace import Status, StatusCode

        current: AbstractContextManager[Span] = self._tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, links=links, record_exception=False, set_status_on_exception=False
        )
        with current as span:
            try:
                yield span
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR))
                raise

    def flush(self) -> None:
        """Give the exporter what is there; waits for it."""
        self._provider.force_flush()

    def close(self) -> None:
        """Send what is left, within `STOP_LIMIT`."""
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(STOP_LIMIT)


def _messaging(operation: str, kind: str, records: int | None) -> dict[str, Any]:
    count = {} if records is None else {"messaging.batch.message_count": records}
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        **count,
    }


def _links(records: Sequence[Record]) -> Iterator[Link]:
    """A link for each record that carries a valid W3C trace context."""
    from opentelemetry.trace import Link, SpanContext, TraceFlags

    for record in records:
        given = next((value for name, value in record.headers if name.lower() == "traceparent"), None)
        found = _CONTEXT.fullmatch(given) if given else None
        if found is None:
            continue
        context = SpanContext(int(found[1], 16), int(found[2], 16), True, TraceFlags(int(found[3], 16) & 1))
        place: dict[str, Any] = {
            "messaging.destination.partition.id": str(record.position.partition),
            "messaging.kafka.offset": record.position.offset,
        }
        yield Link(context, place)


def _told(exporter: SpanExporter) -> SpanExporter:
    """The exporter, which tells once when spans are lost and once when they arrive again."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Told(SpanExporter):
        lost = False

        def export(self, spans: Any) -> SpanExportResult:
            result = exporter.export(spans)
            lost = result is not SpanExportResult.SUCCESS
            if lost != self.lost:
                self.lost = lost
                log.warning("traces_lost", why="the collector refuses them or is away") if lost else log.info("traces")
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    return Told()
