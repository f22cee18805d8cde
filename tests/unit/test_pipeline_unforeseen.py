"""A fault of ours that nobody foresaw concerns one request: a 500 and a dead letter. Its neighbours do not notice."""

from __future__ import annotations

from typing import Any

import pytest

from app import pipeline as rooms
from app import usual
from app.errors import Fatal
from app.model import Answer
from tests.unit.making_store import Memory, Passes, events, pipeline

SECRET = "Ada Example of 1 Example Street"


def told(answers: list[Answer]) -> list[str]:
    return [answer.error or answer.outcome.value for answer in answers]


def failing(monkeypatch: pytest.MonkeyPatch, room: str, *, at: set[int] | None) -> None:
    """Let a room fail at the records with these offsets, or at all of them."""
    real = getattr(rooms, room)

    def call(subject: Any, *arguments: Any, **named: Any) -> Any:
        concerned = subject if isinstance(subject, (list, tuple)) else [subject]
        offsets = {getattr(one, "position").offset for one in concerned}  # noqa: B009
        if at is None or offsets & at:
            raise KeyError(SECRET)
        return real(subject, *arguments, **named)

    monkeypatch.setattr(rooms, room, call)


@pytest.mark.rule("R6.48")
@pytest.mark.parametrize("room", ["open_envelope", "understand", "plan"])
async def test_a_request_that_a_room_cannot_process_stands_alone_with_a_500(
    room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = events("1", "2", "3", "4")
    monkeypatch.setattr(usual, "part", None)  # which asks none of these rooms
    failing(monkeypatch, room, at={batch[1].position.offset})
    answers = await pipeline(Memory()).process(batch, Passes())
    assert told(answers) == ["created", "internal_error", "created", "created"]
    assert [answer.dead_letter for answer in answers] == [False, True, False, False]
    assert [answer.record for answer in answers] == batch


@pytest.mark.rule("R6.48")
@pytest.mark.parametrize("room", ["open_envelope", "understand", "plan"])
async def test_fifty_of_them_in_a_row_stop_the_worker_and_say_where_but_not_what(
    room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usual, "part", None)  # which asks none of these rooms
    failing(monkeypatch, room, at=None)
    with pytest.raises(Fatal) as stopped:
        await pipeline(Memory()).process(events(*map(str, range(60))), Passes())
    assert "KeyError at test_pipeline_unforeseen.py:" in str(stopped.value)
    assert SECRET not in str(stopped.value)
