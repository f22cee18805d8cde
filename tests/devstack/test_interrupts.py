"""An interruption of the demo, at any moment around its event loop, is one exception and leaves no complaint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TURNS = 500
PROGRAM = f"""
import asyncio, os, signal, threading, time
from devstack.demo.interrupts import raise_interrupts, run_interruptible

def send(delay):
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGINT)

interrupted = 0
for turn in range({TURNS}):
    raise_interrupts()
    sender = threading.Thread(target=send, args=(turn * 1e-5,))  # from before the loop is made until after it is closed
    try:
        sender.start()
        run_interruptible(lambda: asyncio.sleep(0.001))
        sender.join()
        threading.Event().wait()
    except KeyboardInterrupt:
        interrupted += 1
    sender.join()
print(interrupted)
"""


def test_an_interruption_around_the_event_loop_is_raised_once_and_leaves_no_complaint() -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == (f"{TURNS}\n", "")
