"""An experiment from its file, with what the trained models that it starts from say about themselves."""

from __future__ import annotations

from collections.abc import Sequence

from sensorium.assembly import trained
from sensorium.experiment.overrides import override
from sensorium.experiment.reading import check, read, with_modules
from sensorium.experiment.settings import Loaded
from sensorium.plugins import Plugins


def load(source: str, overrides: Sequence[str] = (), plugins: Plugins | None = None) -> Loaded:
    """Reads a task's default experiment, or a file, with `key.path=value` put over it.

    Raises:
        UserError: A name, a key or a type is wrong; says where and what would be right.
    """
    own = override({}, [item for item in overrides if item.partition("=")[0].strip() == "plugins"])
    plugins = with_modules(plugins or Plugins(), own)  # before the task is looked for, which may be one of theirs
    data = override(read(source, plugins), overrides)
    plugins = with_modules(plugins, data)
    return check(trained.completed(data, plugins), plugins)
