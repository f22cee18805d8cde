"""Questions that aiokafka does not ask: metadata without creating topics, and what this user may do."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

_GROUP: Final = 0
_CLUSTER_DENIED: Final = 31
_NOT_TOLD: Final = -(2**31)
_RIGHTS: Final = {3: "Read", 4: "Write", 8: "Describe", 10: "DescribeConfigs"}
"""Of Kafka's operations those that the worker or `doctor` has a use for, by their place in the bit field."""
_TRIES: Final = 12
_PAUSE_SECONDS: Final = 0.4


class _MetadataResponseV8(Response):
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", String()), ("port", Int32), ("rack", String()))),
        ("cluster_id", String()),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String()),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("authorized_operations", Int32),
    )


class _MetadataRequestV8(RequestStruct):
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponseV8
    SCHEMA = Schema(
        ("topics", Array(String())),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _Metadata(Request[MetadataRequest_v5 | _MetadataRequestV8]):
    """Version 8 tells the rights too; Kafka before 2.3 does not know it."""

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[Any]) -> Any:
        more = (False, True) if request_struct_class.API_VERSION >= 8 else ()
        return request_struct_class(self._topics, False, *more)


class _DescribeGroupsRequestV3(RequestStruct):
    """aiokafka pairs this version with the response of the one before, which holds no rights."""

    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = DescribeGroupsRequest_v3.SCHEMA


class _DescribeGroups(Request[_DescribeGroupsRequestV3]):
    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: type[Any]) -> Any:
        return request_struct_class([self._group], True)


async def metadata(client: AIOKafkaClient, topics: list[str]) -> dict[str, Any]:
    """Brokers and these topics, without creating any, as the protocol names them. Raises KafkaError."""
    response = await client.send(_node(client), _Metadata(topics))
    told: dict[str, Any] = response.to_object()
    return told


async def group_rights(client: AIOKafkaClient, group: str) -> frozenset[str] | None:
    """What this user may do with the group; None when the broker does not say. Raises KafkaError."""
    for _ in range(_TRIES):
        try:
            node = await client.coordinator_lookup(_GROUP, group)
            response = await client.send(node, _DescribeGroups(group))
        except GroupAuthorizationFailedError:
            return frozenset()
        except (CoordinatorNotAvailableError, NodeNotReadyError):
            await asyncio.sleep(_PAUSE_SECONDS)  # the very first group of a cluster has to wait for its coordinator
            continue
        (told,) = response.to_object()["groups"]
        error = for_code(told["error_code"])
        if error is GroupAuthorizationFailedError:
            return frozenset()
        if error is not NotCoordinatorForGroupError:
            return rights_of(told["authorized_operations"])
    return None


async def may_produce(client: AIOKafkaClient) -> bool:
    """Whether this user may have an idempotent producer: asks for the number of one. Raises KafkaError."""
    no_transactions: Any = None
    response = await client.send(_node(client), InitProducerIdRequest(no_transactions, 0))
    return bool(response.error_code != _CLUSTER_DENIED)


def rights_of(bits: int | None) -> frozenset[str] | None:
    """A bit field of operations as their names."""
    if bits is None or bits == _NOT_TOLD:
        return None
    return frozenset(name for place, name in _RIGHTS.items() if bits >> place & 1)


def _node(client: AIOKafkaClient) -> int:
    node = client.get_random_node()
    if node is None:
        raise NodeNotReadyError()
    return int(node)
