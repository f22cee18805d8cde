"""What the schemas say of the fields: the rules of `text` and `fields` in JSON Schema, as far as it can say them.

It cannot say what is counted after trimming and NFC, how far a date lies from the record's time, what an e-mail address
is, and that ids count bytes. A text in which nothing is visible counts as trimmed away.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import WithJsonSchema

from app.request import fields
from app.request.characters import IN_IDENTIFIER, INVISIBLE, KEPT, LETTER_OR_DIGIT, THREE_DIGITS
from app.request.text import ADDRESS_LIMIT, NAME_LIMIT, TEXT_LIMIT

Schema = dict[str, Any]

CUSTOMER_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"

_VISIBLE: Final = f"[^{INVISIBLE}]"
# In Python and Java `$` matches before a last line break too. So what a text may hold is said without it, and a pattern
# with it needs a second rule.
_REFUSED: Final = {"type": "string", "pattern": f"[^{KEPT}]"}
NO_LINE_BREAK: Final = {"type": "string", "pattern": "[\n\r\u0085\u2028\u2029]"}

_DAY: Final = (
    "(?:[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    "|(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29)"
)
"""A day that exists. Years before 1000 are none: no record is so old that one could be a date of birth."""


def _text(longest: int, shortest: int = 0, **more: Any) -> Schema:
    return {"type": "string", "minLength": shortest, "maxLength": longest, "not": _REFUSED, **more}


def _visible(longest: int) -> Schema:
    return _text(longest, 1, allOf=[{"pattern": _VISIBLE}])


def identifier_schema(*, reserved: str = "") -> Schema:
    """The rule of an id that is given. `reserved` is what it must not begin with."""
    forbidden = f"[^{IN_IDENTIFIER}]" + (f"|^{reserved}" if reserved else "")
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": fields.IDENTIFIER_LIMIT,
        "not": {"type": "string", "pattern": forbidden},
    }


def nullable(schema: Schema) -> Schema:
    """Or null, or an empty text, which both mean that none is given."""
    return {"anyOf": [schema, {"type": "string", "maxLength": 0}, {"type": "null"}]}


def customer_schema() -> Schema:
    """The rule of a customer id, by the default of the setting."""
    return {"type": "string", "minLength": 1, "maxLength": 100, "pattern": CUSTOMER_PATTERN, "not": NO_LINE_BREAK}


def _gender_object() -> Schema:
    """One branch a member: the first in which something is visible is taken. The last branch: nothing is, anywhere."""
    hidden = {"not": {"type": "string", "pattern": _VISIBLE}}
    taken = _visible(TEXT_LIMIT)
    members, inner = fields.GENDER_MEMBERS, fields.CODING_MEMBERS

    def first_coding(schema: Schema) -> Schema:
        return {"coding": {"type": "array", "minItems": 1, "prefixItems": [{"type": "object", **schema}]}}

    def branch(names: tuple[str, ...], place: int) -> Schema:
        properties = {**dict.fromkeys(names[:place], hidden), names[place]: taken}
        return {"required": [names[place]], "properties": properties}

    passed_over = dict.fromkeys(members, hidden)
    branches = [branch(members, place) for place in range(len(members))]
    for place in range(len(inner)):
        branches.append({"required": ["coding"], "properties": passed_over | first_coding(branch(inner, place))})
    named = [{"required": [member], "properties": {member: {"type": "string"}}} for member in members]
    coded = [{"required": [member], "properties": {member: {"type": "string"}}} for member in inner]
    named += [{"required": ["coding"], "properties": first_coding({"anyOf": coded})}]
    nothing = {"coding": {"prefixItems": [{"properties": dict.fromkeys(inner, hidden)}]}}
    return {
        "title": "An object that names it",
        "type": "object",
        "anyOf": [*branches, {"properties": passed_over | nothing, "anyOf": named}],
    }


NAME: Final = WithJsonSchema(
    _text(
        NAME_LIMIT,
        1,
        allOf=[{"pattern": f"[{LETTER_OR_DIGIT}]"}],
        title="Name",
        description="A text with at least one letter or digit, of any script.",
    )
)
TEXT: Final = WithJsonSchema(_visible(TEXT_LIMIT))
TEXT_OR_EMPTY: Final = WithJsonSchema(_text(TEXT_LIMIT))
ADDRESS_LINE: Final = WithJsonSchema(_visible(ADDRESS_LIMIT))
SECOND_ADDRESS_LINE: Final = WithJsonSchema({**_text(ADDRESS_LIMIT), "type": ["string", "null"]})
PHONE: Final = WithJsonSchema(_text(fields.PHONE_LIMIT, 3, allOf=[{"pattern": THREE_DIGITS}]))
DATE_OF_BIRTH: Final = WithJsonSchema(
    {
        "type": "string",
        "minLength": 10,
        "maxLength": TEXT_LIMIT,
        "not": _REFUSED,
        "anyOf": [
            {"title": "A date", "format": "date", "pattern": f"^{_DAY}$"},
            {
                "title": "A date-time at midnight",
                "pattern": f"^{_DAY}[Tt ]{fields.MIDNIGHT}(?:{fields.OFFSET})?$",
            },
        ],
    }
)
EMAIL: Final = WithJsonSchema(
    {
        "not": _REFUSED,
        "anyOf": [
            {"type": "string", "format": "email", "minLength": 3, "maxLength": fields.EMAIL_LIMIT},
            {"type": "string", "maxLength": fields.EMAIL_LIMIT, "pattern": f"^[{INVISIBLE}]*$"},
            {"type": "null"},
        ],
    }
)
GENDER: Final = WithJsonSchema(
    {"anyOf": [{"title": "A text", **_text(TEXT_LIMIT)}, _gender_object(), {"type": "null"}]}
)
PATIENT: Final = WithJsonSchema(nullable(identifier_schema()))
CUSTOMER: Final = WithJsonSchema(nullable(customer_schema()))
