"""The kept corpus of the fuzzer, once through its targets: what it found stays found, also where there is no fuzzer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import tests.fuzz.targets as targets
from app.envelope.json import NotReadable, read_json
from app.errors import ErrorCode, Fault, FaultCode, Refusal
from app.model import Request
from tests.fuzz.__main__ import HERE
from tests.support import body
from tests.unit.making import decided, request_of

CORPUS = sorted((HERE / "corpus").rglob("*"))
INPUTS = {f"{path.parent.name}/{path.name}": path for path in CORPUS if path.is_file()}


@pytest.mark.rule("R11.4")
@pytest.mark.parametrize("name", INPUTS)
def test_an_input_that_is_kept_holds(name: str) -> None:
    targets.TARGETS[name.partition("/")[0]](INPUTS[name].read_bytes())


def with_both(request: Request) -> Request:
    """Understood and refused."""
    return replace(request, refusal=Refusal(ErrorCode.VALIDATION_FAILED, ()))


def spoiled(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[Any], Any]) -> None:
    """What the target calls by this name gives something else."""
    right = getattr(targets, name)
    monkeypatch.setattr(targets, name, lambda *given, **named: change(right(*given, **named)))


def never_the_same(value: Any) -> Any:
    """Equal to nothing, not even to itself."""
    return object()


def raising(error: Exception) -> Callable[[Any], Any]:
    def change(value: Any) -> Any:
        raise error

    return change


def named_by_the_request(faults: Any) -> Any:
    return (Fault("/Zeisig0008", FaultCode.NOT_A_STRING),)


BREAKS: dict[str, tuple[str, str, Callable[[Any], Any], type[Exception]]] = {
    "an error that is not declared": ("request/valid", "read_json", raising(KeyError("Zeisig")), KeyError),
    "another error out of the rules": ("request/valid", "validate", raising(ValueError("Zeisig")), ValueError),
    "another answer to a rerun": ("request/valid", "validate", never_the_same, AssertionError),
    "a name of the request in a fault": ("request/nulls", "validate", named_by_the_request, AssertionError),
    "two ways that differ": ("request/nulls", "_by_model", lambda faults: faults[:1], AssertionError),
    "a compiled part that differs": ("envelope/plain", "at_once", never_the_same, AssertionError),
    "one that differs on a body": ("request/valid", "at_once", never_the_same, AssertionError),
    "refused and understood": ("envelope/plain", "request_of", with_both, AssertionError),
    "an unforeseen error of the envelope": ("envelope/plain", "request_of", raising(IndexError()), IndexError),
}  # fmt: skip


@pytest.mark.parametrize("breaks", BREAKS)
def test_the_targets_notice_what_breaks(breaks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, function, change, error = BREAKS[breaks]
    spoiled(monkeypatch, function, change)
    with pytest.raises(error):
        targets.TARGETS[name.partition("/")[0]](INPUTS[name].read_bytes())


def test_a_canary_in_a_repr_or_a_refusal_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = INPUTS["envelope/plain"].read_bytes()
    monkeypatch.setattr(Request, "__repr__", lambda self: f"Request({self.data.first_name})")
    with pytest.raises(AssertionError, match="a value in a repr"):
        targets.envelope(data)
    monkeypatch.undo()
    [answer] = decided(request_of(targets.as_record(b"cus_1\n\n[]"))).answers
    leaking = answer._replace(value=answer.value.replace(b'"details":[', b'"details":[{"field":"/Zeisig"},'))
    with pytest.raises((AssertionError, KeyError)):
        targets.assert_closed(leaking)
    with pytest.raises(AssertionError, match="a value in a refusal"):
        targets.assert_silent(request_of(targets.as_record(b"cus_1\n\n[]")), leaking)


def test_the_text_of_an_input_is_the_record_that_it_describes() -> None:
    made = targets.as_record(b"cus_1\nce_id: e1\nnull\n\n" + body())
    assert (made.key, made.value) == (b"cus_1", body())
    assert made.headers == (("ce_id", b"e1"), ("null", None))
    assert (targets.as_record(b"").key, targets.as_record(b"").value) == (None, None)
    with pytest.raises(NotReadable):
        read_json(b"{")
