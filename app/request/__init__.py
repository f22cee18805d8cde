"""Received JSON data in, the validated fields of a request or every fault of it out (design 5). No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from app.errors import Fault, FaultCode
from app.model import UNSET, PatientData
from app.request import fields, schema
from app.request.schema import RequestData
from app.request.text import SHORT, name

__all__ = ["RULES", "RequestData", "validate"]


_TEXTS: Final = itemgetter("address", "city", "state", "postalCode", "country")
RULES: Final[dict[str, Callable[..., Any]]] = {
    "name": name,
    "address": schema.address_line,
    "text": schema.text,
    "text_or_empty": schema.text_or_empty,
    "address2": schema.second_address_line,
    "phone": fields.phone,
    "born": fields.born,
    "gender": fields.gender,
    "email": fields.email,
    "identifier": fields.identifier,
    "domain": fields.domain,
    "bounds": fields.bounds,
}
"""The rules of the fields, for the compiled part: it asks them wherever a value is not of the plainest."""
_RULES: Final = (schema.address_line, schema.text, schema.text_or_empty, schema.text_or_empty, schema.text)


def validate(data: object, *, received_at: datetime, faulty: bool = False) -> PatientData | tuple[Fault, ...]:
    """The fields of a request as they are stored, or all faults at once in the order of the fields.

    Args:
        data: as received.
        received_at: the record's timestamp (aware, UTC), against which the date of birth is bounded.
        faulty: whether a fault was met already, so that they are looked for at once.
    """
    if not isinstance(data, dict):
        return (Fault("", FaultCode.NOT_AN_OBJECT),)
    if faulty:
        return _by_model(data, received_at)
    try:
        return _without_fault(data, received_at)
    except (PydanticCustomError, KeyError, TypeError, AttributeError):
        return _by_model(data, received_at)


def _without_fault(data: dict[str, Any], received_at: datetime) -> PatientData:
    """The rules of the fields, applied at a third of what the model costs. Raises at the first fault.

    A value that is no string has none of the methods that the rules call. Texts that are short and printable ASCII, all
    of those that must be given in one look, need only be trimmed.
    """
    texts = _TEXTS(data)
    if (together := "".join(texts)).isascii() and together.isprintable() and len(together) <= SHORT:
        address, city, state, postal_code, country = map(str.strip, texts)
        if not (address and city and country):
            raise KeyError
    else:
        address, city, state, postal_code, country = (rule(text) for rule, text in zip(_RULES, texts, strict=True))
    return PatientData(  # in the order of its fields, as envelopes are made
        name(data["firstName"]),
        name(data["lastName"]),
        fields.born(data["dateOfBirth"], received_at),
        fields.phone(data["phone"]),
        address,
        city,
        state,
        postal_code,
        country,
        fields.gender(data["gender"]) if "gender" in data else UNSET,
        fields.email(data["email"]) if "email" in data else UNSET,
        schema.second_address_line(data["address2"]) if "address2" in data else UNSET,
        fields.identifier(data["patient"]) if "patient" in data else None,
    )


def _by_model(data: dict[str, Any], received_at: datetime) -> PatientData | tuple[Fault, ...]:
    """The same by the model, which tells every fault."""
    try:
        valid = RequestData.model_validate(data, context=received_at)
    except ValidationError as error:
        return _faults(error, data)
    given = valid.model_fields_set
    return PatientData(
        first_name=valid.first_name,
        last_name=valid.last_name,
        date_of_birth=valid.date_of_birth,
        phone=valid.phone,
        address=valid.address,
        city=valid.city,
        state=valid.state,
        postal_code=valid.postal_code,
        country=valid.country,
        gender=valid.gender if "gender" in given else UNSET,
        email=valid.email if "email" in given else UNSET,
        address2=valid.address2 if "address2" in given else UNSET,
        patient=valid.patient,
    )


def _faults(error: ValidationError, data: dict[Any, Any]) -> tuple[Fault, ...]:
    """What pydantic found, in our codes. None of its texts is passed on, nor the values it holds."""
    faults: list[Fault] = []
    for found in error.errors(include_input=False, include_url=False, include_context=False):
        field = found["loc"][0]
        if found["type"] == "string_type":
            codes = [FaultCode.NULL if data.get(field) is None else FaultCode.NOT_A_STRING]
        else:  # "missing", or what `refuse` was given
            codes = [FaultCode(code) for code in found["type"].split(" ")]
        faults += [Fault(f"/{field}", code) for code in codes]
    return tuple(faults)
