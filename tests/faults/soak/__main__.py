"""The command."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from rich.console import Console
from rich.live import Live

from devstack.servers import ServersError
from tests.faults.matrix.case import Needs
from tests.faults.matrix.runner import serving
from tests.faults.soak.page import mebibytes, told, write
from tests.faults.soak.run import Outcome, Soak, soaking

WRITTEN_MINUTES = 10
EPILOG = f"""example: make soak MINUTES=15 SEED=7
         (or python -m tests.faults.soak --minutes 15 --seed 7)

Ends with 0 when nothing was lost, doubled or answered in two ways, all was answered, and the memory of the worker
that was not killed is at the end within 10 % of what it was at the beginning; else with 1. A run of {WRITTEN_MINUTES}
minutes or more adds its row to docs/guarantees.md."""


def main() -> int:
    """Run; 0 when it was clean."""
    parser = argparse.ArgumentParser(
        prog="make soak",
        description="Full load and random faults on real servers and workers; everything is judged.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=15, help="of load (default 15)")
    parser.add_argument("--seed", type=int, help="draws the faults; by default a new one, which is shown")
    arguments = parser.parse_args()
    if not arguments.minutes >= 1:
        parser.error("--minutes must be 1 or more")
    seed = random.randrange(1_000_000) if arguments.seed is None else arguments.seed
    say = Console(highlight=False, markup=False, soft_wrap=True).print
    say(f"soak of {arguments.minutes:g} minutes, seed {seed}")
    try:
        outcome = asyncio.run(_run(seed, arguments.minutes))
    except ServersError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing of it is left")
    say(told(outcome))
    if arguments.minutes >= WRITTEN_MINUTES:
        write(outcome)
    return 0 if outcome.clean else 1


async def _run(seed: int, minutes: float) -> Outcome:
    with tempfile.TemporaryDirectory() as directory:
        async with serving(Needs.PROXY) as (servers, between):
            assert between is not None
            async with soaking(servers, between, seed, minutes, Path(directory)) as soak:
                showing = asyncio.create_task(_show(soak))
                try:
                    await soak.play()
                finally:
                    showing.cancel()
                    with suppress(asyncio.CancelledError):
                        await showing
            return soak.outcome


async def _show(soak: Soak) -> None:
    """A line that lives, or one in a quarter of a minute where nobody looks."""
    console = Console(stderr=True)
    if not console.is_terminal:
        while True:
            await asyncio.sleep(15)
            console.print(_line(soak), highlight=False, markup=False, soft_wrap=True)
    with Live(console=console, refresh_per_second=1, transient=True) as live:
        while True:
            live.update(_line(soak))
            await asyncio.sleep(1)


def _line(soak: Soak) -> str:
    minute = (time.monotonic() - soak.began) / 60
    rss = soak.samples[-1] if soak.samples else 0
    return (
        f"minute {minute:.1f} of {soak.minutes:g}   requests {soak.sent}   answered {soak.windows.answered}   "
        f"judged {len(soak.sums)} of {soak.outcome.windows} windows, {soak.outcome.broken.total()} faults found   "
        f"faults played {soak.breaker.played.total()} ({soak.breaker.last})   workers {len(soak.world.workers)}   "
        f"memory {mebibytes(rss)}, own {mebibytes(psutil.Process(os.getpid()).memory_info().rss)}"
    )


if __name__ == "__main__":
    sys.exit(main())
