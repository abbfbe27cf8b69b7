"""The guide shows the very file that `plugin new` writes; the hooks' reference is that of the hookspecs."""

import re
from pathlib import Path

from sensorium.scaffold.new import kinds, write
from sensorium.scaffold.reference import reference

PLUGINS = Path(__file__).parents[3] / "plugins"


def test_the_guide_shows_the_file_that_is_written(tmp_path):
    guide = (PLUGINS / "README.md").read_text(encoding="utf-8")
    shown, *pieces = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    for piece in pieces:
        compile(piece, "README.md", "exec")
    folder = write("digit_reader", "task", tmp_path)
    assert shown == (folder / "sensorium_digit_reader.py").read_text(encoding="utf-8")
    (entry,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    assert entry in (folder / "pyproject.toml").read_text(encoding="utf-8")
    for kind in kinds():
        assert f"`{kind}`" in guide


def test_the_reference_is_that_of_the_hookspecs():
    assert (PLUGINS / "HOOKS.md").read_text(encoding="utf-8") == reference(), (
        "`sensorium plugin hooks > plugins/HOOKS.md`"
    )
    assert reference().index("sensorium_modalities") < reference().index("sensorium_run_started")
