"""`send --dry-run`, and what the command refuses before it reaches for Kafka. No server is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.cli.send import read_token

HEADER = "customer,firstName,lastName,dateOfBirth,phone,address,city,state,postalCode,country"
GOOD = "cus_1,Ada,Example,1990-05-17,555 01 02,1 Street,London,,N1,GB"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"PATIENT_UPSERT_{name}", raising=False)


def run(*arguments: object, stdin: str = "") -> tuple[int, list[str]]:
    found = CliRunner().invoke(app, ["send", *map(str, arguments)], input=stdin.encode())
    return found.exit_code, (found.stdout + found.stderr).splitlines()


def file(tmp_path: Path, name: str, *lines: str) -> Path:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_every_fault_of_every_line_is_listed(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "a.csv",
        HEADER,
        GOOD,
        '"cus 2","A\nda",,1990-05-17,555 01 02,1 Street,London,,N1,GB',
        GOOD + ",Xsecretx",
        "cus_3,Ada,Example,2990-05-17,55,1 Street,London",
        ",Ada,Example,1990-05-17,555 01 02,1 Street,London,,N1,GB",
    )
    code, lines = run("--dry-run", path)
    assert (code, lines) == (
        1,
        [
            "line 3: /customer customer_invalid: is not a valid customer id",
            "line 3: /lastName empty: must not be empty",
            "line 5: / too_many_cells: has more cells than there are columns",
            "line 6: /dateOfBirth date_in_future: must not be in the future",
            "line 6: /phone too_few_digits: must contain at least three digits",
            "line 6: /country empty: must not be empty",
            "line 7: /customer customer_missing: no customer is named",
            "5 read, 4 with faults",
        ],
    )
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_without_a_fault(tmp_path: Path) -> None:
    assert run("--dry-run", file(tmp_path, "a.csv", HEADER, GOOD, GOOD)) == (0, ["2 read, 0 with faults"])


def test_json_lines_events_and_records_are_looked_at_too(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "a.jsonl",
        '{"customer": "cus_1"',
        '{"specversion": "1.0", "id": "1", "source": "/a", "type": "a", "subject": "c", "data": 7}',
        '{"record": {"key": "k", "value_text": "{"}}',
        '{"record": {"key": "k", "valeu": "Xsecretx"}}',
        "[]",
    )
    code, lines = run("--dry-run", path)
    assert code == 1
    assert "Xsecretx" not in "".join(lines)
    assert [line.split(": ")[:2] for line in lines[:-1]] == [
        ["line 1", "/ not_sendable"],
        ["line 2", "/type wrong_type"],
        ["line 2", "/ not_an_object"],
        ["line 3", "/ not_json"],
        ["line 4", "/ not_sendable"],
        ["line 5", "/ not_sendable"],
    ]


def test_of_several_files_each_fault_has_its_file(tmp_path: Path) -> None:
    first, second = file(tmp_path, "a.jsonl", "{"), file(tmp_path, "b.jsonl", "7")
    assert run("--dry-run", first, second) == (
        1,
        [
            f"{first}, line 1: / not_sendable: is not JSON",
            f"{second}, line 1: / not_sendable: must be a JSON object",
            "2 read, 2 with faults",
        ],
    )


def test_standard_input_can_be_looked_at() -> None:
    code, lines = run("--dry-run", "--format", "csv", "-", stdin=f"\ufeff{HEADER}\n{GOOD}\n")
    assert (code, lines) == (0, ["1 read, 0 with faults"])


def test_an_id_of_the_file_s_own_is_looked_at(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", f"nr,{HEADER}", f"1,{GOOD}", f"{'x' * 256},{GOOD}")
    assert run("--dry-run", "--id-column", "nr", path)[1] == [
        "line 3: /idempotency-key identifier_invalid: must be 1 to 255 bytes of UTF-8 without control characters",
        "2 read, 1 with faults",
    ]


def test_the_settings_that_are_given_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(tmp_path, "a.csv", HEADER, GOOD)
    monkeypatch.setenv("PATIENT_UPSERT_CUSTOMER_PATTERN", "^[0-9]+$")
    assert run("--dry-run", path)[1] == [
        "line 2: /customer customer_invalid: is not a valid customer id",
        "1 read, 1 with faults",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.csv"], "none.csv: must be a file that can be read"),
        (["a.csv", "--map", "Vorname=name"], "--map Vorname=name: must be COLUMN=FIELD"),
        (["a.csv", "--map", "Vorname=gender"], "a.csv: has no column Vorname"),
        (["a.csv", "--delimiter", "ab"], "--delimiter: must be one character, or tab"),
        (["b.csv"], "b.csv: no field is called nr; say which it is"),
        (["a.csv", "b.csv", "--name", "x"], "--report and --name are for one file"),
        (["-", "--report", "x"], "--report needs a file"),
        (["a.csv", "--report", "b.csv"], "b.csv: is there already"),
    ],
)
def test_wrong_use_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file(tmp_path, "a.csv", HEADER, GOOD)
    file(tmp_path, "b.csv", f"nr,{HEADER}", f"1,{GOOD}")
    code, lines = run("--dry-run", *arguments)
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith(told)


def test_the_help_has_examples() -> None:
    code, lines = run("--help")
    assert code == 0
    assert any("Example: patient-upsert send requests.jsonl" in line for line in lines)


@pytest.mark.rule("R9.16")
@pytest.mark.parametrize("content", ["a.b.c\n", "a.b.c", "Bearer a.b.c\n", "bearer\na.b.c"])
def test_the_token_of_a_file_is_read(tmp_path: Path, content: str) -> None:
    given = tmp_path / "token"
    given.write_text(content)
    assert read_token(given) == "a.b.c"


@pytest.mark.rule("R9.16")
@pytest.mark.parametrize("content", [b"", b"\n", b"a b c", b"\xff", None])
def test_a_file_without_a_token_stops_the_command_with_one_line(tmp_path: Path, content: bytes | None) -> None:
    given = tmp_path / "token"
    if content is not None:
        given.write_bytes(content)
    code, lines = run("--token-file", given, file(tmp_path, "a.csv", HEADER, GOOD))
    assert code == 2
    assert lines[-1] in (f"{given}: the token cannot be read", f"{given}: must hold one token and nothing else")
