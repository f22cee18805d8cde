"""The command: all cases, or one."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence

from tests.faults.matrix.case import Case, Result
from tests.faults.matrix.cases import CASES
from tests.faults.matrix.report import write
from tests.faults.matrix.runner import run_all, show


def main() -> int:
    """Run what was asked for; 0 when every verdict is clean."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.matrix", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"one or more of: {', '.join(CASES)}")
    parser.add_argument(
        "--seed", type=_seeds, metavar="N,N", help="what a run draws from, a run each; by default one that is new"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(CASES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}")
    chosen = [CASES[name] for name in arguments.cases] or list(CASES.values())
    results = asyncio.run(_run(chosen, arguments.seed or [random.randrange(1_000_000)]))
    return 0 if all(result.clean for result in results) else 1


async def _run(chosen: Sequence[Case], seeds: Sequence[int]) -> list[Result]:
    """All of these with each seed; the page holds the runs so far when one is over."""
    results: list[Result] = []
    for seed in seeds:
        found = await run_all(chosen, seed)
        show(found)
        results += found
        write(results)
    return results


def _seeds(text: str) -> list[int]:
    """As in `1,2,3`."""
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
