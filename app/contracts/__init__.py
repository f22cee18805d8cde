"""What others build against: schemas, examples and the AsyncAPI document, made from the models themselves.

`documents` gives every file of `contracts/` by its name.
"""

from app.contracts.documents import documents

__all__ = ["documents"]
