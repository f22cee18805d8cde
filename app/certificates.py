"""What is wrong with the certificate that a server shows."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

_CERTIFICATE_FAULTS: Final[Mapping[int, str]] = {
    9: "that does not hold yet",
    10: "that has expired",
    23: "that was withdrawn",
    62: "that is not for this host name",
    64: "that is not for this address",
}
"""By the number that OpenSSL gives for it."""


def certificate_fault(error: BaseException) -> str | None:
    """What is wrong with the certificate of a server; None when the error is about something else."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    return _CERTIFICATE_FAULTS.get(error.verify_code, "that none of the certificates we trust vouches for")
