"""The command: all cases, or one."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys

from tests.faults.matrix.cases import CASES
from tests.faults.matrix.report import write
from tests.faults.matrix.runner import run_all, show


def main() -> int:
    """Run what was asked for; 0 when every verdict is clean."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.matrix", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"one or more of: {', '.join(CASES)}")
    parser.add_argument("--seed", type=int, help="makes a run repeatable; by default a new one, which is shown")
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(CASES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}")
    chosen = [CASES[name] for name in arguments.cases] or list(CASES.values())
    seed = random.randrange(1_000_000) if arguments.seed is None else arguments.seed
    results = asyncio.run(run_all(chosen, seed))
    show(results)
    write(results)
    return 0 if all(result.clean for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
