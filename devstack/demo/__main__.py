"""`python -m devstack.demo`."""

from __future__ import annotations

import os
import signal
from types import FrameType


def _too_early(number: int, frame: FrameType | None) -> None:
    os.write(2, b"demo: interrupted; nothing of it is left\n")
    os._exit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _too_early)  # the imports take a second, in which Ctrl-C would print a traceback
    from devstack.demo.command import app

    app()
