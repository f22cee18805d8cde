"""What processes cost: CPU seconds of whole trees of them, peak memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from devstack.servers import Control, Servers
from devstack.servers.process import LocalServer

WHO: Final = ("worker", "postgres", "kafka")


def server_pids(servers: Servers) -> dict[str, int]:
    """The process ids of Postgres and Kafka, as far as they run on this machine and are ours."""
    found: dict[str, Control | None] = {
        "postgres": servers.postgres_control,
        "kafka": servers.kafka_nodes[0] if servers.kafka_nodes else None,
    }
    return {name: server.pid for name, server in found.items() if isinstance(server, LocalServer)}


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds of each of these and its children so far, those that have ended among them."""
    return {name: _of_tree(pid) for name, pid in pids.items()}


def _of_tree(pid: int) -> float:
    total = 0.0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:  # it has just ended; its parent has its times then
                continue
            total += times.user + times.system + times.children_user + times.children_system
    except psutil.NoSuchProcess:
        return total
    return total


def peak_memory(pid: int) -> int:
    """The most memory that this process and its children have used at once, in bytes; where not Linux, use now."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(map(_peak, processes))


def _peak(process: psutil.Process) -> int:
    with suppress(OSError, psutil.NoSuchProcess):  # it has just ended
        if sys.platform != "linux":
            return int(process.memory_info().rss)
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
