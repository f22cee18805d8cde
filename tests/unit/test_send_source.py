"""The files that `send` reads: which items they hold, and what a report of them holds."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.cli.lines import NotSendable
from app.cli.send.csv_rows import CsvOptions
from app.cli.send.source import Form, Item, Source, open_source
from app.cli.send.wrong import WrongUse

HEADER = "customer;firstName;lastName;dateOfBirth;phone;address;city;state;postalCode;country"
REST = "Example;1990-05-17;555 01 02;1 Street;London;;N1;GB"


def source(path: Path, content: str | bytes, form: Form | None = None) -> Source:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_source(str(path), form, CsvOptions({}))


def told(items: list[Item]) -> list[tuple[int, str]]:
    """Line, and the first name or what is wrong."""
    return [
        (item.line, item.problem.code if item.problem else str((item.body or {}).get("firstName"))) for item in items
    ]


def report(found: Source, codes: Mapping[int, str]) -> str:
    return "".join(found.refused(codes, "own"))


def test_csv_rows_become_bodies_and_faults_in_their_lines(tmp_path: Path) -> None:
    text = f'\ufeff\n{HEADER}\n1;Ada;{REST}\n2;"Be\na";{REST}\n3;x"y;{REST};too;many\n4;"x"y;{REST}\n5;Eve;{REST}\n'
    found = source(tmp_path / "a.csv", text)
    items = list(found.items())
    assert told(items) == [
        (3, "Ada"), (4, "Be\na"), (6, "too_many_cells"), (7, "unreadable_row"), (8, "Eve"),
    ]  # fmt: skip
    assert found.count() == 5
    assert items[0].request is not None
    assert items[0].request.key == b"1"
    assert json.loads(items[0].request.value or b"") == items[0].body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"firstName":"A"}\n\n{"firstName":"B"}', [(1, "A"), (3, "B")]),
        ('\n{"firstName":"A"}\r\n{"firstName"\n{"firstName":"B"}', [(2, "A"), (3, "not_sendable"), (4, "B")]),
        ('{"firstName"\n{"firstName":"B"}', [(1, "not_sendable"), (2, "B")]),
        ('\n{"firstName"\n{"firstName":"B"}', [(2, "not_sendable"), (3, "B")]),
        ('{\n"firstName": "A"\n}', [(1, "A")]),
        ('[{"firstName": "A"},\n {"firstName": "B"}]', [(1, "A"), (2, "B")]),
        ('["x",\n {"firstName": "B"}]', [(1, "not_sendable"), (2, "B")]),
        ('7\n{"firstName":"B"}', [(1, "not_sendable"), (2, "B")]),
        ("[" * 100_000, [(1, "not_sendable")]),
        ('{"a":' * 100_000 + '\n{"firstName":"B"}', [(1, "not_sendable"), (2, "B")]),
        ('\ufeff{"firstName":"A\u2028"}', [(1, "A\u2028")]),
        ("", []),
        (" \n", []),
    ],
)
def test_json_is_read_by_lines_or_as_a_whole(tmp_path: Path, text: str, expected: list[tuple[int, str]]) -> None:
    found = source(tmp_path / "a.json", text)
    assert told(list(found.items())) == expected
    assert found.count() == len(expected)


def test_an_array_that_is_none_is_not_taken_for_lines(tmp_path: Path) -> None:
    with pytest.raises(NotSendable, match="begins as an array"):
        source(tmp_path / "a.jsonl", '[\n{"firstName":"A"}\n').count()


def test_events_and_records_have_no_body_of_ours(tmp_path: Path) -> None:
    found = source(tmp_path / "a.jsonl", '{"specversion": "1.0"}\n{"record": {"key": "k"}}\n{"record": 1}')
    assert [item.body for item in found.items()] == [None, None, {"record": 1}]


def test_what_the_topic_would_refuse_is_not_sent(tmp_path: Path) -> None:
    large = json.dumps({"firstName": "x" * 1024 * 1024})
    assert told(list(source(tmp_path / "a.jsonl", f"{large}\n{{}}").items())) == [(1, "too_large"), (2, "None")]


def test_the_form_is_told_by_the_name_or_by_hand(tmp_path: Path) -> None:
    text = f"{HEADER}\n1;Ada;{REST}\n"
    for name in ("a.csv", "a.TSV"):
        assert told(list(source(tmp_path / name, text).items())) == [(2, "Ada")]
    assert told(list(source(tmp_path / "a.txt", text, "csv").items())) == [(2, "Ada")]
    assert told(list(source(tmp_path / "b.csv", "{}", "json").items())) == [(1, "None")]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_file_that_is_not_utf_8_is_refused_before_anything_is_sent(tmp_path: Path, name: str) -> None:
    with pytest.raises(WrongUse, match="must be in UTF-8"):
        source(tmp_path / name, b'{"firstName": "Zo\xeb"}\n').count()


def test_a_file_must_be_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(WrongUse, match="must be a file that can be read"):
            open_source(str(path), None, CsvOptions({}))


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO('{"firstName":"Zoë"}\n{}'.encode())))
    found = open_source("-", None, CsvOptions({}))
    assert found.count() is None
    assert told(list(found.items())) == [(1, "Zoë"), (2, "None")]


def test_the_digest_changes_with_the_file_and_the_way_of_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    first = source(path, "a").digest()
    assert source(path, "a").digest() == first
    assert source(path, "b").digest() != first
    source(path, "a")
    assert open_source(str(path), None, CsvOptions({"a": "city"})).digest() != first


def test_a_report_of_csv_holds_the_rows_and_why(tmp_path: Path) -> None:
    text = f'{HEADER};_note\n1;Ada;{REST};n\n2;"B;ea";{REST};n\n3;C;{REST};n;too\n4;"x"y;{REST}\n'
    found = source(tmp_path / "a.csv", text)
    written = report(found, {3: "a; b", 4: "c", 5: "d"})
    assert written == (
        f"_file;_line;_codes;{HEADER};_note\n"
        f'own;3;"a; b";2;"B;ea";{REST};n\n'
        f"own;4;c;3;C;{REST};n;too\n"
        f'own;5;d;4;"x"y;{REST}\n'
    )
    again = source(tmp_path / "b.csv", written)
    assert told(list(again.items())) == [(2, "B;ea"), (3, "too_many_cells"), (4, "unreadable_row")]
    assert next(item.place for item in again.items()) == ("own", "3")


def test_a_report_of_a_report_names_the_first_file(tmp_path: Path) -> None:
    first = source(tmp_path / "b.csv", f"_file;_line;_codes;{HEADER}\na.csv;7;x;1;Ada;{REST}\n")
    assert report(first, {2: "y"}) == f"_file;_line;_codes;{HEADER}\na.csv;7;y;1;Ada;{REST}\n"


def test_a_report_of_json_holds_the_lines_as_they_were(tmp_path: Path) -> None:
    found = source(tmp_path / "a.jsonl", '{"a":  1}\r\n{"b"\n\n{"c": 1.0}')
    assert report(found, {1: "", 2: "", 4: ""}) == '{"a":  1}\n{"b"\n{"c": 1.0}\n'
    assert report(source(tmp_path / "b.json", '[{}, {"é":\n1}]'), {2: ""}) == '{"\\u00e9": 1}\n'


def test_an_item_shows_nothing_of_itself() -> None:
    assert repr(Item(3, body={"firstName": "Ada"})) == "Item(3)"
