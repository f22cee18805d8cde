"""The contracts as others read them: AsyncAPI's own parser, and ajv, which reads patterns as JavaScript does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_contracts_requests import VALID, refusal

HERE = Path(__file__).parent
CONTRACTS = HERE.parents[1] / "contracts"
ERROR = 0
WARNING = 1


def not_run(what: str) -> None:
    """What is missing is named; where everything must be there, it is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"not run: {what}")
    pytest.skip(f"not run: {what}")


@pytest.fixture(scope="session")
def packages() -> None:
    """The packages of package-lock.json, which are fetched once."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            not_run(tool)
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    if installed.is_file() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    done = subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=HERE, capture_output=True, timeout=240, check=False)
    if done.returncode != 0:
        not_run("npm ci, which could not fetch the packages of tests/contracts")


def node(*arguments: str) -> Any:
    done = subprocess.run(
        ["node", "read.mjs", *arguments], cwd=HERE, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.rule("R8.10")
@pytest.mark.usefixtures("packages")
def test_the_official_parser_reads_the_asyncapi_document_without_error_or_warning() -> None:
    said = node("asyncapi", str(CONTRACTS / "asyncapi.yaml"))
    assert [found for found in said["diagnostics"] if found["severity"] in (ERROR, WARNING)] == []
    assert said["servers"] == ["plaintext", "tls", "sasl"]
    assert said["channels"] == [
        "patient.upsert.requested",
        "patient.upsert.completed",
        "patient.upsert.failed",
        "patient.upsert.requested.dlq",
    ]
    assert said["operations"] == ["upsertPatient", "refuseUpsert", "keepDeadLetter"]
    assert sorted(said["messages"]) == [
        "completed",
        "deadLetter",
        "failed",
        "requestBinary",
        "requestPlain",
        "requestStructured",
        "requestWithKey",
    ]


@pytest.mark.rule("R8.10")
@pytest.mark.usefixtures("packages")
def test_the_parser_finds_what_is_wrong(tmp_path: Path) -> None:
    text = (CONTRACTS / "asyncapi.yaml").read_text(encoding="utf-8")
    for number, (right, wrong) in enumerate(
        [('action: "receive"', 'action: "take"'), ("#/channels/failed/messages", "#/channels/fallen/messages")]
    ):
        assert right in text
        broken = tmp_path / f"{number}.yaml"
        broken.write_text(text.replace(right, wrong), encoding="utf-8")
        said = node("asyncapi", str(broken))
        assert [found for found in said["diagnostics"] if found["severity"] in (ERROR, WARNING)] != []


CODINGS: list[list[Any]] = [[], [{}], [{"code": "F"}], ["F"], [{"code": "", "display": "F\x00"}]]
FIELDS: list[dict[str, Any]] = [
    {},
    {"firstName": "Zoë\u0301", "city": "a\r\n\tb", "address2": None, "gender": None, "email": ""},
    *({"firstName": name} for name in ("李", "محمد", "Ⅷ", "𐐷", "٣", "\U00011f04", "-7-", "🙂O")),
    *({"lastName": name} for name in ("", "-", "🙂", "\u0301", "\u3164", "\u200b", "Ada\x00", "Ada\x85", "A" * 201)),
    *({"city": f"x{odd}"} for odd in "\x00\x0b\x1f\x7f\x9f\u061c\u200e\u202e\u2066\ud800\udfff\u200d\u2028\U0010ffff"),
    *(
        {"city": text}
        for text in ("\u200b", "\u2800\u3164", "\U000e0020", "x" * 100, "x" * 101, "🏥" * 100, "🏥" * 101)
    ),
    *({"phone": phone} for phone in ("112", "12", "٠١٢", "1-x-2", "½²Ⅷ", "\U00011f50\U00011f51\U00011f52", "5" * 41)),
    *({"dateOfBirth": f"2001-02-03{time}"} for time in ("T00:00Z", " 00:00:00.0+0530", "T01:00", "T00:00+24:00", "x")),
    *(
        {"dateOfBirth": day}
        for day in ("2000-02-29", "1900-02-29", "2001-02-29", "2001-04-31", "20010203", "0000-01-01")
    ),
    *({"customer": name} for name in ("", None, "cus_1\n", "-", "a:b", 7, "a" * 101)),
    *({"patient": name} for name in ("", None, "pat_1\n", " ", "é", "\ud800", "a" * 256)),
    *({"gender": text} for text in ("F", "F\u202e", {}, {"value": 1}, {"value": "", "code": "F"}, {"value": "\x00"})),
    *({"gender": {"coding": coding}} for coding in CODINGS),
    {"gender": {"value": "\u202e", "coding": [{"code": "F"}]}},
]


@pytest.mark.rule("R8.1")
@pytest.mark.usefixtures("packages")
def test_ajv_takes_the_requests_that_the_worker_accepts(tmp_path: Path) -> None:
    requests = [{**VALID, **field} for field in FIELDS]
    cases = tmp_path / "cases.json"
    cases.write_text(json.dumps([["request", request] for request in requests]), encoding="utf-8")
    verdicts = node("schemas", str(CONTRACTS / "schemas"), str(cases))
    assert verdicts == [refusal(request) is None for request in requests]
    assert (verdicts.count(True), verdicts.count(False)) == (32, 52)
