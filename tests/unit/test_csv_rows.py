"""CSV: what columns mean, where rows begin, and the body that a row stands for."""

from __future__ import annotations

import io
from typing import Any

import pytest

from app.cli.send.csv_rows import (
    Columns,
    CsvOptions,
    Row,
    columns_of,
    parse_delimiter,
    parse_mapping,
    rows,
    sniff,
)
from app.cli.send.wrong import WrongUse

NAMES = "customer,firstName,lastName,dateOfBirth,phone,address,city,state,postalCode,country"
CELLS = ["cus_1", "Ada", "Example", "1990-05-17", "555 01 02", "1 Street", "London", "", "N1", "GB"]
BODY = dict(zip(NAMES.split(","), CELLS, strict=True))


def columns(header: str = NAMES, **options: Any) -> Columns:
    (row,) = rows([header], ",")
    return columns_of("file.csv", row, CsvOptions(**{"mapping": {}, **options}))


def refusal(header: str, **options: Any) -> str:
    with pytest.raises(WrongUse) as caught:
        columns(header, **options)
    return str(caught.value)


def read(text: str, delimiter: str = ",") -> list[tuple[int, tuple[str, ...] | None]]:
    return [(row.line, row.cells) for row in rows(io.StringIO(text, newline=""), delimiter)]


def test_a_row_is_the_body_with_its_columns_as_fields() -> None:
    assert columns().body(CELLS) == BODY


def test_columns_are_known_whatever_their_case_and_order() -> None:
    turned = ",".join(f" {name.upper()} " for name in reversed(NAMES.split(",")))
    assert columns(turned).body(CELLS[::-1]) == BODY


def test_a_column_of_another_name_is_mapped() -> None:
    header = NAMES.replace("firstName", "Vorname").replace("lastName", "Nach=name")
    mapping = parse_mapping(["Vorname=firstName", "Nach=name = LASTNAME"])
    assert columns(header, mapping=mapping).body(CELLS) == BODY


def test_columns_that_begin_with_an_underscore_are_left_out() -> None:
    assert columns(f"_note,{NAMES},_codes").body(["x", *CELLS, "y"]) == BODY


def test_a_mapped_column_may_begin_with_an_underscore() -> None:
    header = NAMES.replace("customer", "_nr")
    assert columns(header, mapping={"_nr": "customer"}).body(CELLS) == BODY


@pytest.mark.parametrize(
    ("clears", "expected"),
    [(False, {}), (True, {"gender": "", "email": "", "address2": ""})],
)
def test_an_empty_cell_of_a_field_that_may_be_left_out(clears: bool, expected: dict[str, str]) -> None:
    header = f"{NAMES},patient,gender,email,address2"
    assert columns(header, empty_clears=clears).body([*CELLS, "", " ", "", "\t"]) == {**BODY, **expected}


def test_an_empty_cell_of_a_required_field_is_sent_as_it_is() -> None:
    assert columns().body(["cus_1", "", " ", *CELLS[3:]]) == {**BODY, "firstName": "", "lastName": " "}


def test_cells_that_a_row_lacks_are_empty() -> None:
    assert columns().body(CELLS[:7]) == {**BODY, "state": "", "postalCode": "", "country": ""}


def test_only_something_in_a_cell_without_a_column_is_too_much() -> None:
    known = columns(NAMES + ",,")
    assert not known.too_many(CELLS)
    assert not known.too_many([*CELLS, "", " "])
    assert known.too_many([*CELLS, "", "x"])


def test_the_id_and_the_place_of_a_row() -> None:
    known = columns(f"{NAMES},nr,_line,_file", id_column="nr")
    assert known.body([*CELLS, "id-1", "7", "a.csv"]) == BODY
    assert known.given_id([*CELLS, " id-1 "]) == "id-1"
    assert known.given_id([*CELLS, ""]) is None
    assert known.given_id(CELLS) is None
    assert known.given_place([*CELLS, "", "7", "a.csv"]) == ("a.csv", "7")
    assert known.given_place([*CELLS, "", "x", "a.csv"]) is None
    assert known.given_place([*CELLS, "", "7", ""]) is None
    assert columns(f"{NAMES},_line").given_place([*CELLS, "7"]) is None


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("Vorname,Nachname," + NAMES, 'no field is called Vorname, Nachname; say which it is, as --map "Vorname='),
        (f"customer,,{NAMES}", "no field is called (without a name); "),
        (NAMES + ",CITY", "more than one column is city"),
        (NAMES.replace(",city", "").replace(",state", ""), "has no column for city, state; "),
        (NAMES.replace("customer,", ""), "has no column for customer; "),
    ],
)
def test_columns_that_cannot_be_used_are_named(header: str, told: str) -> None:
    assert f"file.csv: {told}" in refusal(header)


def test_a_column_that_is_not_there_cannot_be_mapped() -> None:
    assert refusal(NAMES, mapping={"Vorname": "gender"}) == "file.csv: has no column Vorname"
    assert refusal(NAMES, id_column="nr") == "file.csv: has no column nr"


def test_a_patient_may_stand_for_the_customer() -> None:
    assert columns(NAMES.replace("customer", "patient")).body(CELLS)["patient"] == "cus_1"


@pytest.mark.parametrize("text", ["firstName", "=firstName", "Vorname=vorname", "Vorname="])
def test_a_mapping_names_a_column_and_a_field(text: str) -> None:
    with pytest.raises(WrongUse, match="must be COLUMN=FIELD, a field being one of customer, patient, firstName"):
        parse_mapping([text])


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        ("a,b;c", ","),
        ("a;b;c,d", ";"),
        ("a\tb", "\t"),
        ("a", ","),
        ('"a,b,c";"d"', ";"),
    ],
)
def test_the_delimiter_is_what_the_header_has_most_of(header: str, delimiter: str) -> None:
    assert sniff(header) == delimiter


def test_a_delimiter_is_one_character() -> None:
    assert [parse_delimiter(given) for given in (None, "|", "tab", "\\t", "\t")] == [None, "|", "\t", "\t", "\t"]
    for given in ("", "ab", '"', "\n"):
        with pytest.raises(WrongUse, match="--delimiter"):
            parse_delimiter(given)


def test_a_row_has_the_line_on_which_it_begins() -> None:
    text = 'a,b\r\n\r\n1,"x\r\ny"\n,,\n2,z\r3,"\u2028"'
    assert read(text) == [(1, ("a", "b")), (3, ("1", "x\r\ny")), (6, ("2", "z")), (7, ("3", "\u2028"))]


def test_a_row_whose_quotes_do_not_match_is_told_and_reading_goes_on_behind_it() -> None:
    text = 'a,b\n1,"x"y\n2,"x\n3,y"z\n4,w\n5,"'
    assert read(text) == [(1, ("a", "b")), (2, None), (3, None), (5, ("4", "w")), (6, None)]
    assert [row.text for row in rows(io.StringIO(text, newline=""), ",")][2] == '2,"x\n3,y"z\n'


def test_a_row_shows_nothing_of_itself() -> None:
    assert "Ada" not in repr(Row(1, ("Ada",), "Ada"))
