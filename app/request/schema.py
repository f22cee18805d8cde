"""The model of a request's data: which fields there are, and what producers read about them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType

from app.request import fields, published
from app.request.text import ADDRESS_LIMIT, TEXT_LIMIT, name, optional, required

text = required(TEXT_LIMIT)
text_or_empty = required(TEXT_LIMIT, may_be_empty=True)
address_line = required(ADDRESS_LIMIT)
second_address_line = optional(ADDRESS_LIMIT)

Name = TypeAliasType("Name", Annotated[str, AfterValidator(name), published.NAME])
Text = Annotated[str, AfterValidator(text), published.TEXT]
TextOrEmpty = Annotated[str, AfterValidator(text_or_empty), published.TEXT_OR_EMPTY]
AddressLine = Annotated[str, AfterValidator(address_line), published.ADDRESS_LINE]
SecondAddressLine = Annotated[str | None, AfterValidator(second_address_line), published.SECOND_ADDRESS_LINE]
Phone = Annotated[str, AfterValidator(fields.phone), published.PHONE]
DateOfBirth = Annotated[date, PlainValidator(fields.date_of_birth), published.DATE_OF_BIRTH]
Email = Annotated[str | None, AfterValidator(fields.email), published.EMAIL]
Gender = Annotated[str | None, PlainValidator(fields.gender), published.GENDER]
Identifier = Annotated[str | None, AfterValidator(fields.identifier), published.PATIENT]
CustomerNamed = Annotated[Any, published.CUSTOMER]


def _without_defaults(schema: dict[str, Any]) -> None:
    """A default of null would say that leaving a field out clears it; it keeps what is stored."""
    for member in schema["properties"].values():
        member.pop("default", None)


class RequestData(BaseModel):
    """Create or update the patient of a customer.

    Every text is put into Unicode NFC and trimmed; carriage return, line feed and tab become a space. Lengths count
    characters after that. Other control characters, bidirectional controls and lone surrogates are refused. Any script
    and any language is fine. Of the fields that may be left out, an absent one keeps what is stored, and null or an
    empty text clears it. Unknown fields are ignored.
    """

    model_config = ConfigDict(
        title="Patient upsert request",
        alias_generator=to_camel,
        extra="ignore",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra=_without_defaults,
    )

    customer: CustomerNamed = Field(
        default=None,
        title="Customer",
        description="The customer whose patient this is. The event's subject or the record key may name it instead. "
        "A worker may be set to another pattern.",
        examples=["cus_1042"],
    )
    patient: Identifier = Field(
        default=None,
        title="Patient",
        description="The id of a patient that is known already: 1 to 255 bytes of UTF-8 without control characters, "
        "never trimmed. Absent, null or empty: the patient of the customer, created if there is none.",
        examples=["pat_0198c5d2-7d31-7c4e-9a55-3f1f0f6f7a10"],
    )
    first_name: Name = Field(
        title="First name",
        description="The patient's first name. At least one letter or digit, of any script.",
        examples=["Zoë", "美咲"],
    )
    last_name: Name = Field(
        title="Last name",
        description="The patient's last name. At least one letter or digit, of any script.",
        examples=["O'Sample-Núñez", "見本"],
    )
    date_of_birth: DateOfBirth = Field(
        title="Date of birth",
        description="A date as in ISO 8601. A date-time at midnight (2001-02-03T00:00:00Z) is accepted and counts as "
        "the date that is written. Not later than 14 hours after the record's timestamp, at most 150 years before it.",
        examples=["2001-02-03"],
    )
    gender: Gender = Field(
        default=None,
        title="Gender",
        description="A text, or an object: taken is the first string that is not empty among value, code, name, text, "
        "display, coding[0].code and coding[0].display. Of 1 to 100 characters. Null or empty clears it.",
        examples=["female", {"code": "F", "display": "Female"}, {"coding": [{"code": "female"}]}],
    )
    phone: Phone = Field(
        title="Phone",
        description="A phone number as free text with at least three digits. It becomes the customer's.",
        examples=["+1 (202) 555-0143"],
    )
    email: Email = Field(
        default=None,
        title="Email",
        description="An e-mail address of at most 254 bytes; only its syntax is checked, and its domain is stored in "
        "lower case. Internationalised addresses are accepted. It becomes the customer's. Null or empty clears it.",
        examples=["zoe.sample@clinic.example"],
    )
    address: AddressLine = Field(
        title="Address", description="The first line of the address.", examples=["12 Invented Street"]
    )
    address2: SecondAddressLine = Field(
        default=None,
        title="Address, second line",
        description="The second line of the address. Null or empty clears it.",
        examples=["Flat 3"],
    )
    city: Text = Field(title="City", description="The city or place.", examples=["Springfield", "東京"])
    state: TextOrEmpty = Field(
        title="State",
        description="The state, province or region as free text. Must be present, and may be empty.",
        examples=["OR", ""],
    )
    postal_code: TextOrEmpty = Field(
        title="Postal code",
        description="The postal code as free text. Must be present, and may be empty.",
        examples=["97475", ""],
    )
    country: Text = Field(
        title="Country", description="The country as free text, a code or a name.", examples=["US", "Deutschland"]
    )

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Nothing: the values are health data, and reprs end up in logs and tracebacks."""
        return ()
