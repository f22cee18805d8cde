"""What `send` refuses to begin with."""

from app.errors import WorkerError


class WrongUse(WorkerError):
    """The command was given something that it cannot use; the text is one line that says what, and the cure."""
