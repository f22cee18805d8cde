"""Under which ids the lines of a file are sent, and how their answers are known again."""

from __future__ import annotations

from typing import Any

import pytest

from app.cli.send.ids import Naming, id_part
from app.cli.send.source import Item, Problem
from app.consumer.requester import Outbound

BODY = {"customer": "cus_1", "firstName": "Ada"}
DIGEST = "3dd9540b3e64a285"
"""First 16 digits of the SHA-256 of `{"customer":"cus_1","firstName":"Ada"}`."""


def item(line: int = 7, body: dict[str, Any] | None = BODY, **more: Any) -> Item:
    return Item(line, Outbound(b"cus_1", b"{}"), body=body, **more)


def headers(naming: Naming, given: Item) -> dict[str, bytes | None]:
    request = naming.named(given).request
    assert request is not None
    return dict(request.headers)


def test_a_line_is_named_by_file_line_and_content() -> None:
    assert headers(Naming("a.csv"), item()) == {
        "idempotency-key": f"a.csv/7/{DIGEST}".encode(),
        "source": b"patient-upsert/send",
    }


def test_the_order_of_fields_is_no_part_of_it() -> None:
    turned = dict(reversed(BODY.items()))
    assert headers(Naming("a.csv"), item(body=turned)) == headers(Naming("a.csv"), item())


def test_corrected_or_elsewhere_it_is_another_request() -> None:
    ids = {
        headers(naming, given)["idempotency-key"]
        for naming, given in [
            (Naming("a.csv"), item()),
            (Naming("b.csv"), item()),
            (Naming("a.csv"), item(8)),
            (Naming("a.csv"), item(body={**BODY, "firstName": "Bea"})),
        ]
    }
    assert len(ids) == 4


def test_a_line_that_a_report_took_over_keeps_its_id() -> None:
    taken_over = item(2, place=("a.csv", "7"))
    assert headers(Naming("a.refused.csv"), taken_over) == headers(Naming("a.csv"), item())
    assert headers(Naming("new", renamed=True), taken_over) == headers(Naming("new"), item(2))


def test_an_id_of_the_file_s_own_counts_for_the_customer() -> None:
    assert headers(Naming("a.csv"), item(id="id-ü")) == {"idempotency-key": "id-ü".encode()}
    assert headers(Naming(None), item(id="id-1")) == {"idempotency-key": b"id-1"}


def test_standard_input_and_events_are_sent_as_they_are() -> None:
    assert headers(Naming(None), item()) == {}
    assert headers(Naming("a.csv", "trail"), item(body=None)) == {}
    broken = Item(3, problem=Problem("code", "sentence"))
    assert Naming("a.csv", "trail").named(broken) is broken


def test_an_answer_is_known_again_by_the_trail() -> None:
    naming = Naming("a.csv", "patient-upsert/send/abc")
    correlation = headers(naming, item())["correlation_id"]
    assert correlation == b"patient-upsert/send/abc/7"
    assert naming.line_of("patient-upsert/send/abc/7") == 7
    for other in (None, "", "7", "patient-upsert/send/abd/7", "patient-upsert/send/abc/x", "patient-upsert/send/abc/"):
        assert naming.line_of(other) is None
    assert Naming("a.csv").line_of("None/7") is None


@pytest.mark.parametrize("name", ["x" * 201, "é" * 101, "a\nb", "a\x7f", "a\udcff"])
def test_a_name_that_could_be_no_part_of_an_id_is_hashed(name: str) -> None:
    assert len(id_part(name)) == 32
    assert id_part(name) == id_part(name) != id_part(name + "x")


@pytest.mark.parametrize("name", ["patients.csv", "Bericht März.csv", "患者.csv", "x" * 200])
def test_other_names_stay(name: str) -> None:
    assert id_part(name) == name


@pytest.mark.rule("R9.16")
def test_each_request_shows_the_token_unless_it_brings_a_header_of_its_own() -> None:
    naming = Naming("a.csv", token="a.b.c")
    assert headers(naming, item())["authorization"] == b"Bearer a.b.c"
    assert headers(naming, item(body=None)) == {"authorization": b"Bearer a.b.c"}
    own = Item(7, Outbound(b"cus_1", b"{}", (("Authorization", b"Bearer own"),)))
    assert headers(naming, own) == {"Authorization": b"Bearer own"}
    assert "a.b.c" not in repr(naming)
