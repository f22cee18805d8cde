"""Removes servers, containers and data once the process that started them closes its end of a pipe, or dies.

A process of its own, because nothing inside the parent survives a SIGKILL. The end of the pipe looks the same on every
system and for every way to die, so this is the only place that cleans up, after an orderly end too.
Run by its path (see `cleanup`), so it imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import time
from pathlib import Path

import psutil

LABEL = "patient-upsert.servers"
"""On containers and networks: which call of `servers` they belong to."""
GENTLY_S = 5.0


def main() -> None:
    """Collect what the parent tells until the pipe ends, then remove it: processes, containers, directories."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    processes: list[tuple[psutil.Process, int]] = []
    labels: list[str] = []
    directories: list[Path] = []
    for line in sys.stdin:
        what, _, value = line.rstrip("\n").partition(" ")
        if what == "process":
            pid, stop = value.split()
            with contextlib.suppress(psutil.NoSuchProcess):
                processes.append((psutil.Process(int(pid)), int(stop)))
        elif what == "containers":
            labels.append(value)
        else:
            directories.append(Path(value))
    _end(processes, directories)
    for label in labels:
        _remove_containers(label)
    for directory in directories:
        shutil.rmtree(directory)


def _end(processes: list[tuple[psutil.Process, int]], directories: list[Path]) -> None:
    members = [member for process, _ in processes for member in family(process)]
    members += _strays(directories)
    for member in members:
        send(member, signal.SIGCONT)  # a paused server would not hear the next signal
    for process, stop in processes:
        send(process, stop)
    deadline = time.monotonic() + GENTLY_S
    while any(map(alive, members)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for member in members + _strays(directories):
        send(member, signal.SIGKILL)
    while any(map(alive, members)):
        time.sleep(0.02)


def _strays(directories: list[Path]) -> list[psutil.Process]:
    """Processes at work in our directories that we were never told of: the parent died right after it started them."""
    strays = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if any(Path(process.cwd()).is_relative_to(directory) for directory in directories):
                strays.append(process)
    return strays


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that descend from it, the eldest first; nothing when it is gone."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def send(process: psutil.Process, number: int) -> None:
    """Signal a process unless it is gone; psutil sees to it that the pid still means the same one."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _remove_containers(label: str) -> None:
    from testcontainers.core.docker_client import DockerClient  # takes half a second, and seldom needed

    engine = DockerClient().client
    ours = {"label": f"{LABEL}={label}"}
    for container in engine.containers.list(all=True, filters=ours):
        container.remove(force=True, v=True)
    for network in engine.networks.list(filters=ours):
        network.remove()


if __name__ == "__main__":
    main()
