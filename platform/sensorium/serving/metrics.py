"""What Prometheus reads of this process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Requests, their seconds, the sizes of batches, and what was rejected."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counter("sensorium_requests", "Requests by model and status", ["model", "status"], registry=own)
        self.seconds = Histogram(
            "sensorium_request_seconds", "From a request's head to its answer", ["model"], buckets=SECONDS, registry=own
        )
        self.batches = Histogram(
            "sensorium_batch_size", "Requests that were computed with one", ["model"], buckets=SIZES, registry=own
        )
        self.rejected = Counter("sensorium_rejected", "Requests answered 503 for lack of room", ["model"], registry=own)
        self.waiting = Gauge("sensorium_waiting", "Requests under way", ["model"], registry=own)

    def text(self) -> bytes:
        """Returns all of them in Prometheus's format."""
        return generate_latest(self.registry)
