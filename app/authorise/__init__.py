"""The authorise room: whether a caller may make a request. Deciding is pure; `callers` has the keys fetched."""

from app.authorise.callers import Callers, Everyone, inspect_callers, make_callers
from app.authorise.decide import EVERYONE, Caller, authorise, visible

__all__ = [
    "EVERYONE",
    "Caller",
    "Callers",
    "Everyone",
    "authorise",
    "inspect_callers",
    "make_callers",
    "visible",
]
