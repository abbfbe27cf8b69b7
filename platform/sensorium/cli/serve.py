"""Trained models as HTTP endpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.cli.options import Allowed, Json, print_json
from sensorium.paths import expanded

NAMED = "NAME=MODEL"


def serve(
    models: Annotated[list[str] | None, typer.Argument(metavar="[NAME=]MODEL", help="Models to serve.")] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take models and options from a serve.yaml.")
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Address to listen on; beyond loopback needs SENSORIUM_API_KEY.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(metavar="PORT", help="Port to listen on.")] = 8000,
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Ray cluster to serve on, such as auto or HOST:6379.")
    ] = None,
    replicas: Annotated[str, typer.Option(metavar="N|FEWEST:MOST", help="Copies of each model.")] = "1",
    num_gpus: Annotated[float, typer.Option(metavar="SHARE", help="Share of a GPU for each copy.")] = 0.0,
    index: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="Search through an index that the model made.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Answer to this name in the address, too.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a file for `serve deploy`, and end.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running on the cluster of --address.")] = False,
    update: Annotated[
        list[str] | None, typer.Option(metavar=NAMED, help="Bring a running model to another version.")
    ] = None,
    rollback: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Bring a running model back to the version before.")
    ] = None,
    plugins: Allowed = None,
    as_json: Json = False,
) -> None:
    """Serve trained models over HTTP, until Ctrl-C.

    Example:
        sensorium serve digits=models:/digits@champion --port 8000
    """
    from sensorium.errors import UserError
    from sensorium.runtime import serve_run
    from sensorium.runtime.listening import beyond_loopback, family, told

    if update or rollback:
        state = serve_run.change(address or "auto", serve_run.named(update or []), rollback or [])
        _show(state, as_json)
        return
    settings, host, port = _settings(models or [], file, host, port, replicas, num_gpus, index or [])
    settings = settings.model_copy(update={"hosts": (*settings.hosts, *(allow_host or []))})
    serve_run.check_host(host)
    serve_run.check_indexes(settings)
    if write is not None:
        import yaml

        text = yaml.safe_dump(serve_run.document(settings, host, port), sort_keys=False)
        Path(expanded(write)).write_text(text, encoding="utf-8")
        print(f"{write}: deploy it with `serve deploy {write}`")
        return
    if detach and address is None:
        raise UserError("--detach leaves it running on a cluster.", "Name one with --address.")
    with serve_run.running(settings, host, port, address) as versions:
        url = f"http://{host}:{port}"
        ports = beyond_loopback(family()) if address is None else []
        if as_json:
            print_json({"url": url, "models": versions, "beyond_loopback": list(map(str, ports))})
        else:
            for name, version in versions.items():
                print(f"{name:20} {url}/models/{name}/predict  ({version})")
            print(f"{'try it':20} {url}/")
            print(f"{'documentation':20} {url}/docs", flush=address is not None)
            if address is None:
                print(f"{'listens':20} {told(ports)}", flush=True)
        if not detach:
            serve_run.wait()


def _settings(
    models: list[str],
    file: Path | None,
    host: str,
    port: int,
    replicas: str,
    num_gpus: float,
    indexes: list[str],
) -> tuple[Any, str, int]:
    from sensorium.errors import UserError, unknown
    from sensorium.runtime import serve_run
    from sensorium.serving.settings import check, key_from_environment

    if (file is None) == (not models):
        raise typer.BadParameter("give MODEL, or --file serve.yaml")
    if file is not None:
        from sensorium.experiment.yamls import parse_yaml

        try:
            text = Path(expanded(file)).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as cause:
            raise UserError(f"{file} cannot be read: {' '.join(str(cause).split())}.") from cause
        return serve_run.from_document(parse_yaml(text, str(file), mapping=False))
    fewest, _, most = replicas.partition(":")
    if not fewest.isdecimal() or not (most or "1").isdecimal() or not 0 < int(fewest) <= int(most or fewest):
        raise UserError(f"{replicas!r} is not a number of copies.", "N or FEWEST:MOST was expected, such as 1:4.")
    served: dict[str, dict[str, Any]] = {
        name: {"model": model, "replicas": (int(fewest), int(most or fewest)), "num_gpus": num_gpus}
        for name, model in serve_run.named(models).items()
    }
    for item in indexes:
        name, equals, folder = item.partition("=")
        if not equals:
            raise UserError(f"{item!r} is not an index of a model.", "NAME=FOLDER was expected.")
        if name not in served:
            raise unknown("model", name, served)
        served[name]["index"] = folder if "://" in folder else str(Path(expanded(folder)).resolve())
    return check({"models": served, "key": key_from_environment()}), host, port


def _show(state: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(state)
        return
    for name, each in state.items():
        follows = f", follows {each['follows']}" if each["follows"] else ""
        print(f"{name:20} {each['version']}{follows}")
