"""A request in, an answer out, on real servers."""

from __future__ import annotations

from app.settings import Settings
from tests.support import ask, asking, plain


async def test_a_plain_request_creates_the_patient_and_is_answered_with_the_rest_body(settings: Settings) -> None:
    async with asking(settings) as requester:
        (answer,) = await ask(requester, plain("cus_1"))
    assert answer.status == 200
    assert answer.outcome == "created"
    assert list(answer.response) == [
        "customer",
        "email",
        "first_name",
        "last_name",
        "billing_address_id",
        "phone",
        "has_account",
        "created_at",
        "updated_at",
        "deleted_at",
        "metadata",
        "patient",
        "firstName",
        "lastName",
        "dateOfBirth",
        "gender",
        "address",
        "address2",
        "city",
        "state",
        "postalCode",
        "country",
    ]
