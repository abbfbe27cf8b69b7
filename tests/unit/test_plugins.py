"""Plugins: found by entry point or module, named in every complaint; one that fails spares the others."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from sensorium import Run
from sensorium.errors import SensoriumError, UserError
from sensorium.plugins import KINDS, OWN, Plugins


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs modules: writes a distribution with entry points, as pip would."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("SENSORIUM_PLUGINS", raising=False)

    def write(name: str, code: str, point: str | None = None, version: str = "1.2") -> None:
        (tmp_path / f"{name}.py").write_text("from sensorium.hookspecs import hookimpl\n" + code)
        monkeypatch.delitem(sys.modules, name, raising=False)
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[sensorium]\n{point or name} = {name}\n")

    yield write
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def registering(kind: str, **entries: str) -> str:
    return f"@hookimpl\ndef {KINDS[kind]}():\n    return {entries!r}\n"


def test_an_entry_point_is_found_with_its_version(install):
    install("wink", registering("loss", wink="wink:Wink"))
    plugins = Plugins()
    assert plugins.versions["wink"] == "1.2"
    assert plugins.entries["loss"]["wink"].plugin == "wink"
    assert {"builtin", "mlflow", "progress", "clip"} < set(plugins.versions)
    assert not plugins.failures


def test_built_ins_come_through_the_hooks_that_everybody_uses():
    plugins = Plugins()
    shipped = {point.name for point in entry_points(group="sensorium") if point.value.startswith("sensorium_")}
    assert {name for name, _ in plugins.manager.list_name_plugin()} == {*OWN, *shipped}
    for kind in KINDS:
        for entry in plugins.entries[kind].values():
            assert entry.plugin == "builtin" or entry.plugin in shipped
            assert plugins.find(kind, entry.name) is entry.load()


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("x = 1", "it registers nothing: "),
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("raise ValueError('no licence')", "ValueError: no licence"),
        ("def broken(:", "SyntaxError"),
        ("import sys; sys.unheard_of", "AttributeError"),
    ],
)
def test_a_plugin_that_fails_to_import_is_reported_and_the_others_go_on(install, code, cause):
    install("sour", code)
    install("sweet", registering("loss", sweet="sweet:Sweet"))
    plugins = Plugins()
    (failure,) = plugins.failures
    assert failure.plugin == "sour"
    assert cause in failure.cause
    assert "sweet" in plugins.names("loss")
    assert "clip" in plugins.names("task")


@pytest.mark.parametrize(("answer", "cause"), [("1 / 0", "ZeroDivisionError"), ("None", "TypeError")])
def test_a_hook_that_fails_is_reported_and_the_others_go_on(install, answer, cause):
    install("sour", f"@hookimpl\ndef sensorium_losses():\n    return {answer}\n" + registering("metric", ok="sour:Ok"))
    plugins = Plugins()
    (failure,) = plugins.failures
    assert failure.plugin == "sour"
    assert failure.cause.startswith(f"sensorium_losses: {cause}")
    assert "ok" in plugins.names("metric")
    assert "infonce" in plugins.names("loss")


def test_a_name_that_is_not_there_may_belong_to_a_plugin_that_failed(install):
    install("sour", "raise ImportError('libsour.so is missing')")
    with pytest.raises(UserError) as caught:
        Plugins().find("encoder", "vitt", "model.encoders.image")
    assert caught.value.wrong == "There is no encoder 'vitt' at model.encoders.image."
    assert caught.value.hint == (
        "Did you mean 'vit'? The plugin 'sour' could not be loaded: ImportError: libsour.so is missing."
    )


@pytest.mark.parametrize("name", ["sensorium_encodrs", "sensorium_step_finish"])
def test_a_misspelt_hook_names_the_plugin_and_the_hooks_there_are(install, name):
    install("sloppy", f"@hookimpl\ndef {name}():\n    return {{}}\n")
    with pytest.raises(UserError, match="'sloppy' has a hook that does not exist") as caught:
        Plugins()
    assert name in caught.value.wrong
    assert "sensorium_encoders" in caught.value.expected


def test_a_hook_with_an_argument_too_many_names_the_plugin(install):
    install("sloppy", "@hookimpl\ndef sensorium_step_finished(run, stepp):\n    pass\n")
    with pytest.raises(UserError, match=r"'sloppy'.*does not fit.*stepp"):
        Plugins()


def test_a_hook_without_its_mark_names_the_plugin(install):
    install("sloppy", "def sensorium_encoders():\n    return {}\n")
    with pytest.raises(UserError, match="'sloppy' has a function sensorium_encoders that is not marked") as caught:
        Plugins()
    assert "hookimpl" in caught.value.hint


def test_a_name_that_two_plugins_register_names_both(install):
    install("first", registering("encoder", vit="first:Vit"))
    with pytest.raises(UserError, match="'builtin' and 'first' both register the encoder 'vit'"):
        Plugins()


def test_the_same_name_for_two_kinds_is_fine(install):
    install("first", registering("metric", vit="first:Vit"))
    assert "vit" in Plugins().names("metric")


def test_two_plugins_of_one_name_are_refused(install):
    install("mine", registering("loss", mine="mine:Mine"), point="clip")
    with pytest.raises(
        UserError, match=r"Two plugins are called 'clip': (mine and sensorium_clip|sensorium_clip and mine)"
    ):
        Plugins()


def test_the_environment_limits_what_is_loaded(install, monkeypatch):
    install("sour", "raise ValueError('must not be imported')")
    install("sweet", registering("loss", sweet="sweet:Sweet"))
    monkeypatch.setenv("SENSORIUM_PLUGINS", "sweet")
    plugins = Plugins()
    assert set(plugins.versions) == {*OWN, "sweet"}
    assert not plugins.failures
    assert plugins.names("task") == []
    monkeypatch.setenv("SENSORIUM_PLUGINS", "")
    assert set(Plugins().versions) == set(OWN)
    monkeypatch.setenv("SENSORIUM_PLUGINS", " clip , sweet")
    assert set(Plugins().versions) == {*OWN, "clip", "sweet"}


def test_a_plugin_that_the_environment_misspells_is_refused(monkeypatch):
    monkeypatch.setenv("SENSORIUM_PLUGINS", "clipp")
    with pytest.raises(UserError, match=r"no plugin 'clipp' at SENSORIUM_PLUGINS.*Did you mean 'clip'"):
        Plugins()


def test_the_environment_has_calls_printed(monkeypatch, capsys):
    run = Run(name="some-run", folder="some/folder", experiment={}, seed=0)
    Plugins(["every_hook"]).hook.sensorium_checkpoint_saved(run=run, checkpoint="a/checkpoint", step=3)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("SENSORIUM_TRACE", "1")
    Plugins(["every_hook"]).hook.sensorium_checkpoint_saved(run=run, checkpoint="a/checkpoint", step=3)
    lines = capsys.readouterr().err
    assert "sensorium_encoders of builtin" in lines
    assert "sensorium_tasks of clip" in lines
    assert "sensorium_checkpoint_saved" in lines
    assert "a/checkpoint" in lines


def test_a_module_that_is_not_installed_is_loaded_from_the_working_folder(tmp_path):
    """In a process of its own, as the `sensorium` command starts: its folder is not on the path."""
    (tmp_path / "loose.py").write_text(
        "from sensorium.hookspecs import hookimpl\n__version__ = '0.3'\n" + registering("loss", loose="loose:Loose")
    )
    program = (
        "import sys; sys.path = [p for p in sys.path if p]\n"
        "from sensorium.plugins import Plugins\n"
        "plugins = Plugins(['loose']); print(plugins.versions['loose'], plugins.entries['loss']['loose'].plugin)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.3", "loose"]


@pytest.mark.parametrize(
    ("name", "code", "cause"),
    [
        ("absent", None, "ModuleNotFoundError: No module named 'absent'"),
        ("crooked", "def crooked(:", "SyntaxError"),
        ("angry", "raise RuntimeError('no')", "RuntimeError: no"),
    ],
)
def test_a_listed_module_that_does_not_import_is_the_users_to_mend(tmp_path, monkeypatch, name, code, cause):
    if code:
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError) as caught:
        Plugins([name])
    assert caught.value.wrong.startswith(f"The plugin module {name!r} cannot be imported: {cause}")
    assert caught.value.hint


def test_a_module_both_installed_and_listed_counts_once(install):
    install("wink", registering("loss", wink="wink:Wink"))
    assert Plugins(["wink"]).entries["loss"]["wink"].plugin == "wink"


def test_a_component_that_does_not_import_names_its_plugin(install):
    install(
        "hollow", registering("loss", away="hollow_parts:Away", gone="hollow:Gone", wrong="sensorium.plugins:Plugins")
    )
    plugins = Plugins()
    with pytest.raises(SensoriumError, match=r"loss 'away' of the plugin 'hollow' cannot be imported.*hollow_parts"):
        plugins.find("loss", "away")
    with pytest.raises(SensoriumError, match=r"loss 'gone' of the plugin 'hollow' cannot be imported.*Gone"):
        plugins.find("loss", "gone")
    with pytest.raises(SensoriumError, match=r"'hollow' registers .*Plugins.* as a loss, which it is not"):
        plugins.find("loss", "wrong")


def test_summaries_are_read_without_importing(install, tmp_path):
    install("calm", registering("loss", calm="calm_parts:Calm", absent="calm_parts:Absent", away="no.such.module:X"))
    (tmp_path / "calm_parts.py").write_text(
        'raise ValueError("imported")\n\nclass Calm:\n    """Stays calm.\n\n    More."""\n'
    )
    entries = Plugins().entries["loss"]
    assert entries["calm"].summary() == "Stays calm."
    assert entries["absent"].summary() == ""
    assert entries["away"].summary() == ""


def test_every_component_that_comes_along_has_a_summary():
    plugins = Plugins()
    for kind in KINDS:
        for entry in plugins.entries[kind].values():
            assert entry.summary().endswith((".", "…")), f"{kind} {entry.name}"


def test_help_tasks_and_plugins_import_nothing_heavy():
    program = """
import contextlib, io, sys
from sensorium.cli import main as cli
for arguments in (["--help"], ["train", "--help"], ["tasks"], ["plugins"]):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        cli.app(arguments, standalone_mode=False)
    assert "clip" in out.getvalue() or "--help" in arguments, out.getvalue()
    heavy = {"torch", "ray", "mlflow", "numpy", "sklearn"} & set(sys.modules)
    assert not heavy, f"{arguments} imports {heavy}"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
