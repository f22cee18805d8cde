"""`patient-upsert setup`: the topics and the tables."""

from __future__ import annotations

import asyncio
from typing import Final

from rich.console import Console

from app.consumer.topics import create_topics
from app.settings import Settings, load_settings

HELP: Final = """Create the topics and bring the database to the newest schema. May be run again.

Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 DATABASE_URL=postgresql://localhost/clinic patient-upsert setup
"""


def setup() -> None:
    """The command."""
    settings = load_settings()
    asyncio.run(_setup(settings, Console(highlight=False, soft_wrap=True)))


async def _setup(settings: Settings, console: Console) -> None:
    from app.store.migrate import migrate  # here, since it loads Alembic and SQLAlchemy, which no other command needs

    for topic, created in (await create_topics(settings)).items():
        console.print(f"topic {topic}: {'created' if created else 'was there'}", markup=False)
    with console.status("migrating the database"):
        revision = await migrate(settings.database_url.get_secret_value())
    console.print(f"database: at revision {revision}", markup=False)
