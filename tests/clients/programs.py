"""Producers and consumers that others wrote: how each is built and spoken to (README.md has the words)."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
LIMIT = 60.0
FIRST_TIME = 240.0
"""Seconds for a command that may have to fetch and build."""
Case = dict[str, Any]
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Client:
    """One library to publish with: which program has it, and by what name."""

    name: str
    program: str
    with_: str
    sdk: bool = False


PLAIN = (
    Client("confluent-kafka", "python", "confluent-kafka"),
    Client("kcat", "kcat", "kcat"),
    Client("kafkajs", "javascript", "kafkajs"),
    Client("kafka-clients", "java", "kafka-clients"),
    Client("franz-go", "go", "kgo"),
    Client("sarama", "go", "sarama"),
)
SDKS = (
    Client("CloudEvents SDK of Python", "python", "cloudevents", sdk=True),
    Client("CloudEvents SDK of Python, `cloudevents.v1`", "python", "cloudevents v1", sdk=True),
    Client("CloudEvents SDK of JavaScript", "javascript", "cloudevents", sdk=True),
    Client("CloudEvents SDK of Java", "java", "cloudevents", sdk=True),
    Client("CloudEvents SDK of Go, `kafka_sarama`", "go", "sarama", sdk=True),
)
MURMUR2 = (
    Client("confluent-kafka", "python", "confluent-kafka murmur2"),
    Client("kcat", "kcat", "kcat murmur2"),
    Client("sarama", "go", "sarama murmur2"),
)
"""Those whose default is another, told to use murmur2."""


def needed(*programs: str) -> None:
    """Skip, or fail where all must be there, when one of these is not installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not run: {', '.join(missing)} is not installed")


@contextmanager
def alone() -> Iterator[None]:
    """One tool chain at a time, in all processes of a run: they share caches, and some of those stand no company."""
    place = HERE / "target"
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def hurried() -> dict[str, str]:
    """The environment, with Go told to leave out what makes programs fast: that is two fifths of building them."""
    return {**os.environ, "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} '-gcflags=all=-N -l'"}


def build(command: Sequence[str], where: Path) -> None:
    """Run a tool chain to its end; what it said shows when it fails."""
    with alone():
        done = subprocess.run(command, cwd=where, env=hurried(), capture_output=True, text=True, timeout=FIRST_TIME)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def built_java() -> list[str]:
    """The program with kafka-clients."""
    needed("java", "mvn")
    where = HERE / "java"
    build(["mvn", "-B", "-q", "compile", "dependency:build-classpath", "-Dmdep.outputFile=target/classpath"], where)
    libraries = (where / "target" / "classpath").read_text(encoding="utf-8").strip()
    return [
        "java",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        f"{where / 'target' / 'classes'}{os.pathsep}{libraries}",
        "Client",
    ]


def built_javascript() -> list[str]:
    """The program with kafkajs."""
    needed("node", "npm")
    build(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"], HERE / "javascript")
    return ["node", str(HERE / "javascript" / "client.js")]


def built_go() -> list[str]:
    """The program with franz-go and sarama."""
    needed("go")
    build(["go", "build", "-o", "target/client", "."], HERE / "go")
    return [str(HERE / "go" / "target" / "client")]


def built_python() -> list[str]:
    """The program with confluent-kafka."""
    return [sys.executable, str(HERE / "python" / "client.py")]


BUILT: dict[str, Callable[[], list[str]]] = {
    "java": built_java,
    "javascript": built_javascript,
    "go": built_go,
    "python": built_python,
}


async def run(command: Sequence[str], given: bytes, limit: float = LIMIT) -> tuple[bytes, bytes]:
    """What a program says to this input, on stdout and stderr. It has to end well, and in time."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(limit):
            out, err = await process.communicate(given)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return out, err


class Programs:
    """The programs of a run; each is built when it is first asked for."""

    def __init__(self) -> None:
        self._commands: dict[str, list[str]] = {}

    async def publish(self, bootstrap: str, topic: str, client: Client, *cases: Case) -> list[Place]:
        """Publish these in order; their places."""
        if client.program == "kcat":
            needed("kcat")
            return [await _by_kcat(bootstrap, topic, "murmur2" in client.with_, case) for case in cases]
        given = [{"with": client.with_, **case} for case in cases]
        places = await self._told(client.program, {"bootstrap": bootstrap, "topic": topic, "cases": given})
        return [(place["partition"], place["offset"]) for place in places]

    async def read(self, program: str, bootstrap: str, topics: Sequence[str], answers: int) -> list[dict[str, Any]]:
        """So many answers, as the CloudEvents SDK of that program sees them."""
        return list(await self._told(program, {"bootstrap": bootstrap, "topics": list(topics), "answers": answers}))

    async def _told(self, program: str, task: dict[str, Any]) -> Any:
        if program not in self._commands:
            self._commands[program] = await asyncio.to_thread(BUILT[program])
        out, _ = await run(self._commands[program], json.dumps(task, ensure_ascii=False).encode())
        return json.loads(out)


async def _by_kcat(bootstrap: str, topic: str, murmur2: bool, case: Case) -> Place:
    """kcat takes one record a run here, and tells its place only when it is talkative."""
    command = ["kcat", "-P", "-vvv", "-b", bootstrap, "-t", topic, "-c", "1"]
    if murmur2:
        command += ["-X", "partitioner=murmur2_random"]
    if case.get("key") is not None:
        command += ["-k", case["key"]]
    for name, text in case.get("headers", {}).items():
        command += ["-H", f"{name}={text}"]
    _, err = await run(command, case["value"].encode())
    told = re.search(r"delivered to partition (\d+) \(offset (\d+)\)", err.decode())
    assert told is not None, err.decode()
    return int(told[1]), int(told[2])
