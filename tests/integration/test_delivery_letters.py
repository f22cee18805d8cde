"""Dead letters: what the database refuses is answered 500, kept untouched, and can be published again."""

from __future__ import annotations

import asyncpg
import pytest

from app.consumer.requester import Inbound, Outbound, Requester
from app.settings import Settings
from tests.faults.broker_side import committed, everything, foreign
from tests.roles import as_owner
from tests.support import Answered, answered, ask, asking, event, plain, until

HEADERS: list[tuple[str, bytes | None]] = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"e1"),
    ("ce_source", b"/clinic"),
    ("ce_type", b"patient.upsert.requested"),
    ("Authorization", b"Bearer secret"),
    ("AUTHORIZATION", b"Bearer secret"),
    ("x-any", b"\xff\x00"),
    ("x-null", None),
    ("X-Any", b"again"),
]


async def refuse_atlantis(settings: Settings) -> None:
    await execute(settings, "alter table customers add constraint no_atlantis check (city <> 'Atlantis')")


async def execute(settings: Settings, statement: str) -> None:
    connection = await asyncpg.connect(as_owner(settings))
    await connection.execute(statement)
    await connection.close()


async def letters(settings: Settings) -> list[Inbound]:
    return await everything(settings, settings.dlq_topic)


async def publish_again(requester: Requester, letter: Inbound, place: tuple[int, int]) -> Answered:
    """The answer to the letter, published as it is: it is given for the place where the request first lay."""
    before = len(requester.answered[place])
    again = Outbound(letter.key, letter.value, letter.headers)
    await foreign(requester.settings).send(requester.settings, again, partition=place[0])

    async def told() -> bool:
        await requester.receive()
        return len(requester.answered[place]) > before

    await until(told)
    return answered(requester.answered[place][-1])


@pytest.mark.rule("R6.67")
async def test_what_the_database_refuses_is_answered_500_and_kept_byte_for_byte_and_its_neighbours_get_200(
    settings: Settings,
) -> None:
    await refuse_atlantis(settings)
    good = plain("cus_1", city="Atlantis").value
    bad = Outbound(b"cus_1", good, tuple(HEADERS))
    async with asking(settings) as requester:
        before, failed, *others = await ask(requester, plain("cus_1"), bad, *(plain(f"cus_{n}") for n in range(2, 9)))
        (behind,) = await ask(requester, plain("cus_1", city="Leeds"))
        partition, offset = requester.sent[1]
    assert (failed.status, failed.outcome, failed.response["error"]) == (500, "failed", "internal_error")
    assert failed.codes == {("", "failed")}
    assert {answer.status for answer in (before, behind, *others)} == {200}
    assert behind.response["city"] == "Leeds"
    (letter,) = await letters(settings)
    assert (letter.key, letter.value) == (b"cus_1", good)
    given = [header for header in HEADERS if header[0].lower() != "authorization"]
    assert list(letter.headers[: len(given)]) == given
    told = {name: value.decode() for name, value in letter.headers[len(given) :] if value is not None}
    timestamp = told.pop("__dlq.errors.timestamp")
    assert timestamp.isdigit()
    assert told == {
        "__dlq.errors.topic": settings.request_topic,
        "__dlq.errors.partition": str(partition),
        "__dlq.errors.offset": str(offset),
        "__dlq.errors.group": settings.group_id,
        "__dlq.errors.message": "the request could not be processed",
    }
    assert b"secret" not in repr(letter.headers).encode()


@pytest.mark.rule("R6.68")
async def test_a_letter_that_is_published_again_after_the_repair_is_answered_200_under_its_first_id(
    settings: Settings,
) -> None:
    await refuse_atlantis(settings)
    async with asking(settings) as requester:
        failed, _ = await ask(requester, plain("cus_1", city="Atlantis"), plain("cus_2"))
        await execute(settings, "alter table customers drop constraint no_atlantis")
        (letter,) = await letters(settings)
        healed = await publish_again(requester, letter, requester.sent[0])
        once_more = await publish_again(requester, letter, requester.sent[0])
    assert (failed.status, healed.status) == (500, 200)
    assert healed.envelope["request"] == failed.envelope["request"]
    assert healed.response["city"] == "Atlantis"
    assert healed.record.header("request-offset") == failed.record.header("request-offset")
    assert once_more.record.value == healed.record.value
    assert once_more.record.header("replayed") == "true"


@pytest.mark.rule("R6.68")
@pytest.mark.parametrize("letter_of", ["plain", "event"])
async def test_a_letter_that_is_older_than_what_stands_is_superseded_and_changes_nothing(
    settings: Settings, letter_of: str
) -> None:
    await refuse_atlantis(settings)
    bad = plain("cus_1", city="Atlantis") if letter_of == "plain" else event("e1", city="Atlantis")
    async with asking(settings) as requester:
        (failed,) = await ask(requester, bad)
        (newer,) = await ask(requester, plain("cus_1", city="Leeds"))
        await execute(settings, "alter table customers drop constraint no_atlantis")
        (letter,) = await letters(settings)
        healed = await publish_again(requester, letter, requester.sent[0])
    assert (failed.status, newer.status) == (500, 200)
    assert (healed.status, healed.outcome, healed.response["city"]) == (200, "superseded", "Leeds")


@pytest.mark.rule("R6.67")
async def test_a_bad_request_is_answered_and_never_becomes_a_letter(settings: Settings) -> None:
    async with asking(settings) as requester:
        (refused,) = await ask(requester, plain("cus_1", phone=""))
    assert refused.status == 400
    assert await letters(settings) == []
    assert await committed(settings) != {}
