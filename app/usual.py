"""Usual requests, understood in one go by the compiled part where there is one. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

from app.authorise import EVERYONE, Caller, authorise
from app.compiled import part
from app.envelope import LONGEST_PASSED_ON, MAX_RECORD, MAX_VALUE, READ, read_time
from app.model import EVENT_TYPE, Envelope, Record, Request, from_milliseconds
from app.request import RULES
from app.settings import CUSTOMER_PATTERN, Settings


class Usual:
    """Understands what most records are: of one of the simple forms, with nothing wrong, and no patient to look up."""

    def __init__(self, settings: Settings) -> None:
        self._reader = part and part.Reader(
            from_key=settings.customer_from_key,
            pattern=None if settings.customer_pattern == CUSTOMER_PATTERN else re.compile(settings.customer_pattern),
            event_type=EVENT_TYPE.encode(),
            largest=MAX_VALUE,
            largest_record=MAX_RECORD,
            longest_traced=LONGEST_PASSED_ON,
            names=READ,
            rules={**RULES, "time": read_time, "made": from_milliseconds},
        )

    @property
    def looks(self) -> bool:
        """Whether it looks at records at all."""
        return self._reader is not None

    def request(self, record: Record, caller: Caller | None, received: datetime) -> Request | Envelope | None:
        """What `understand` makes of this record, or only its envelope, where one of its fields is at fault.

        None: it has to be opened, and is of none of the forms that `open_envelope` looks for first.

        Args:
            record: as received.
            caller: whose request it is; None when that is nobody who may make one.
            received: when it was read.
        """
        request = self._reader.request(record, received) if self._reader else None
        if caller is EVERYONE or not isinstance(request, Request):
            return request
        denial = authorise(record, request.customer, caller=caller, received=received)
        return replace(request, denial=denial) if denial else request
