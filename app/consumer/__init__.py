"""The consumer room, the only one that knows Kafka and FastStream: records in, answers out, offsets."""

from app.consumer.broker import UpsertBroker

__all__ = ["UpsertBroker"]
