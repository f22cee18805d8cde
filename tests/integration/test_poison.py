"""Records that other workers choke on: each gets its own answer, and its neighbours theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from app.consumer import decode
from app.consumer.requester import Outbound
from app.settings import Settings
from tests.faults import batches
from tests.faults.broker_side import answers_at, committed, foreign, publish_batch
from tests.support import ask, asking, body, plain, until

MIB = 1024 * 1024
MARK = ("x-spoil", b"qzqzqzqz")

POISON: dict[str, tuple[Outbound, int, str, set[tuple[str, str]]]] = {
    "null header value": (plain("cus_p", [("x-trace", None), ("traceparent", None)]), 200, "", set()),
    "header value that is not UTF-8": (plain("cus_p", [("x-trace", b"\xff\xfe")]), 200, "", set()),
    "id that is not UTF-8": (
        plain("cus_p", [("idempotency-key", b"\xff\xfe")]),
        400,
        "invalid_event",
        {("/idempotency-key", "header_not_utf8")},
    ),
    "tombstone": (Outbound(b"cus_p", None), 400, "invalid_json", {("", "no_value")}),
    "nothing at all": (Outbound(None, None), 400, "invalid_json", {("", "no_value")}),
    "empty value": (Outbound(b"cus_p", b""), 400, "invalid_json", {("", "not_json")}),
    "broken JSON": (Outbound(b"cus_p", b'{"firstName": "A'), 400, "invalid_json", {("", "not_json")}),
    "JSON that is not UTF-8": (Outbound(b"cus_p", b'{"city": "\xff"}'), 400, "invalid_json", {("", "not_json")}),
    "100,000 brackets": (Outbound(b"cus_p", b"[" * 100_000), 400, "invalid_json", {("", "too_deep")}),
    "100,000 nested arrays": (
        Outbound(b"cus_p", b"[" * 100_000 + b"]" * 100_000),
        400,
        "invalid_json",
        {("", "too_deep")},
    ),
    "value over 1 MiB": (
        Outbound(b"cus_p", body(note="x" * MIB)),
        400,
        "record_too_large",
        {("", "too_large")},
    ),
    "key that is not UTF-8": (
        Outbound(b"\xff\xfe", body()),
        400,
        "validation_failed",
        {("/customer", "customer_invalid")},
    ),
}


@pytest.mark.rule("R6.56")
async def test_poison_gets_its_own_answer_and_its_neighbours_in_the_same_record_batch_get_theirs(
    settings: Settings,
) -> None:
    requests = [plain("cus_first")]
    for number, (poison, *_) in enumerate(POISON.values()):
        requests += [poison, plain(f"cus_{number}")]
    small = [request for request in requests if len(request.value or b"") < MIB]
    async with asking(settings) as requester:
        start = await publish_batch(settings, 0, bytes, *small)
        together = await answers_at(requester, *((0, start + number) for number in range(len(small))))
        places = await foreign(settings, **{"message.max.bytes": 2 * MIB}).send(settings, *requests, partition=1)
        by_themselves = await answers_at(requester, *places)
    for found, sent in ((together, small), (by_themselves, requests)):
        for answer, request in zip(found, sent, strict=True):
            name = next((name for name, (poison, *_) in POISON.items() if poison is request), None)
            _, status, error, codes = POISON[name] if name else (None, 200, "", set())
            assert answer.status == status, name
            if status != 200:
                assert (answer.response["error"], answer.codes) == (error, codes), name
    assert await committed(settings) != {}


@pytest.mark.rule("R6.51")
async def test_a_header_name_that_is_not_utf8_is_a_400_under_its_position_and_harms_nobody(settings: Settings) -> None:
    def spoil(raw: bytes) -> bytes:
        return batches.replaced(raw, b"zzqq", b"\xff\xfe\xfd\xfc")

    bad = plain("cus_2", [("zzqq", b"1")])
    async with asking(settings) as requester:
        start = await publish_batch(settings, 1, spoil, plain("cus_1"), bad, plain("cus_3"))
        before, answer, behind = await answers_at(requester, *((1, start + number) for number in range(3)))
        (later,) = await ask(requester, plain("cus_1"))
    assert (before.status, behind.status, later.status) == (200, 200, 200)
    assert (answer.status, answer.response["error"]) == (400, "invalid_event")
    assert answer.codes == {("", "not_decodable")}
    place = f"{settings.request_topic}/1/{start + 1}@"
    assert answer.envelope["request"]["id"].startswith(place)
    assert answer.envelope["request"]["customer"] is None
    assert answer.record.key == b"cus_2"


class Spoiler:
    """Changes what the fetcher is given of batches that carry the mark, the first so many times."""

    def __init__(self, change: Callable[[bytes], bytes], times: int) -> None:
        self.change, self.times, self.done = change, times, 0

    def __call__(self, data: bytes) -> bytes:
        parts = batches.split(bytes(data))
        for at, part in enumerate(parts):
            if MARK[1] in part and self.done < self.times:
                parts[at] = self.change(part)
                self.done += 1
        return b"".join(parts)


@pytest.fixture
def spoiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[bytes], bytes], int], Spoiler]]:
    """Puts a spoiler between the wire and the decoder of every consumer made from now on."""

    def begin(change: Callable[[bytes], bytes], times: int) -> Spoiler:
        spoiler = Spoiler(change, times)

        class Spoiled(decode.TolerantRecords):
            def __init__(self, data: bytes) -> None:
                super().__init__(spoiler(data))

        monkeypatch.setattr(decode, "TolerantRecords", Spoiled)
        return spoiler

    yield begin
    monkeypatch.undo()
    decode.install()


@pytest.mark.rule("R6.52")
async def test_a_batch_that_is_broken_on_the_way_is_fetched_again_and_answered_like_any_other(
    settings: Settings, spoiled: Callable[[Callable[[bytes], bytes], int], Spoiler]
) -> None:
    spoiler = spoiled(batches.flipped, 1)
    async with asking(settings) as requester:
        first = await publish_batch(settings, 2, bytes, plain("cus_0"))
        start = await publish_batch(settings, 2, bytes, plain("cus_1", [MARK]), plain("cus_2", [MARK]))
        last = await publish_batch(settings, 2, bytes, plain("cus_3"))
        places = [(2, offset) for offset in (first, start, start + 1, last)]
        found = await answers_at(requester, *places)
        assert spoiler.done == 1
        assert [answer.status for answer in found] == [200] * 4
        assert [len(requester.answered[place]) for place in places] == [1] * 4


@pytest.mark.rule("R6.53")
@pytest.mark.parametrize(
    "change",
    [batches.flipped, lambda raw: batches.with_rubbish_body(raw, 1), lambda raw: batches.with_rubbish_body(raw, 4)],
    ids=["checksum", "gzip body", "zstd body"],
)
async def test_a_batch_that_stays_broken_gets_a_400_for_each_position_and_its_neighbours_are_answered(
    settings: Settings,
    spoiled: Callable[[Callable[[bytes], bytes], int], Spoiler],
    change: Callable[[bytes], bytes],
) -> None:
    spoiled(change, 1000)
    async with asking(settings) as requester:
        first = await publish_batch(settings, 2, bytes, plain("cus_0"))
        start = await publish_batch(settings, 2, bytes, plain("cus_1", [MARK]), plain("cus_2", [MARK]))
        last = await publish_batch(settings, 2, bytes, plain("cus_3"))
        before, one, two, behind = await answers_at(
            requester, *((2, offset) for offset in (first, start, start + 1, last))
        )

        async def all_committed() -> bool:
            return (await committed(settings)).get(2) == last + 1

        await until(all_committed)
    assert (before.status, behind.status) == (200, 200)
    for answer, offset in ((one, start), (two, start + 1)):
        assert (answer.status, answer.codes) == (400, {("", "not_decodable")})
        assert answer.envelope["request"]["id"].startswith(f"{settings.request_topic}/2/{offset}@")
        assert answer.record.header("request-offset") == str(offset)


@pytest.mark.rule("R6.53")
async def test_a_length_that_is_broken_on_the_way_loses_nothing(
    settings: Settings, spoiled: Callable[[Callable[[bytes], bytes], int], Spoiler]
) -> None:
    spoiler = spoiled(lambda raw: batches.flipped(raw, 8), 1)
    async with asking(settings) as requester:
        start = await publish_batch(settings, 2, bytes, plain("cus_1", [MARK]), plain("cus_2", [MARK]))
        last = await publish_batch(settings, 2, bytes, plain("cus_3"))
        found = await answers_at(requester, *((2, offset) for offset in (start, start + 1, last)))
    assert spoiler.done == 1
    assert [answer.status for answer in found] == [200] * 3
