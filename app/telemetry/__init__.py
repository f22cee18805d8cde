"""What can be seen of the worker: its health, its log, its metrics and its traces. Nothing here holds personal data."""

from __future__ import annotations

from app.telemetry.health import Health
from app.telemetry.logs import configure_logging, log
from app.telemetry.metrics import Metrics
from app.telemetry.observed import Behind, PoolUse
from app.telemetry.traces import Traces, make_traces

__all__ = ["Behind", "Health", "Metrics", "PoolUse", "Traces", "configure_logging", "log", "make_traces"]
