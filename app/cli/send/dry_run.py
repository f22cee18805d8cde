"""`send --dry-run`: every fault that can be told without Kafka and Postgres, each with its line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import typer
from pydantic import ValidationError

from app.authorise import EVERYONE
from app.cli.send.ids import Naming
from app.cli.send.source import Item, Problem, Source
from app.envelope import open_envelope
from app.errors import SENTENCES
from app.model import Position, Record
from app.settings import Settings, load_settings
from app.understand import understand


def rules() -> Settings:
    """The settings as far as they are given: which ids customers may have is among them. None must be."""
    try:
        return Settings(database_url="postgresql://not-needed", kafka_bootstrap_servers="not-needed")
    except ValidationError:
        return load_settings(needs_database=False)  # says in our words what is wrong


def dry_run(sources: Sequence[tuple[Source, Naming]], settings: Settings) -> bool:
    """Print the faults of each file and count them; whether there were none."""
    now = datetime.now(UTC)
    total: Counter[bool] = Counter()
    for source, naming in sources:
        where = f"{source.name}, " if len(sources) > 1 else ""
        for item in source.items():
            problems = list(problems_of(naming.named(item), settings, now))
            total[not problems] += 1
            for field, problem in problems:
                typer.echo(f"{where}line {item.line}: {field or '/'} {problem.code}: {problem.sentence}")
    typer.echo(f"{total.total()} read, {total[False]} with faults")
    return not total[False]


def problems_of(item: Item, settings: Settings, now: datetime) -> Iterator[tuple[str, Problem]]:
    """What the worker would refuse this for, by field. Whether customer and patient are known cannot be told."""
    if item.request is None:
        assert item.problem is not None
        yield "", item.problem
        return
    place = Position(settings.request_topic, 0, item.line, int(now.timestamp() * 1000))
    record = Record(place, item.request.key, item.request.value, item.request.headers)
    envelope = open_envelope(record, customer_from_key=settings.customer_from_key)
    pattern = re.compile(settings.customer_pattern)
    request = understand(envelope, None, received=now, pattern=pattern, caller=EVERYONE)
    if request.refusal is not None:
        for fault in dict.fromkeys(request.refusal.faults):
            yield fault.field, Problem(fault.code.value, SENTENCES[fault.code])
