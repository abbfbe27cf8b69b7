"""Options: built as a check needs them, and the same after a journey through the experiment file."""

from __future__ import annotations

from typing import Any

import yaml

from sensorium.assembly.loading import load
from sensorium.conformance.finding import ContractError, InapplicableError
from sensorium.contracts.component import Component
from sensorium.contracts.task import Task
from sensorium.errors import UserError
from sensorium.experiment.parsing import dump, parse
from sensorium.experiment.reading import check
from sensorium.experiment.schema import field_docs
from sensorium.experiment.yamls import parse_yaml
from sensorium.plugins import Plugins


def probed(component: type[Component], plugins: Plugins, **more: Any) -> Any:
    """Returns the component's configuration with the options of its `probe`.

    Raises:
        InapplicableError: The defaults do not suffice, and there is no `probe`.
    """
    try:
        return parse(component.Config, {**component.probe, **more}, plugins, component.__name__)
    except UserError as cause:
        if component.probe:
            raise
        raise InapplicableError(f"{cause.wrong} Give options in `probe` to have this checked.") from cause


def round_trip(component: type[Component], plugins: Plugins) -> str:
    """Checks that options come back from YAML as they were, and that each is documented."""
    undocumented = sorted(set(component.Config.__dataclass_fields__) - set(field_docs(component.Config)))  # type: ignore[attr-defined]
    if undocumented:
        raise ContractError(f"Options without a docstring below them: {', '.join(undocumented)}.")
    if issubclass(component, Task):
        plain = load(plugins.name_of(component), (), plugins).plain()
        again = check(parse_yaml(yaml.safe_dump(plain), "the experiment"), plugins).plain()
    else:
        plain = dump(probed(component, plugins), plugins)
        read = parse_yaml(yaml.safe_dump(plain), "the options")
        again = dump(parse(component.Config, {k: v for k, v in read.items() if k != "name"}, plugins), plugins)
    if again != plain:
        changed = [key for key in plain if again.get(key) != plain[key]]
        raise ContractError(f"Not the same after YAML: {', '.join(changed)}.")
    return f"{len(plain)} written and read again"
