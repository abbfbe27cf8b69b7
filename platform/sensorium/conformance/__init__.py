"""The conformance kit: what `sensorium plugin check` holds every plugin to."""

from sensorium.conformance.finding import Finding
from sensorium.conformance.kit import examine

__all__ = ["Finding", "examine"]
