"""The protocol under every order of events: whatever is lost, crashes or moves, the history keeps the rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from app.consumer import worker
from app.consumer.offsets import committable
from app.consumer.publisher import Outgoing
from app.model import Known, Writes
from app.telemetry import configure_logging
from tests.faults.checker import check
from tests.unit import making, protocol
from tests.unit.protocol import PARTITIONS, Call, Member, World

STEPS, RUNS = 50, 1150
"""So many events a history at most, and so many histories."""
ENOUGH = 50_000
"""Events in all."""

STAGES = ("hand over", "understand", "read", "write", "commit", "publish", "offsets")

numbers = st.integers(0, 99)


class Orderly(RuleBasedStateMachine):
    """What happens on good days: workers come and go in order, and every call is served in time."""

    steps = 0
    repeats = False
    """Whether an answer may be published twice."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        for _ in range(2):
            self.world.start()
        self.world.rebalance()

    def of(self, things: list[Any], number: int) -> Any:
        return things[number % len(things)]

    @rule(
        partition=st.integers(0, PARTITIONS - 1),
        customer=st.integers(0, 2),
        id=st.integers(0, 2) | st.integers(0, 99),
        content=st.integers(0, 3),
        silent=st.sets(st.sampled_from(["email", "address2"])),
        ago=st.none() | st.integers(0, 5),
        valid=st.integers(0, 5).map(bool),
        keyed=st.booleans(),
        count=st.integers(1, 3),
    )
    def produce(
        self,
        partition: int,
        customer: int,
        id: int,
        content: int,
        silent: set[str],
        ago: int | None,
        valid: bool,
        keyed: bool,
        count: int,
    ) -> None:
        for number in range(count):
            where = customer % PARTITIONS if keyed else (partition + number) % PARTITIONS
            self.world.produce(where, customer, id + number, content + number, silent=silent, ago=ago, valid=valid)

    @rule(number=numbers, everyone=st.booleans())
    def poll(self, number: int, everyone: bool) -> None:
        awake = [member for member in self.world.members if not member.frozen]
        for member in awake if everyone or not awake else [self.of(awake, number)]:
            member.poll()
        self.world.settle()

    @precondition(lambda self: self.world.calls)
    @rule(number=numbers, count=st.integers(1, 6))
    def serve(self, number: int, count: int) -> None:
        for _ in range(count):
            if calls := self.calls():
                self.world.serve(self.of(calls, number), "ok")

    @rule(to=st.sampled_from(STAGES))
    def drive(self, to: str) -> None:
        """Bring everyone to the same stage, with all that a worker takes in hand, where what comes next decides."""
        for _ in range(20):
            self.poll(0, True)
            for call in self.calls():
                if call in self.world.calls and STAGES.index(call.name) < STAGES.index(to):
                    self.world.serve(call, "ok")

    @rule()
    def rebalance(self) -> None:
        self.world.rebalance()

    @precondition(lambda self: len(self.world.members) < 3)
    @rule()
    def join(self) -> None:
        self.world.start()
        self.world.rebalance()

    def calls(self) -> list[Call]:
        return [call for call in self.world.calls if not call.owner.frozen]

    @invariant()
    def count(self) -> None:
        type(self).steps += 1

    def teardown(self) -> None:
        try:
            self.world.heal(orderly=not self.repeats)
            assert check(replace(self.world.history, repeats=self.repeats)) == []
        finally:
            self.world.close()


class Protocol(Orderly):
    """What happens on bad days too: what is lost, refused, late, crashed or frozen."""

    repeats = True

    @precondition(lambda self: self.world.calls)
    @rule(number=numbers, how=st.sampled_from(["lost", "refused", "part"]), cut=st.integers(0, 3))
    def fail(self, number: int, how: str, cut: int) -> None:
        if calls := [call for call in self.calls() if call.name != "hand over"]:  # that asks no server
            self.world.serve(self.of(calls, number), how, cut)

    @rule(how=st.sampled_from(["lost", "refused", "part"]), cut=st.integers(0, 3))
    def fail_to_publish(self, how: str, cut: int) -> None:
        """Everyone has committed to the database, and no answer is known to have arrived."""
        self.drive("publish")
        for call in [call for call in self.calls() if call.name == "publish"]:
            self.world.serve(call, how, cut)

    @precondition(lambda self: self.world.orphans)
    @rule(number=numbers, performed=st.booleans())
    def land(self, number: int, performed: bool) -> None:
        self.world.land(self.of(self.world.orphans, number), performed=performed)

    @rule(seconds=st.sampled_from([0.2, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: self.world.members)
    @rule(number=numbers)
    def crash(self, number: int) -> None:
        self.world.crash(self.of(self.world.members, number))
        self.world.rebalance()

    @precondition(lambda self: self.world.members)
    @rule(number=numbers)
    def freeze_or_wake(self, number: int) -> None:
        """A frozen process is left out of its group, and does not know it when it wakes."""
        member: Member = self.of(self.world.members, number)
        if self.world.revoking is None or member not in self.world.revoking:
            member.frozen = not member.frozen
            self.world.rebalance()


def explore(machine: type[Orderly], runs: int, *, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    """Run so many histories; raises the first one that breaks a rule."""
    configure_logging("console", "critical")
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=runs,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.rule("R6.88")
def test_every_record_gets_its_one_effect_and_its_one_final_answer_in_every_order_of_events() -> None:
    Protocol.steps = 0
    explore(Protocol, RUNS)
    assert Protocol.steps >= ENOUGH


@pytest.mark.rule("R6.73")
@pytest.mark.rule("R6.74")
def test_while_workers_only_come_and_go_in_order_no_answer_is_published_twice() -> None:
    explore(Orderly, RUNS // 5)


def without_stored_answers(patch: pytest.MonkeyPatch) -> None:
    """Nothing remembers what was answered."""
    after = making.after

    def forgetful(known: Known, writes: Writes) -> Known:
        return replace(after(known, writes), answers={})

    patch.setattr(protocol, "after", forgetful)


def without_version_guard(patch: pytest.MonkeyPatch) -> None:
    """A row that has moved since it was read is overwritten."""
    patch.setattr(protocol.Transaction, "guarded", False)


def without_publication_first(patch: pytest.MonkeyPatch) -> None:
    """Offsets are committed while the answers are on their way."""

    async def publish(self: Member, records: Sequence[Outgoing], *, probe: bool = False) -> dict[Outgoing, str]:
        self.world.orphans.append(
            Call("publish", self, lambda: self.world.append(records), True, self.world.loop.create_future())
        )
        return {}

    patch.setattr(Member, "publish", publish)


def without_prefixes(patch: pytest.MonkeyPatch) -> None:
    """The offsets of a whole batch are committed, whatever could not be published."""
    patch.setattr(worker, "committable", lambda positions, unpublished: committable(positions, ()))


def without_assignment_numbers(patch: pytest.MonkeyPatch) -> None:
    """What was fetched in another assignment counts like what was fetched in this one."""
    patch.setattr(Member, "forget", lambda self: self.positions.clear())


@pytest.mark.parametrize(
    ("remove", "machine"),
    [
        (without_stored_answers, Protocol),
        (without_version_guard, Protocol),
        (without_publication_first, Protocol),
        (without_prefixes, Protocol),
        (without_assignment_numbers, Orderly),
    ],
)
def test_without_any_one_of_its_protections_a_history_breaks_the_rules(
    remove: Callable[[pytest.MonkeyPatch], None], machine: type[Orderly], monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(monkeypatch)
    with pytest.raises(AssertionError):
        explore(machine, RUNS, phases=(Phase.generate,))
