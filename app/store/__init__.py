"""The database: the one place that knows Postgres and its driver.

    async with open_store(url, pool_size=4, statement_cache=100) as store:
        async with store.transaction() as transaction:
            known = await transaction.read(keys, customers)
            await transaction.write(writes)
            await transaction.commit()

Raises only what `app.errors` defines. No text of the driver or the server, which may hold values, is passed on.
"""

from __future__ import annotations

from app.store.pool import Store, open_store
from app.store.transaction import Transaction

__all__ = ["Store", "Transaction", "open_store"]
