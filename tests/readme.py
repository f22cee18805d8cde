"""Writes the parts of the README that come from the code: `python -m tests.readme`; `--check` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from app.settings import PREFIX, SECRETS, Settings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
WIDTH = 118


def written() -> str:
    """The README as it should be."""
    text = README.read_text(encoding="utf-8")
    for name, content in parts().items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        text = f"{before}{begin}{content}\n{end}{after}"
    return text


def parts() -> dict[str, str]:
    """Each generated part by the name in its comments."""
    examples = ROOT / "contracts" / "examples"
    return {
        "settings": settings_table(),
        "request": _json((examples / "request.json").read_text(encoding="utf-8")),
        "answer": _json((examples / "answer-completed.json").read_text(encoding="utf-8")),
    }


def _json(text: str) -> str:
    return f"```json\n{_filled(json.loads(text), '')}\n```"


def _filled(value: Any, indent: str) -> str:
    """JSON with as many members in a line as fit, so that a whole answer is seen at once."""
    short = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict) or len(indent) + len(short) < WIDTH:
        return short
    inner = indent + "  "
    lines = [inner.rstrip(" ")]
    for number, (name, member) in enumerate(value.items(), start=1):
        piece = f'"{name}": {_filled(member, inner)}' + ("," if number < len(value) else "")
        if len(lines[-1]) + len(piece.partition("\n")[0]) < WIDTH and lines[-1].strip():
            lines[-1] += f" {piece}"
        else:
            lines.append(inner + piece)
    body = "\n".join(line for line in lines if line.strip())
    return f"{{\n{body}\n{indent}}}"


def settings_table() -> str:
    """Name, default and meaning of every setting."""
    rows = [f"| `{name.upper()}` | {_default(field)} | {_meaning(name, field)} |" for name, field in _fields()]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def _fields() -> list[tuple[str, FieldInfo]]:
    return list(Settings.model_fields.items())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be set"
    return "" if field.default is None else f"`{_shown(field.default)}`"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _meaning(name: str, field: FieldInfo) -> str:
    file = f"; or `{PREFIX}{name.upper()}_FILE`" if name in SECRETS else ""
    return f"{field.description}{file}"


def main() -> int:
    """Exit code 1 when `--check` finds a difference."""
    text = written()
    if "--check" in sys.argv:
        return 0 if text == README.read_text(encoding="utf-8") else 1
    README.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
