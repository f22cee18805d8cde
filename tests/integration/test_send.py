"""`patient-upsert send` as a process, against real servers: report, correction, stopping and going on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from app.settings import Settings
from tests.support import PATIENCE, child, ready, running, until

HEADER = "customer;Vorname;lastName;dateOfBirth;phone;address;city;state;postalCode;country;_note"
MAP = ("--map", "Vorname=firstName")


def row(number: int, born: str = "1990-05-17", rest: str = "") -> str:
    return f'cus_{number};"Zoë\n{number}";Example;{born};555 01 02;1 Street;London;;N1;GB;seen{rest}'


def csv_file(path: Path, count: int) -> Path:
    """Rows of two lines each: row 1 begins on line 2, row 2 on line 4."""
    path.write_text("\n".join([HEADER, *(row(number) for number in range(1, count + 1))]) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Done:
    """A process that has ended."""

    code: int
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def environment(settings: Settings) -> dict[str, str]:
    """What another process needs to have these settings."""
    names = ("kafka_bootstrap_servers", "request_topic", "completed_topic", "failed_topic", "dlq_topic")
    given = {f"PATIENT_UPSERT_{name.upper()}": str(getattr(settings, name)) for name in names}
    return {**os.environ, **given, "COLUMNS": "80", "PYTHONUNBUFFERED": "1"}


@asynccontextmanager
async def sending(settings: Settings, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """`patient-upsert send` under way; it does not outlive the block."""
    async with child(
        sys.executable,
        "-c",
        "from app.cli import main; main()",
        "send",
        *map(str, arguments),
        env=environment(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    ) as process:
        yield process


async def ended(process: asyncio.subprocess.Process) -> Done:
    async with asyncio.timeout(2 * PATIENCE):
        output, _ = await process.communicate()
    assert process.returncode is not None
    text = output.decode()
    assert "Traceback" not in text
    return Done(process.returncode, text)


async def send(settings: Settings, *arguments: object) -> Done:
    async with sending(settings, *arguments) as process:
        return await ended(process)


async def ids(settings: Settings) -> Counter[str]:
    """How often each idempotency key stands in the request topic."""
    found: Counter[str] = Counter()
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers) as consumer:
        partitions = [TopicPartition(settings.request_topic, number) for number in range(settings.topic_partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        async with asyncio.timeout(PATIENCE):
            while not all([await consumer.position(there) >= end for there, end in ends.items()]):
                taken = await consumer.getmany(timeout_ms=200)
                records = [record for batch in taken.values() for record in batch]
                found.update(dict(record.headers)["idempotency-key"].decode() for record in records)
    return found


def places(found: Counter[str]) -> Counter[str]:
    """How often each file and line was sent, whatever the rest of its id."""
    return Counter(id.rpartition("/")[0] for id in found.elements())


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_what_is_refused_is_reported_corrected_and_sent_again(settings: Settings, tmp_path: Path) -> None:
    path = csv_file(tmp_path / "patients.csv", 30)
    text = path.read_text(encoding="utf-8")
    text = text.replace(row(7), row(7, born="2990-01-01")).replace(row(20), row(20, rest=";too much"))
    path.write_text(text, encoding="utf-8")
    async with running(settings) as app:
        await ready(app)
        first = await send(settings, path, *MAP)
        report = tmp_path / "patients.refused.csv"
        assert first.code == 1
        assert "28 x 200, 1 x 400, 1 x not sent" in first.lines
        assert first.lines[-1] == (
            f"{report}: the 2 lines without a 200, to be corrected and sent; it holds health data"
        )
        assert stat.S_IMODE(report.stat().st_mode) == 0o600
        reported = report.read_text(encoding="utf-8")
        assert reported == (
            f"_file;_line;_codes;{HEADER}\n"
            f'patients.csv;14;"validation_failed; /dateOfBirth date_in_future";{row(7, born="2990-01-01")}\n'
            f"patients.csv;40;too_many_cells;{row(20, rest=';too much')}\n"
        )
        assert (await send(settings, "--dry-run", report, *MAP)).lines == [
            "line 2: /dateOfBirth date_in_future: must not be in the future",
            "line 4: / too_many_cells: has more cells than there are columns",
            "2 read, 2 with faults",
        ]
        report.write_text(reported.replace("2990-01-01", "1990-05-17").replace(";too much", ""), encoding="utf-8")
        second = await send(settings, report, *MAP)
        assert (second.code, second.lines[-2]) == (0, "2 x 200")
        assert files(tmp_path) == [path, report]
    assert len(await ids(settings)) == 31


async def test_stopped_in_the_middle_and_gone_on_with_nothing_is_sent_twice(settings: Settings, tmp_path: Path) -> None:
    path = csv_file(tmp_path / "patients.csv", 3000)
    kept = tmp_path / "patients.csv.sent"
    async with running(settings) as app:
        await ready(app)
        async with sending(settings, path, *MAP, "--rate", "100") as process:
            await until(kept.exists)
            process.send_signal(signal.SIGINT)
            stopped = await ended(process)
        line = json.loads(kept.read_text(encoding="utf-8"))["line"]
        sent = line // 2
        assert stopped.code == 130
        assert stopped.lines[-1].startswith(f"stopped behind line {line}: {sent} sent, ")
        assert 0 < sent < 3000
        assert len(await ids(settings)) == sent
        resumed = await send(settings, path, *MAP)
        assert resumed.lines[0] == f"{path}: goes on behind line {line}; --restart begins anew"
        assert "3000 x 200" in resumed.lines
        assert resumed.code == 0
    assert files(tmp_path) == [path]
    assert places(await ids(settings)) == {f"patients.csv/{2 * number}": 1 for number in range(1, 3001)}


@pytest.mark.parametrize("stopped", [True, False])
async def test_answers_that_did_not_come_are_awaited_by_the_same_command(
    settings: Settings, tmp_path: Path, stopped: bool
) -> None:
    path = csv_file(tmp_path / "patients.csv", 5)
    kept, report = tmp_path / "patients.csv.sent", tmp_path / "patients.refused.csv"
    if stopped:
        async with sending(settings, path, *MAP) as process:
            await until(kept.exists)
            process.send_signal(signal.SIGINT)
            assert (await ended(process)).code == 130
    else:
        first = await send(settings, path, *MAP, "--timeout", "1")
        assert first.code == 1
        assert "5 x no answer" in first.lines
        assert first.lines[-1] == "the same command awaits the missing answers again; --restart sends everything again"
    assert kept.exists()
    assert report.exists() is not stopped
    async with running(settings) as app:
        await ready(app)
        again = await send(settings, path, *MAP)
        assert (again.code, "5 x 200" in again.lines) == (0, True)
        assert not kept.exists()
        assert set((await ids(settings)).values()) == {1}
        if report.exists():
            reported = await send(settings, report, *MAP)
            assert reported.lines[-1] == (
                "5 of these were known, and got their first answer again; with --name they would be new requests"
            )
            assert set((await ids(settings)).values()) == {2}


async def test_a_file_that_changed_is_begun_anew_and_what_is_known_is_recognised(
    settings: Settings, tmp_path: Path
) -> None:
    path = csv_file(tmp_path / "patients.csv", 5)
    kept = tmp_path / "patients.csv.sent"
    assert (await send(settings, path, *MAP, "--timeout", "1")).code == 1
    csv_file(path, 6)
    async with running(settings) as app:
        await ready(app)
        again = await send(settings, path, *MAP)
    assert again.lines[0] == f"{path}: is not what was sent before, or goes elsewhere: starts from the beginning"
    assert (again.code, again.lines[-3]) == (0, "6 x 200")
    assert again.lines[-1].startswith("5 of these were known")
    assert not kept.exists()
    assert sorted((await ids(settings)).values()) == [1, 2, 2, 2, 2, 2]


async def test_without_waiting_it_is_done_when_all_is_acknowledged(settings: Settings, tmp_path: Path) -> None:
    path = csv_file(tmp_path / "patients.csv", 300)
    done = await send(settings, path, *MAP, "--no-wait")
    assert done.code == 0
    assert done.lines[-1].startswith("300 sent in ")
    assert files(tmp_path) == [path]
    assert len(await ids(settings)) == 300


async def test_a_file_is_refused_as_a_whole_before_anything_is_sent(settings: Settings, tmp_path: Path) -> None:
    path = csv_file(tmp_path / "patients.csv", 5)
    wrong = tmp_path / "wrong.csv"
    wrong.write_bytes(path.read_bytes() + b"\xeb\n")
    done = await send(settings, path, wrong, *MAP)
    assert (done.code, done.lines) == (2, [f"{wrong}: must be in UTF-8; save it so, in Excel as CSV UTF-8"])
    unmapped = await send(settings, path)
    assert (unmapped.code, len(unmapped.lines)) == (2, 1)
    assert not await ids(settings)
