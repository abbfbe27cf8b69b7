"""The command line: the one place where everything meets. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sensorium.errors import SensoriumError

app = typer.Typer(
    help="Train models that see, hear and read, on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of standard output.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Options to change.")]
ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A checkpoint folder, runs:/ID/model, or models:/NAME@ALIAS.")
]

_debug = False


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Train models that see, hear and read, on Ray."""
    global _debug
    _debug = debug


@app.command()
def tasks(as_json: Json = False) -> None:
    """List the tasks that can be trained."""
    from sensorium.plugins import Plugins

    plugins = Plugins()
    found = {name: plugins.entries["task"][name] for name in plugins.names("task")}
    _warn_failures(plugins)
    if as_json:
        _print_json({name: {"plugin": entry.plugin, "summary": entry.summary()} for name, entry in found.items()})
        return
    for name, entry in found.items():
        print(f"{name:20} {entry.summary()}")


@app.command()
def plugins(as_json: Json = False) -> None:
    """List the plugins, what each registers, and which could not be loaded."""
    from sensorium.plugins import KINDS, Plugins

    loaded = Plugins()
    table: dict[str, Any] = {name: {"version": version} for name, version in sorted(loaded.versions.items())}
    for kind in KINDS:
        for name in loaded.names(kind):
            table[loaded.entries[kind][name].plugin].setdefault(kind, []).append(name)
    failed = {failure.plugin: failure.cause for failure in loaded.failures}
    if as_json:
        _print_json({"plugins": table, "failed": failed})
        return
    for name, content in table.items():
        print(f"{name} {content.pop('version')}")
        for kind, names in content.items():
            print(f"  {kind:10} {', '.join(names)}")
    _warn_failures(loaded)


@app.command()
def show(
    task: Annotated[str, typer.Argument(metavar="TASK|FILE")],
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Print the whole experiment of a task or file, with every default written out."""
    import yaml

    from sensorium.experiment import load

    plain = load(task, overrides or ()).plain()
    if as_json:
        _print_json(plain)
    else:
        print(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), end="")


@app.command()
def schema() -> None:
    """Print the JSON Schema of the experiment file, for an editor to complete and check it."""
    from sensorium.plugins import Plugins
    from sensorium.schema import schema as schema_of

    print(json.dumps(schema_of(Plugins()), indent=1))


@app.command()
def train(
    task: Annotated[str | None, typer.Argument(metavar="TASK|FILE")] = None,
    overrides: Overrides = None,
    workers: Annotated[int | None, typer.Option(help="Number of workers; two and more run on Ray.")] = None,
    local: Annotated[bool, typer.Option("--local", help="One worker in this process, for debugging.")] = False,
    address: Annotated[str | None, typer.Option(help="Ray cluster to train on, such as auto or HOST:6379.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with a run, by name or folder.")] = None,
    as_json: Json = False,
) -> None:
    """Train a task, or the experiment in a file, and record the run."""
    from sensorium.session import resumed, started

    if (task is None) == (resume is None):
        raise typer.BadParameter("give a TASK or FILE, or --resume RUN")
    extra = [*(overrides or ())]
    if local:
        extra.append("run.workers=1")
    elif workers is not None:
        extra.append(f"run.workers={workers}")
    session = started(task, extra) if task is not None else resumed(str(resume), extra)
    _warn_skipped(session.assembly)
    result = session.train(local=local, address=address)
    if as_json:
        _print_json(result)
        return
    print(f"run      {result['run']}")
    print(f"model    {result['model']}")
    print(f"speed    {result['samples_per_second']:.0f} samples/s")
    for name, value in result["metrics"].items():
        print(f"  {name:44} {value:.4f}")
    for sentence in result["examples"]:
        print(sentence)
    if result["tracking_uri"]:
        print(f"record   {result['tracking_uri']}, MLflow run {result['run_id']}")
        print(f"look at  mlflow ui --backend-store-uri {result['tracking_uri']}")
    print(f"go on    sensorium evaluate {result['model']}")


@app.command()
def evaluate(
    model: ModelName,
    split: Annotated[
        str | None, typer.Option(help="train, validation or test; as after training if not given.")
    ] = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Measure a trained model on a split of its dataset, or of another dataset by overrides."""
    from sensorium.prediction import evaluate as measure
    from sensorium.tracking.models import fetch

    evaluation = measure(fetch(model), split, overrides or ())
    if as_json:
        _print_json({"model": model, "split": evaluation.split, "metrics": dict(evaluation.metrics)})
        return
    for name, value in evaluation.metrics.items():
        print(f"{name:46} {value:.4f}")
    for sentence in evaluation.examples:
        print(sentence)


@app.command()
def predict(
    model: ModelName,
    fields: Annotated[list[str], typer.Argument(metavar="FIELD=VALUE-OR-PATH...")],
    output: Annotated[Path | None, typer.Option(help="Folder for media of the answer.")] = None,
    as_json: Json = False,
) -> None:
    """Ask a trained model about one example."""
    from sensorium.prediction import Predictor
    from sensorium.tracking.models import fetch

    answer = Predictor.load(fetch(model)).ask(fields)
    shown = {name: _medium(name, value, output) for name, value in answer.items()}
    if as_json:
        _print_json(shown)
        return
    for name, value in shown.items():
        text = json.dumps(value, ensure_ascii=False)
        print(f"{name:20} {text if len(text) < 200 else text[:200] + ' …'}")


@app.command()
def doctor(
    address: Annotated[str | None, typer.Option(help="Ray cluster to ask as well.")] = None, as_json: Json = False
) -> None:
    """Say what of the machine, Ray, GPUs, MLflow and storage works."""
    from sensorium.doctor import examine

    findings = examine(address)
    if as_json:
        _print_json({finding.subject: {"ok": finding.ok, "finding": finding.text} for finding in findings})
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.subject:10} {finding.text}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _medium(name: str, value: Any, folder: Path | None) -> Any:
    if not isinstance(value, bytes):
        return value
    place = folder or Path.cwd()
    place.mkdir(parents=True, exist_ok=True)
    suffix = ".png" if value.startswith(b"\x89PNG") else ".wav"
    path = place / f"{name}{suffix}"
    path.write_bytes(value)
    return str(path)


def _warn_failures(plugins: Any) -> None:
    for failure in plugins.failures:
        print(f"The plugin {failure.plugin!r} could not be loaded: {failure.cause}", file=sys.stderr)


def _warn_skipped(assembly: Any, shown: int = 5) -> None:
    for split, left_out in assembly.skipped.items():
        if left_out:
            total = len(assembly.splits[split]) + len(left_out)
            print(f"{split}: {len(left_out)} of {total} samples are left out, as broken:", file=sys.stderr)
            for _, why in left_out[:shown]:
                print(f"  {why}", file=sys.stderr)
            if len(left_out) > shown:
                print(f"  and {len(left_out) - shown} more; all are listed in the run's run.json", file=sys.stderr)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


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
    if _debug:
        traceback.print_exc()
    print(f"Error: {' '.join(text.split())}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
