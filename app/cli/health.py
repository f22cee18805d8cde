"""What the image's health checks run: prints a page of the worker on this machine, exits with 1 unless it says 200.

A script of its own, not a command: loading the command line takes a second of CPU, this a twentieth.
"""

from __future__ import annotations

import http.client
import os
import sys

SECONDS = 4
"""A health check is given five."""


def ask(page: str) -> tuple[int, str]:
    """Status and text of this page; status 0 when nobody answers."""
    port = os.environ.get("PATIENT_UPSERT_HTTP_PORT", "8080")
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=SECONDS)
    try:
        connection.request("GET", f"/{page}")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError as error:
        return 0, f"nobody answers on port {port}: {type(error).__name__}"
    finally:
        connection.close()


if __name__ == "__main__":
    status, text = ask(sys.argv[1])
    print(text)  # noqa: T201
    sys.exit(status != 200)
