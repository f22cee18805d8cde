"""Received JSON data in, the validated fields of a request or every fault of it out (design 5). No I/O, no clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ValidationError

from app.errors import Fault, FaultCode
from app.model import UNSET, PatientData
from app.request.schema import RequestData

__all__ = ["RequestData", "validate"]


def validate(data: object, *, received_at: datetime) -> PatientData | tuple[Fault, ...]:
    """The fields of a request as they are stored, or all faults at once in the order of the fields.

    `received_at` is the record's timestamp (aware, UTC), against which the date of birth is bounded.
    """
    if not isinstance(data, dict):
        return (Fault("", FaultCode.NOT_AN_OBJECT),)
    try:
        return _patient_data(RequestData.model_validate(data, context=received_at))
    except ValidationError as error:
        return _faults(error, data)


def _patient_data(valid: RequestData) -> PatientData:
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
