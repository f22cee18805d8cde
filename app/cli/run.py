"""`patient-upsert run`: the worker, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import signal
import socket
from collections.abc import Iterator
from typing import Annotated, Final

import typer
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.cli.workers import Child, Children, split
from app.errors import SetupNeeded, WorkerError
from app.main import create_app
from app.settings import MEBIBYTE, PREFIX, Settings, load_settings

_SETTINGS: Final = "\n".join(
    f"{PREFIX}{name.upper()}: {field.description}" for name, field in Settings.model_fields.items()
)
HELP: Final = f"""Run the worker until SIGTERM or Ctrl-C.

Servers that are away are waited for. Health is at /livez and /readyz, metrics are at /metrics.

Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 DATABASE_URL=postgresql://localhost/clinic patient-upsert run

Example: patient-upsert run --workers 4    (four processes in one consumer group; HTTP_PORT is the first one's, the
others listen on the ports after it; when one of them dies, all end)

Settings, from the environment:

{_SETTINGS.replace("[", chr(92) + "[")}
"""
_DRAIN_SECONDS: Final = 1
_CONNECTION_SECONDS: Final = 30
_CONNECTIONS: Final = 100
"""At once. Each takes a descriptor, which connections to Kafka and Postgres need too."""
_LAST_PORT: Final = 65_535
_OBJECTS_BETWEEN_COLLECTIONS: Final = 100_000
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


class _BriefProtocol(H11Protocol):
    """Ends each connection after a while, and those beyond a number at once: each holds a descriptor."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._end = self.loop.call_later(_CONNECTION_SECONDS, transport.abort)
        if len(self.connections) > _CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """Ends with the exit code of its work: uvicorn itself would raise the signal again."""

    parent: int | None = None
    """A descriptor that ends when this process has to end as well."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        if self.parent is not None:
            loop.add_reader(self.parent, self._orphaned, loop, self.parent)
        try:
            yield
        finally:
            if self.parent is not None:
                loop.remove_reader(self.parent)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        self.should_exit = True

    def _orphaned(self, loop: asyncio.AbstractEventLoop, parent: int) -> None:
        loop.remove_reader(parent)  # its end can be read for ever
        self._stop()


def run(
    workers: Annotated[
        int, typer.Option(help="Processes that share the work, as members of one group", min=1, max=64)
    ] = 1,
) -> None:
    """The command."""
    settings = load_settings()
    each = _each(settings, workers)
    with contextlib.ExitStack() as stack:
        # Before the others exist, so that a port in use is told once, and nothing has begun.
        listening = [stack.enter_context(_listen(own)) for own in each]
        member = split(workers) if workers > 1 else None
        if isinstance(member, Children):
            for port in listening:
                port.close()
            raise typer.Exit(member.awaited())
        number = member.number if member else 0
        for other in listening[:number] + listening[number + 1 :]:
            other.close()
        _serve(each[number], listening[number], member)


def _each(settings: Settings, workers: int) -> list[Settings]:
    """The settings of each worker: they differ in the port, unless the system chooses it."""
    first = settings.http_port
    if first and first + workers - 1 > _LAST_PORT:
        raise SetupNeeded(
            f"{workers} workers need as many ports; set {PREFIX}HTTP_PORT to {_LAST_PORT + 1 - workers} or less"
        )
    return [settings.model_copy(update={"http_port": first + number if first else 0}) for number in range(workers)]


def _serve(settings: Settings, listening: socket.socket, member: Child | None) -> None:
    """One worker, until it is told to stop or its parent has ended."""
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        lifespan="on",
        http=_BriefProtocol,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    server = _Server(config)
    server.parent = member.parent if member else None
    _keep_what_is_loaded()
    _keep_memory()
    server.run(sockets=[listening])
    if not server.started:
        raise WorkerError("the worker could not start; LOG_LEVEL=debug says more")
    raise typer.Exit(0)


def _keep_what_is_loaded() -> None:
    """Spare the garbage collector what stays for the life of the process, and the way through every half-made batch.

    A batch is some ten thousand objects, which go by their reference counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 20, 20)


def _keep_memory() -> None:
    """Let glibc keep the memory of one batch for the next: to fault it in anew costs a third of publishing.

    At most 64 MiB stay unused. Other C libraries do not know this call.
    """
    with contextlib.suppress(OSError, TypeError, AttributeError):
        adjust = ctypes.CDLL(None).mallopt
        adjust(_M_TRIM_THRESHOLD, 64 * MEBIBYTE)
        adjust(_M_MMAP_THRESHOLD, 32 * MEBIBYTE)  # beyond which glibc would go back to the kernel at once


def _listen(settings: Settings) -> socket.socket:
    try:
        return socket.create_server((settings.http_host, settings.http_port), reuse_port=False)
    except OSError as error:
        address = f"{settings.http_host}:{settings.http_port}"
        raise SetupNeeded(
            f"{address} cannot be listened on ({error.strerror}); set {PREFIX}HTTP_PORT to a free port"
        ) from None
