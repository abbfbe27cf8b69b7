"""Training by Ray Train: workers on any number of nodes, restarted from the last whole checkpoint."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sensorium.assembly.build import Assembly, assemble
from sensorium.contracts.run import Evaluation, Outcome, Run
from sensorium.errors import SensoriumError, UserError
from sensorium.experiment.reading import check
from sensorium.hookspecs import hookimpl
from sensorium.modules import advice
from sensorium.plugins import Plugins
from sensorium.runtime import internals, working_dir
from sensorium.runtime.connection import joined, variables
from sensorium.training import runs
from sensorium.training.execution import execute, plain
from sensorium.training.interrupts import as_interrupts


def train(
    assembly: Assembly,
    run: Run,
    address: str | None = None,
    listener: Callable[[dict[str, Any]], None] | None = None,
    interrupted: Callable[[], None] = lambda: None,
) -> Outcome:
    """Trains on Ray workers, and ends the run's record where they could not do so themselves.

    Args:
        assembly: What to work on, as this process has checked it; workers assemble their own.
        run: The run, recorded on storage that every worker reaches.
        address: Cluster to join; None starts one on this machine for the time of the training.
        listener: Called, in Ray Train's controller, with `evaluation` of each evaluation and `step`
            of each checkpoint that is complete.
        interrupted: Called when Ctrl-C or SIGTERM has come, before Ray is ended, which takes seconds.

    Raises:
        UserError: The cluster cannot give the resources; said at once.
        SensoriumError: The training failed.
        KeyboardInterrupt: It was interrupted.
    """
    from sensorium.tracking import models

    try:
        return _train(assembly, run, address, listener, interrupted)
    except (KeyboardInterrupt, SystemExit):
        models.end(run, "KILLED")
        raise
    except BaseException as error:
        models.end(run, "FAILED", str(error))
        raise


def _train(
    assembly: Assembly,
    run: Run,
    address: str | None,
    listener: Callable[[dict[str, Any]], None] | None,
    interrupted: Callable[[], None],
) -> Outcome:
    settings = assembly.loaded.experiment.run
    for variable in ("RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"):
        os.environ.setdefault(variable, str(settings.timeout))
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # it prints every line twice
    os.environ.setdefault("RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING", "0")

    import ray
    from ray.exceptions import RayError
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    with joined(address, assembly.loaded.plugins):
        per_worker = _resources(settings.resources)
        least, most = (settings.workers,) * 2 if isinstance(settings.workers, int) else settings.workers
        _check_resources(ray.cluster_resources(), per_worker, least)
        gpu = per_worker.get("GPU", 0) > 0
        elastic = {} if least == most else {"elastic_resize_monitor_interval_s": settings.timeout / 2}
        trainer = internals.interruptible(TorchTrainer)(
            _worker(working_dir.credentials()),
            train_loop_config={
                "run": {"name": run.name, "folder": run.folder, "tracking": dict(run.tracking)},
                "experiment": dict(run.experiment),
                "learnt": assembly.learnt(),
                "heard": listener is not None,
            },
            torch_config=TorchConfig(backend="nccl" if gpu else "gloo", timeout_s=int(settings.timeout)),
            scaling_config=ScalingConfig(
                num_workers=least if least == most else (least, most),
                use_gpu=gpu,
                resources_per_worker=per_worker,
                **elastic,
            ),
            run_config=RunConfig(
                name=run.name,
                storage_path=run.folder.rsplit("/", 1)[0] if "://" in run.folder else str(Path(run.folder).parent),
                failure_config=FailureConfig(max_failures=settings.max_failures),
                worker_runtime_env={"env_vars": variables(assembly.loaded.plugins.modules)},
                logging_config=LoggingConfig(log_level="WARNING"),
                callbacks=[] if listener is None else [_relay(listener)],
            ),
        )
        try:
            with as_interrupts():  # Ray has taken both signals over
                result = trainer.fit()
        except KeyboardInterrupt:
            interrupted()
            raise
        except (TrainingFailedError, RayError) as cause:
            with_plugins = advice(assembly.loaded.plugins.modules)
            raise SensoriumError(
                f"The training failed on Ray: {_reason(cause)}.",
                f"It was tried {settings.max_failures + 1} times at most (run.max_failures).",
                f"Go on from the last checkpoint with `sensorium train --resume {run.name}{with_plugins}`.",
            ) from cause
    returned: dict[str, Any] = result.return_value
    if "failure" in returned:
        failure = returned["failure"]
        kind = UserError if failure["exit_status"] == UserError.exit_status else SensoriumError
        raise kind(*failure["sentences"])
    return Outcome(**returned)


def _worker(credentials: dict[str, str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Returns a worker's part, with what the writer of the record needs; Ray shows neither code nor closure."""

    def work(config: dict[str, Any]) -> dict[str, Any]:
        import ray.train

        internals.begin()
        rank = ray.train.get_context().get_world_rank()
        if rank == 0:
            os.environ.update(credentials)
        try:
            return _work(config)
        except SensoriumError:  # its sentences are told at the end
            raise
        except Exception:
            print(f"Worker {rank} failed:", traceback.format_exc(), sep="\n", file=sys.stderr, flush=True)
            raise

    return work


