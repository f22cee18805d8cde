"""A worker on real servers, as whoever is on call sees it: its pages, its log, and what a collector of traces gets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import decompress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from faststream.asgi import AsgiFastStream
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from app.consumer.connection import connection
from app.settings import Settings
from app.telemetry.names import STAGES
from tests.faults.broker_side import all_answered, foreign, log_lines, log_of
from tests.support import page, plain, ready, running, until

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
CONTEXT = f"00-{TRACE}-{SPAN}-01".encode()
REQUESTS = 200


class Collector:
    """Takes OTLP over HTTP, and keeps what it is sent."""

    def __init__(self) -> None:
        self.raw = b""
        self.spans: list[Any] = []
        self.services: set[str] = set()

    def take(self, content: bytes) -> None:
        self.raw += content
        for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
            self.services |= {each.value.string_value for each in resource.resource.attributes if "name" in each.key}
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]


@contextmanager
def collector() -> Iterator[tuple[Collector, str]]:
    """A collector that listens, and its address."""
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            kept.take(decompress(content) if self.headers.get("content-encoding") == "gzip" else content)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield kept, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def metrics(app: AsgiFastStream) -> dict[str, float]:
    """The samples of the worker's own metrics, each under its name and label values."""
    _, text = await page(app, "/metrics")
    return {
        " ".join([sample.name.removeprefix("patient_upsert_"), *filter(None, sample.labels.values())]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def in_transaction(settings: Settings) -> tuple[int, int]:
    """Publish one request to partition 1 in a transaction, whose mark lies behind it."""
    request = plain("cus_t")
    producer = AIOKafkaProducer(**connection(settings), transactional_id=settings.group_id)
    async with producer, producer.transaction():
        sent = await producer.send_and_wait(settings.request_topic, request.value, key=request.key, partition=1)
    return sent.partition, sent.offset


@pytest.mark.rule("R13.2", "R13.3", "R13.8", "R13.9", "R13.10")
async def test_pages_log_and_traces_tell_how_the_worker_does_and_nothing_of_a_request(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    producer = foreign(settings)
    with collector() as (kept, address):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        async with running(log_of(settings)) as app:
            await ready(app)

            async def told(**expected: float) -> dict[str, float]:
                """Await these samples; all that were there then."""

                async def found() -> dict[str, float] | None:
                    now = await metrics(app)
                    fits = [now.get(name.replace("__", " ")) == value for name, value in expected.items()]
                    return now if all(fits) else None

                samples: dict[str, float] = await until(found)
                return samples

            traced = [("traceparent", CONTEXT), ("tracestate", b"v=Ada")]
            requests = [plain(f"cus_{number}", traced) for number in range(REQUESTS)]
            places = await producer.send(settings, *requests, partition=0)
            places.append(await in_transaction(settings))
            await all_answered(settings, *places)
            quiet = await told(partition_lag__0=0, partition_lag__1=0, oldest_unanswered_seconds__1=0, ready=1)
            assert quiet["answers_total created"] == quiet["answer_seconds_count"] == REQUESTS + 1
            assert quiet["assigned_partitions"] == settings.topic_partitions
            assert quiet["database_connections limit"] == settings.database_pool_size
            assert quiet["stage_seconds_count publish"] == quiet["batch_records_count"]

            database = await asyncpg.connect(settings.database_url.get_secret_value())
            await database.execute("begin; lock table requests in exclusive mode")
            more = await producer.send(settings, plain("cus_1"), plain("cus_2"), partition=0)
            stuck = await told(partition_lag__0=2, database_connections__busy=1)
            later = await until(lambda: grown(app, stuck["oldest_unanswered_seconds 0"]))
            assert later["oldest_unanswered_seconds 1"] == 0
            await database.execute("rollback")
            await database.close()
            await all_answered(settings, *more)
            await told(partition_lag__0=0, oldest_unanswered_seconds__0=0)

    said = log_lines(capsys)
    (start,) = [line for line in said if line["event"] == "start"]
    assert (start["database_url"], start["traces"], start["version"] != "") == ("**********", True, True)
    batches = [line for line in said if line["event"] == "batch"]
    assert sum(line["records"] for line in batches) == REQUESTS + 3
    assert len(said) < REQUESTS / 2

    spans = {name: [span for span in kept.spans if span.name == name] for name in {span.name for span in kept.spans}}
    handled = spans.pop(f"process {settings.request_topic}")
    assert set(spans) == set(STAGES)  # of the first batch `understand` too; the others are looked at in advance
    linked = {(link.trace_id.hex(), link.span_id.hex()) for span in handled for link in span.links}
    assert linked == {(TRACE, SPAN)}
    assert "patient-upsert" in kept.services
    ids = {span.span_id for span in handled}
    assert {span.parent_span_id for found in spans.values() for span in found} <= ids
    seen = kept.raw + str(said).encode()
    assert [word for word in (b"Ada", b"Example", b"cus_1", b"clinic.local", b"7946") if word in seen] == []


async def grown(app: AsgiFastStream, age: float) -> dict[str, float] | None:
    """The samples, once the oldest record of partition 0 is older than that."""
    now = await metrics(app)
    return now if now["oldest_unanswered_seconds 0"] > age + 0.5 else None
