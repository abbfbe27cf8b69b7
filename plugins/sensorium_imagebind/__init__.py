"""ImageBind: many modalities in one space, each bound to pictures alone (Girdhar et al. 2023)."""

from sensorium import hookimpl


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `imagebind`."""
    return {"imagebind": "sensorium_imagebind.task:ImageBind"}


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Pictures with depth and with warmth in their publishers' layouts."""
    return {"sun_rgbd": "sensorium_imagebind.layouts:SUNRGBD", "llvip": "sensorium_imagebind.layouts:LLVIP"}
