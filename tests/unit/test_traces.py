"""Traces: when they are made, what a batch is linked to, and what never is in them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from app.errors import DataFault
from app.settings import SettingsError
from app.telemetry import Traces, configure_logging, make_traces
from app.telemetry.traces import MOST_LINKS, asked_for
from tests.rules import ROOT
from tests.support import until
from tests.unit.making import TOPIC
from tests.unit.making import record as made
from tests.unit.test_worker import bench
from tests.unit.test_worker import record as at_offset

CONTEXT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _quiet() -> None:
    configure_logging("console", "warning")


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.mark.rule("R13.7")
@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "x", "OTEL_RESOURCE_ATTRIBUTES": "a=b"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, None),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
    ],
)
def test_traces_are_made_only_where_something_says_whereto(environ: dict[str, str], name: str | None) -> None:
    assert asked_for(environ) == name


@pytest.mark.rule("R13.7")
@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: must be otlp or none"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf",
        ),
    ],
)
def test_what_cannot_be_had_stops_the_start_with_a_line(environ: dict[str, str], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        make_traces(environ)
    assert caught.value.lines == [line]


@pytest.mark.rule("R13.7")
def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError) as caught:
        make_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"})
    assert caught.value.lines == [
        "OTEL_EXPORTER_OTLP_ENDPOINT: traces need OpenTelemetry; install patient-upsert[otel], or unset it"
    ]


@pytest.mark.rule("R13.7")
def test_where_nothing_asks_for_traces_no_sdk_is_loaded() -> None:
    program = (
        "import sys, app.cli, app.main\n"
        "LOADED = ('opentelemetry.sdk', 'opentelemetry.trace', 'google.protobuf', 'requests')\n"
        "from app.telemetry import Metrics, make_traces\n"
        "assert make_traces({'OTEL_SERVICE_NAME': 'x'}) is None\n"
        "with Metrics().batch([], 'g'), Metrics().stage('read'): pass\n"
        "print([name for name in sys.modules if name.startswith(LOADED)])"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("[]\n", "")


@pytest.mark.rule("R13.8")
async def test_a_batch_is_a_span_with_its_stages_below_it(kept: InMemorySpanExporter) -> None:
    traces = Traces(kept)
    async with bench(group_id="g") as at:
        at.worker.metrics.traces = traces
        await at.offer(at_offset(0), at_offset(1), at_offset(0, partition=1))
        await until(lambda: at.intake.committed)
    traces.close()
    found: dict[str, Any] = {span.name: span for span in kept.get_finished_spans()}
    batch = found.pop("process t")
    assert (batch.kind, batch.parent, batch.status.status_code) == (SpanKind.CONSUMER, None, StatusCode.UNSET)
    assert dict(batch.attributes) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.batch.message_count": 3,
        "messaging.destination.name": "t",
        "messaging.consumer.group.name": "g",
    }
    assert sorted(found) == ["offsets", "publish"]
    assert {span.parent.span_id for span in found.values()} == {batch.context.span_id}
    assert (found["publish"].kind, found["offsets"].kind) == (SpanKind.PRODUCER, SpanKind.CLIENT)
    assert dict(found["publish"].attributes) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.batch.message_count": 3,
    }
    assert {span.resource.attributes["service.name"] for span in found.values()} == {"patient-upsert"}


@pytest.mark.rule("R13.8")
def test_a_batch_is_linked_to_the_spans_of_its_requests(kept: InMemorySpanExporter) -> None:
    records = [
        made(headers=[("Traceparent", CONTEXT), ("tracestate", b"vendor=Ada")], offset=5, partition=2),
        made(headers=[("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")], offset=6),
        *(made(headers=[("traceparent", wrong)]) for wrong in WRONG),
        made(),
    ]
    traces = Traces(kept)
    with traces.batch(records, "g"):
        pass
    traces.close()
    (span,) = kept.get_finished_spans()
    assert [
        (hex(link.context.trace_id), hex(link.context.span_id), link.context.trace_flags) for link in span.links
    ] == [
        ("0xaf7651916cd43dd8448eb211c80319c", "0xb7ad6b7169203331", 1),
        ("0xaf7651916cd43dd8448eb211c80319c", "0xb7ad6b7169203331", 0),
    ]
    assert dict(span.links[0].attributes or {}) == {
        "messaging.destination.partition.id": "2",
        "messaging.kafka.offset": 5,
    }
    assert [len(link.context.trace_state) for link in span.links] == [0, 0]


WRONG = [
    None,
    b"",
    b"Ada Example",
    CONTEXT.upper(),
    CONTEXT + b"\n",
    b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
    b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
]


@pytest.mark.rule("R13.8")
def test_links_have_a_bound_and_the_count_tells_the_rest(kept: InMemorySpanExporter) -> None:
    traces = Traces(kept)
    with traces.batch([made(headers=[("traceparent", CONTEXT)]) for _ in range(MOST_LINKS + 9)], "g"):
        pass
    traces.close()
    (span,) = kept.get_finished_spans()
    assert (len(span.links), span.name) == (MOST_LINKS, f"process {TOPIC}")
    assert (span.attributes or {})["messaging.batch.message_count"] == MOST_LINKS + 9


@pytest.mark.rule("R13.9")
def test_of_an_error_a_span_tells_the_class_alone(kept: InMemorySpanExporter) -> None:
    traces = Traces(kept)
    with pytest.raises(DataFault), traces.batch([made()], "g"), traces.stage("write", None):
        raise DataFault("Ada Example")
    traces.close()
    spans = kept.get_finished_spans()
    assert [(span.name, span.status.status_code) for span in spans] == [
        ("write", StatusCode.ERROR),
        (f"process {TOPIC}", StatusCode.ERROR),
    ]
    assert {(span.attributes or {})["error.type"] for span in spans} == {"DataFault"}
    assert not any("Ada" in span.to_json() for span in spans)


@pytest.mark.rule("R13.8")
def test_a_stage_outside_a_batch_makes_no_span(kept: InMemorySpanExporter) -> None:
    traces = Traces(kept)
    with traces.stage("understand", None):
        pass
    traces.close()
    assert kept.get_finished_spans() == ()


def test_a_collector_that_is_away_is_told_once() -> None:
    class Away(InMemorySpanExporter):
        def export(self, spans: Any) -> Any:
            from opentelemetry.sdk.trace.export import SpanExportResult

            return SpanExportResult.FAILURE

    with capture_logs() as said:
        traces = Traces(Away())
        for _ in range(3):
            with traces.batch([made()], "g"):
                pass
            traces.flush()
        traces.close()
    assert [(line["event"], line["log_level"]) for line in said] == [("traces_lost", "warning")]
