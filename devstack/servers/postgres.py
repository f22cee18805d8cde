"""Embedded PostgreSQL: its data directory, its settings and its start."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import secrets
import signal
from functools import partial
from pathlib import Path

from .cleanup import Cleanup
from .model import Options, ServersError
from .process import LocalServer, User
from .programs import Programs
from .waiting import HOST, Starting, free_port, postgres_answers


class EmbeddedPostgres:
    """The server, its address and its start."""

    def __init__(self, directory: Path, cleanup: Cleanup, options: Options, programs: Programs) -> None:
        home = directory / "postgres"
        home.mkdir()
        port, durable = free_port(), options.durable
        self._data = home / "data"
        self._password = home / "password"
        password = secrets.token_hex(8)
        self._password.write_text(password)
        self.database_url = f"postgresql://postgres:{password}@{HOST}:{port}/postgres"
        user = _unprivileged_user()
        self._programs = programs.usable(home, user)
        self._version = options.postgres
        self.control = LocalServer(
            name="postgres",
            command=(self._programs / "postgres", "-D", self._data, *_local_settings(port), *server_settings(durable)),
            home=home,
            log=home / "log",
            cleanup=cleanup,
            ready=partial(postgres_answers, HOST, port),
            stop_signal=signal.SIGINT,  # "fast": does not wait for clients to leave
            discard_signal=signal.SIGQUIT,  # "immediate": no checkpoint, but shared memory is given back
            after_kill=self._drop_shared_memory,
            user=user,
        )
        if user:
            directory.chmod(0o711)
            for path in (home, *home.rglob("*")):
                os.chown(path, user.uid, user.gid, follow_symlinks=False)

    def starting(self) -> Starting:
        """Create the data directory and start the server."""
        options = (
            f"--pgdata={self._data}",
            "--username=postgres",
            f"--pwfile={self._password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *_locale(self._version),
            "--no-sync",
        )
        yield from self.control.preparing((self._programs / "initdb", *options))
        yield from self.control.starting()

    def _drop_shared_memory(self) -> None:
        """Remove the one System V segment that a killed server leaves outside its directory."""
        lines = (self._data / "postmaster.pid").read_text().splitlines()
        with contextlib.suppress(IndexError, ValueError):  # killed before it had one
            ctypes.CDLL(None).shmctl(int(lines[6].split()[1]), 0, None)  # IPC_RMID is 0 on Linux and macOS


def _locale(version: int) -> tuple[str, ...]:
    """One that is the same on every system; before 17 there is none that knows letters beyond ASCII."""
    return ("--locale-provider=builtin", "--builtin-locale=C.UTF-8") if version >= 17 else ("--locale=C",)


def _local_settings(port: int) -> tuple[str, ...]:
    settings = (
        f"port={port}",
        f"listen_addresses={HOST}",
        "unix_socket_directories=",  # a socket's path would be too long under some temporary directories
        "dynamic_shared_memory_type=mmap",  # inside the data directory, so that it goes with it
    )
    return tuple(argument for setting in settings for argument in ("-c", setting))


def server_settings(durable: bool) -> tuple[str, ...]:
    """Arguments of every server, embedded or in Docker."""
    settings = ["timezone=UTC", "log_timezone=UTC"]
    if not durable:
        # Safe against a killed server, not against a lost machine. synchronous_commit stays on: without it a killed
        # server loses commits that it has acknowledged, and fault tests would blame the worker.
        settings += ["fsync=off", "full_page_writes=off"]
    return tuple(argument for setting in settings for argument in ("-c", setting))


def _unprivileged_user() -> User | None:
    """PostgreSQL refuses to run as root; then it runs as `nobody`."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ServersError("PostgreSQL does not run as root, and there is no user `nobody` to run it as") from None
    return User(nobody.pw_uid, nobody.pw_gid)
