"""One effect, one final answer: what is delivered again, sent again, or sent corrected; and what is committed when."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer

from app.consumer.connection import connection
from app.consumer.requester import Requester
from app.settings import Settings
from tests.faults.broker_side import all_answered, answers, committed, foreign, rewind
from tests.support import ask, asking, event, plain, ready, running, until


@pytest.mark.rule("R6.57")
async def test_a_record_that_is_delivered_again_gets_the_same_bytes_marked_as_replayed(settings: Settings) -> None:
    requests = [plain("cus_1"), event("e1", "cus_2"), plain("cus_3", [("idempotency-key", b"k1")]), plain(city="")]
    async with asking(settings) as requester:
        await ask(requester, *requests)
        places = list(requester.sent)
    await rewind(settings, p0=0, p1=0, p2=0)
    async with running(settings) as app:
        await ready(app)

        async def twice() -> bool:
            return all(len(given) == 2 for given in (await answers(settings)).values())

        await until(twice)
    given = await answers(settings)
    assert set(given) == set(places)
    for number, place in enumerate(places):
        first, again = given[place]
        assert first.record.value == again.record.value
        assert first.record.key == again.record.key
        assert first.record.header("ce_id") == again.record.header("ce_id")
        assert first.record.header("replayed") is None
        assert again.record.header("replayed") == (None if number == 3 else "true")
    assert [given[place][0].status for place in places] == [200, 200, 200, 400]


@pytest.mark.rule("R6.57")
@pytest.mark.parametrize("apart", [False, True], ids=["in one batch", "in two batches"])
async def test_a_request_sent_again_under_its_id_gets_the_same_bytes_for_the_new_record(
    settings: Settings, apart: bool
) -> None:
    async with asking(settings) as requester:
        if apart:
            (first,) = await ask(requester, event("e1"))
            (again,) = await ask(requester, event("e1"))
        else:
            first, again = await ask(requester, event("e1"), event("e1"))
    assert (first.outcome, again.outcome) == ("created", "created")
    assert first.record.value == again.record.value
    assert first.record.header("ce_id") == again.record.header("ce_id")
    assert (first.record.header("replayed"), again.record.header("replayed")) == (None, "true")
    assert first.record.answers != again.record.answers


@pytest.mark.rule("R6.58")
async def test_a_refused_request_may_be_corrected_under_its_id_and_its_answer_has_another_id(
    settings: Settings,
) -> None:
    async with asking(settings) as requester:
        (refused,) = await ask(requester, event("e1", phone="x"))
        (corrected,) = await ask(requester, event("e1"))
        (reused,) = await ask(requester, event("e1", city="Leeds"))
    assert (refused.status, corrected.status, reused.status) == (400, 200, 400)
    assert reused.response["error"] == "idempotency_key_reused"
    assert len({answer.record.header("ce_id") for answer in (refused, corrected, reused)}) == 3


@pytest.mark.rule("R6.59")
async def test_after_a_clean_stop_a_new_worker_answers_nothing_again(settings: Settings) -> None:
    async with asking(settings) as requester:
        await ask(requester, *(plain(f"cus_{number}") for number in range(60)))
        before = list(requester.sent)
    ends = {number: max(offset for part, offset in before if part == number) + 1 for number in range(3)}
    assert await committed(settings) == ends
    async with asking(settings) as requester:
        await ask(requester, *(plain(f"cus_{number}") for number in range(9)))
        places = [*before, *requester.sent]
    given = await answers(settings)
    assert {place: len(found) for place, found in given.items()} == dict.fromkeys(places, 1)


@pytest.mark.rule("R6.60")
async def test_a_new_group_begins_with_the_earliest_record(settings: Settings) -> None:
    places = await foreign(settings).send(settings, *(plain(f"cus_{number}") for number in range(6)))
    async with running(settings):
        given = await all_answered(settings, *places)
    assert set(given) == set(places)


@pytest.mark.rule("R6.61")
async def test_records_of_aborted_transactions_are_never_answered_and_those_of_committed_ones_are(
    settings: Settings,
) -> None:
    async with asking(settings) as requester:
        producer = AIOKafkaProducer(**connection(settings), transactional_id=f"{settings.group_id}-tests")
        async with producer:
            for number in range(4):
                await producer.begin_transaction()
                places = []
                for customer in (f"cus_{number}a", f"cus_{number}b"):
                    request = plain(customer)
                    placed = await producer.send_and_wait(
                        settings.request_topic, request.value, key=request.key, partition=0
                    )
                    places.append((placed.partition, placed.offset))
                if number % 2:
                    await producer.commit_transaction()
                    requester.sent += places
                else:
                    await producer.abort_transaction()
        await ask(requester, plain("cus_last"))
        await until_all(requester)
    given = await answers(settings)
    told = {answer.envelope["request"]["customer"] for found in given.values() for answer in found}
    assert told == {"cus_1a", "cus_1b", "cus_3a", "cus_3b", "cus_last"}
    assert all(len(found) == 1 for found in given.values())


async def until_all(requester: Requester) -> None:
    """Await an answer to all that was sent."""

    async def answered() -> bool:
        return await requester.receive() == len(requester.sent)

    await until(answered)
