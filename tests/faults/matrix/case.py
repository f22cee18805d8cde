"""What a case is, how it is played to its end, and what comes of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from devstack.servers import Servers
from tests.faults.checker import Broken, Verdict, check, tally
from tests.faults.matrix.proxy import Proxy
from tests.faults.matrix.world import PATIENCE, NotRun, World, world


class Needs(StrEnum):
    """Which servers a case plays on."""

    SHARED = "servers that stay as they are"
    OWN = "servers that it may stop"
    PROXY = "a broker behind a proxy"
    THREE = "three Kafka nodes"


@dataclass(frozen=True)
class Case:
    """A fault. `play` begins with nobody at work and ends with the load over and whatever it broke mended."""

    name: str
    fault: str
    play: Callable[[World], Awaitable[None]]
    needs: Needs = Needs.SHARED
    in_suite: bool = False
    repeats: bool = True
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What came of one run of a case."""

    case: Case
    seed: int
    seconds: float
    requests: int = 0
    repeated: int = 0
    first_answer: float | None = None
    full_rate: float | None = None
    verdicts: Sequence[Verdict] = ()
    trouble: str | None = None
    """Why there is no verdict, or that the case itself came to no end."""
    not_run: str | None = None

    @property
    def broken(self) -> Counter[Broken]:
        return tally(self.verdicts)

    @property
    def clean(self) -> bool:
        return not self.verdicts and self.trouble is None


async def run(case: Case, servers: Servers, seed: int, directory: Path, between: Proxy | None = None) -> Result:
    """Play a case and judge it."""
    began = time.monotonic()
    async with world(servers, seed, directory, **case.settings) as at_work:
        at_work.proxy = between
        try:
            await case.play(at_work)
        except NotRun as reason:
            return Result(case, seed, time.monotonic() - began, not_run=str(reason))
        except (AssertionError, TimeoutError) as error:
            trouble: str | None = f"{type(error).__name__}: {error}"
        else:
            trouble = None
        await at_work.tail.answered(at_work.due, PATIENCE)
        try:
            await at_work.end()
        except AssertionError as error:
            trouble = trouble or str(error)
        at_work.kill()
        if (refused := at_work.load.refused) and trouble is None:
            trouble = f"{len(refused)} requests were not taken, nobody knows whether they are there: {refused[0]}"
        history = await at_work.history(repeats=case.repeats)
        return Result(
            case,
            seed,
            time.monotonic() - began,
            requests=len(history.requests),
            repeated=history.repeated,
            first_answer=at_work.first_answer(),
            full_rate=at_work.full_rate(),
            verdicts=check(history),
            trouble=trouble,
        )