def _work(config: dict[str, Any]) -> dict[str, Any]:
    """Does a worker's part. Runs in each Ray worker, anew after each restart."""
    import ray.train

    context = ray.train.get_context()
    run = Run(
        **config["run"],
        experiment=config["experiment"],
        seed=config["experiment"]["run"]["seed"],
        rank=context.get_world_rank(),
        workers=context.get_world_size(),
    )
    earlier = runs.failure(run.folder)
    if earlier is not None:
        return {"failure": earlier}

    def saved(step: int) -> None:
        if config["heard"]:  # Train is not told of the checkpoint itself: it would need the storage at that moment
            ray.train.report({"step": step})

    plugins = Plugins(tuple(config["experiment"]["plugins"]))
    try:
        assembly = assemble(check(config["experiment"], plugins), config["learnt"])
        if config["heard"]:
            plugins.manager.register(_Evaluations())
        return plain(execute(assembly, run, saved, internals.leaving))
    except SensoriumError as error:
        runs.remember_failure(run.folder, error)
        raise


class _Evaluations:
    """Reports evaluations from every worker, as Ray Train asks."""

    @hookimpl
    def sensorium_evaluated(self, run: Run, evaluation: Evaluation) -> None:
        import ray.train

        told = {"split": evaluation.split, "step": evaluation.step, "steps": run.steps}
        ray.train.report({"evaluation": {**told, "metrics": dict(evaluation.metrics)}})


def _relay(listener: Callable[[dict[str, Any]], None]) -> Any:
    from ray.train import UserCallback

    class Relay(UserCallback):
        def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
            listener(metrics[0])

    return Relay()


def _resources(asked: Mapping[str, float]) -> dict[str, float]:
    import torch

    return dict(asked) or {"CPU": 1.0, **({"GPU": 1.0} if torch.cuda.is_available() else {})}


def _check_resources(there: Mapping[str, float], per_worker: Mapping[str, float], workers: int) -> None:
    for name, amount in per_worker.items():
        if amount * workers > there.get(name, 0.0):
            raise UserError(
                f"{workers} workers of {amount:g} {name} each need {amount * workers:g} {name};"
                f" the cluster has {there.get(name, 0.0):g}.",
                "Nothing was started.",
                "Set run.workers or run.resources, or join a larger cluster with --address.",
            )


def _reason(cause: BaseException) -> str:
    errors = getattr(cause, "worker_failures", None)
    if errors:
        rank, error = next(iter(errors.items()))
        return f"worker {rank}: {str(error).strip().splitlines()[-1]}"
    return next(iter(reversed(str(cause).strip().splitlines())), type(cause).__name__).rstrip(".")
