"""The help of every command: an example at its end that parses, placeholders of one form, nothing wrapped or cut."""

import re
import shlex

import pytest
import typer

from sensorium.cli.main import app
from sensorium.plugins import KINDS, Plugins

WIDTH = 80
PLACEHOLDER = re.compile(r"(-- )?\[?[A-Z][A-Z_.:|=,\[\]]*")


def every(command, path=("sensorium",)):
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from every(inner, (*path, name))


ROOT = typer.main.get_command(app)
COMMANDS = [pytest.param(path, command, id=" ".join(path)) for path, command in every(ROOT)]


def read(path, command):
    context = command.make_context(" ".join(path), [], resilient_parsing=True, terminal_width=WIDTH)
    return command.get_help(context)


def parsed(arguments):
    """Has a command line read, and nothing done."""
    command, context = ROOT, None
    while True:
        context = command.make_context(command.name, [*arguments], parent=context)
        if not hasattr(command, "commands"):
            return
        _, command, arguments = command.resolve_command(context, [*context._protected_args, *context.args])


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_help_ends_with_examples_that_can_be_given(path, command):
    head, _, examples = read(path, command).partition("\nExample:\n")
    assert "Such as: sensorium" not in head
    assert examples.strip()
    for line in examples.strip().splitlines():
        words = shlex.split(line)
        assert words[: len(path)] == [*path]
        parsed(words[1 : words.index(">") if ">" in words else None])


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_help_fits_80_columns_and_has_placeholders_of_one_form(path, command):
    assert max(map(len, read(path, command).splitlines())) <= WIDTH
    for each in command.params:
        assert each.name == "help" or each.help, f"{each.name} is not explained"
        if not getattr(each, "is_flag", False):
            assert PLACEHOLDER.fullmatch(each.metavar or ""), f"{each.name}: {each.metavar}"


@pytest.mark.parametrize(("path", "command"), [each for each in COMMANDS if hasattr(each.values[1], "commands")])
def test_summaries_are_of_one_line(path, command):
    section = read(path, command).partition("\nCommands:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in section.splitlines()] == [*command.commands]
    assert "..." not in section


LISTS = [("tasks",), ("plugins",), *(("show", kind) for kind in KINDS)]


@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_lists_fit_80_columns_and_name_everything(sensorium, command):
    out = sensorium(*command).out
    assert max(map(len, out.splitlines())) <= WIDTH
    words = {word.strip(",") for word in out.split()}
    loaded = Plugins()
    kinds = {"tasks": ["task"], "plugins": KINDS}.get(command[0], command[1:])
    assert words >= {name for kind in kinds for name in loaded.names(kind)}


def test_a_summary_is_a_sentence_that_may_name_its_authors(sensorium):
    assert (
        sensorium("show", "loss", "--json").json["kl_divergence"].endswith("(Hinton et al. 2015 without temperature).")
    )
