"""`python -m devstack.servers`: servers for a shell, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from types import FrameType

from . import ServersError, servers
from .model import to_stderr


def main() -> None:
    """Start the servers, print how to reach them, and stay until told to stop."""
    # Both said explicitly: a shell starts background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    try:
        with servers(durable=True) as found:
            print(f"export PATIENT_UPSERT_KAFKA_BOOTSTRAP_SERVERS={shlex.quote(found.kafka)}")
            print(f"export PATIENT_UPSERT_DATABASE_URL={shlex.quote(found.database_url)}", flush=True)
            to_stderr("up; Ctrl-C stops and removes them")
            threading.Event().wait()
    except ServersError as error:
        sys.exit(str(error))


def _leave(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not cut the clean-up short
    sys.exit(0)


if __name__ == "__main__":
    main()
