"""No class of the worker shows a value of a request when it is printed, and no error carries one."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

import app
from app.main import _shown
from app.model import Patient, Record
from app.request.schema import RequestData
from app.settings import Settings
from tests.privacy.canaries import BIRD, Aviary

MAY_SHOW = {
    # ids, places and codes that have passed their rule, and numbers of ours
    "Position": {"topic", "partition", "offset", "timestamp"},
    "Record": {"position"},
    "Envelope": {"position"},
    "Request": {"position"},
    "Identity": {"customer", "source", "key", "fingerprint", "refusal", "key_differs"},
    "Customer": {"customer", "version"},
    "Patient": {"patient"},
    "StoredAnswer": {"position", "outcome"},
    "Answer": {"position", "status", "outcome"},
    "Outgoing": {"position", "topic"},
    "Inbound": {"topic", "partition", "offset"},
    "Item": {"line"},
    "Shown": {"line", "status", "outcome", "customer", "codes"},
}
HOLD_NO_VALUE = {
    # settings, servers, files, the published contracts
    "Policy", "Key", "Rules", "Finding", "KafkaFacts", "Topic", "Keys", "PostgresFacts", "Server", "Child", "Children",
    "Cause", "Meaning", "Change", "_Judge", "_Reason", "CsvOptions", "CsvReading", "JsonReading", "Options", "Naming",
    "Source", "Progress", "Keeper", "Signals", "Problem", "Fault", "Refusal", "Extent", "Marks", "Metric", "Ages",
    "Behind", "Observed", "PoolUse", "_Partition",
    # only objects of other classes here
    "Job", "Tally", "Requester", "Part", "Plan", "Pipeline", "Worker", "_Batch", "_InHand", "_Piece", "Housekeeping",
    "_Imagined", "_Unwritten", "Found", "Again", "Stopping", "_Work",
}  # fmt: skip
"""Classes that may show all they hold, which no request can reach, or which shows itself as its own class does."""


class _Value:
    """Stands for any value; shown, it is its text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def __getattr__(self, name: str) -> _Value:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __len__(self) -> int:
        return 0


def classes() -> Iterator[type]:
    """Every class of the worker that holds values."""
    for module in pkgutil.walk_packages(app.__path__, "app."):
        if module.name.startswith("app.migrations."):  # they run when they are imported
            continue
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if found.__module__ == module.name and (dataclasses.is_dataclass(found) or hasattr(found, "_fields")):
                yield found


def shown(of: type) -> list[str]:
    """The fields of this class whose values are in its repr or its text."""
    fields: Any = of
    names = [one.name for one in dataclasses.fields(fields)] if dataclasses.is_dataclass(of) else fields._fields
    return [name for name in names if BIRD in _text(of, {other: BIRD * (other == name) for other in names})]


def _text(of: type, texts: dict[str, str]) -> str:
    values = {name: _Value(text) for name, text in texts.items()}
    if dataclasses.is_dataclass(of):
        made: Any = object.__new__(of)
        for name, value in values.items():
            object.__setattr__(made, name, value)
    else:
        made = of(**values)
    return f"{made!r} {made!s}"


def leaks() -> dict[str, list[str]]:
    """By class, the fields that its repr shows and may not."""
    found = {of.__name__: set(shown(of)) - MAY_SHOW.get(of.__name__, set()) for of in classes()}
    return {name: sorted(fields) for name, fields in found.items() if fields and name not in HOLD_NO_VALUE}


def test_no_class_shows_a_value_that_it_holds() -> None:
    assert leaks() == {}


def test_the_names_above_are_those_of_classes() -> None:
    assert HOLD_NO_VALUE | MAY_SHOW.keys() <= {of.__name__ for of in classes()}


@pytest.mark.parametrize(
    ("of", "repr_of", "told"),
    [
        (Patient, tuple.__repr__, set(Patient._fields) - MAY_SHOW["Patient"]),
        (Record, lambda record: f"Record({record.key})", {"key"}),
    ],
)
def test_a_repr_that_is_let_through_is_found(
    monkeypatch: pytest.MonkeyPatch, of: type, repr_of: Callable[[Any], str], told: set[str]
) -> None:
    monkeypatch.setattr(of, "__repr__", repr_of)
    assert leaks() == {of.__name__: sorted(told)}


def test_what_pydantic_refuses_it_does_not_quote() -> None:
    aviary = Aviary()
    given = {name: [{aviary.canary(name): aviary.canary(name)}] for name in RequestData.model_fields}
    with pytest.raises(ValidationError) as caught:
        RequestData.model_validate(given)
    text = "".join(traceback.format_exception(caught.value))
    assert "firstName" in text
    assert aviary.heard(f"{text} {caught.value!r}") == []


def test_settings_that_are_refused_or_shown_show_no_secret() -> None:
    aviary = Aviary()
    secrets: dict[str, Any] = {
        "database_url": f"postgresql://worker:{aviary.canary('password')}@db/x",
        "kafka_sasl_password": aviary.canary("Kafka's password"),
        "auth_secret": aviary.canary("secret"),
    }
    known = Settings(kafka_bootstrap_servers="kafka:9092", **_only(secrets, "database_url", "kafka_sasl_password"))
    assert aviary.heard(f"{known!r} {known} {known.model_dump()} {_shown(known)}") == []
    url = f"https://keys.example/all?token={aviary.canary('secret in an address')}"
    told = known.model_copy(update={"auth_jwks_url": url})
    assert aviary.heard(f"{told!r} {told} {_shown(told)}") == []
    assert _shown(told)["auth_jwks_url"] == "https://keys.example/all?**********"
    with pytest.raises(ValidationError) as caught:
        Settings(kafka_bootstrap_servers="kafka:9092", **{**secrets, "database_url": aviary.canary("no URL")})
    assert aviary.heard(f"{''.join(traceback.format_exception(caught.value))} {caught.value!r}") == []


def _only(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names}
