"""The command line: the one place where everything meets. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from sensorium import __version__
from sensorium.cli import cluster, export, index, jobs, look, plugin, predict, serve, train, tune
from sensorium.cli.help import Command, Group
from sensorium.debugging import VARIABLE, debugging
from sensorium.errors import SensoriumError
from sensorium.redaction import redacted

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
for command in (
    look.tasks,
    look.plugins,
    look.show,
    look.schema,
    train.train,
    train.evaluate,
    tune.tune,
    predict.predict,
    index.index,
    export.export,
    serve.serve,
    look.models,
    look.doctor,
    jobs.submit,
    jobs.jobs,
    jobs.logs,
    jobs.stop,
):
    app.command(cls=Command)(command)

app.add_typer(cluster.app, name="cluster")
app.add_typer(plugin.app, name="plugin")


def _show_version(asked: bool) -> None:
    if asked:
        print(f"sensorium {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks, and what Ray and MLflow say of their work.")
    ] = False,
) -> None:
    """Train models that see, hear and read, on Ray.

    Example:
        sensorium train clip tracking.register=digits
    """
    if debug:
        os.environ[VARIABLE] = "1"


def main() -> NoReturn:
    """Runs the command line; errors are a paragraph, and the exit status tells whose they are."""
    try:
        status = app(standalone_mode=False)
        sys.exit(status or 0)
    except typer.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except SensoriumError as error:
        _complain(str(error), error.exit_status)
    except Exception as error:  # noqa: BLE001 (a person reads it: a sentence tells more than a traceback)
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # a usage error of the command line
            error.show()
            sys.exit(error.exit_code)
        _complain(f"{type(error).__name__}: {str(error)[:500]} (`sensorium --debug …` shows where)", 1)


def _complain(text: str, status: int) -> NoReturn:
    if debugging():
        traceback.print_exc()
    print(f"Error: {redacted(' '.join(text.split()))}", file=sys.stderr)
    sys.exit(status)
