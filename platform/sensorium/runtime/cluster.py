"""What a Ray cluster offers."""

from __future__ import annotations


def describe(address: str | None) -> str:
    """Returns Ray's version and, of the cluster at an address, how much it has; raises what Ray raises."""
    import ray

    if address is None:
        return f"ray {ray.__version__}; no cluster asked (--address)"
    ray.init(address=address, logging_level="ERROR")
    resources = ray.cluster_resources()
    ray.shutdown()
    shown = ", ".join(f"{name} {resources[name]:g}" for name in ("CPU", "GPU") if name in resources)
    return f"ray {ray.__version__}; the cluster at {address} has {shown}"
