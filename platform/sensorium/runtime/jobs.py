"""Jobs on a Ray cluster: sent, followed, stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.errors import SensoriumError, UserError, unknown
from sensorium.runtime.address import jobs_address

PATIENCE = 60.0
"""Seconds for which a cluster that has stopped answering is asked again."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass(frozen=True)
class Job:
    """One job, as the cluster knows it.

    Attributes:
        id: Its identifier.
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        command: What it runs.
        began: When it was sent (s since 1970); None if it has not begun.
        exit_status: Of its command; None while it runs, or if it was never run.
        message: What Ray says about it.
    """

    id: str
    status: str
    command: str
    began: float | None
    exit_status: int | None
    message: str


class Jobs:
    """The jobs of a cluster.

    Args:
        address: http(s)://HOST:PORT, the name of a cluster started here, or None for the only one.

    Raises:
        UserError: No cluster answers there, or it does not take the token.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = jobs_address(address)
        os.environ["RAY_API_SERVER_ADDRESS"] = self.address  # Ray puts it over what it is told
        from sensorium.runtime.job_client import Client

        for name in ("dashboard_sdk", "job.sdk"):  # which report each upload and connection
            logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.ERROR)
        self._client: Any = Client(self.address)

    def submit(self, arguments: Sequence[str], files: Path, variables: Mapping[str, str]) -> str:
        """Sends a command of Sensorium, and returns the job's identifier.

        Args:
            arguments: Of the command, without `sensorium`.
            files: A zip that becomes its working folder, on all nodes.
            variables: Its environment.
        """
        command = shlex.join(["sensorium", *arguments])
        environment = {"working_dir": str(files), "env_vars": dict(variables)}
        job: str = self._client.submit_job(entrypoint=command, runtime_env=environment)
        return job

    def all(self) -> list[Job]:
        """Returns the jobs that were sent, the oldest first."""
        jobs = [_job(info) for info in self._client.list_jobs() if info.submission_id]
        return sorted(jobs, key=lambda job: job.began or 0.0)

    def get(self, job: str) -> Job:
        """Returns one job.

        Raises:
            UserError: There is none of that identifier.
        """
        for found in self.all():
            if found.id == job:
                return found
        raise unknown("job", job, [found.id for found in self.all()], self.address)

    def logs(self, job: str) -> str:
        """Returns what a job has printed."""
        self.get(job)
        text: str = self._client.get_job_logs(job)
        return text

    def follow(self, job: str, write: Callable[[str], object]) -> Job:
        """Hands on what a job prints, from its beginning until it ends, and returns how it did.

        Raises:
            SensoriumError: The cluster stopped answering.
        """
        shown, silent_since = 0, None
        self.get(job)

        async def tail() -> None:
            nonlocal shown
            seen = 0  # each connection begins with the first line
            async for text in self._client.tail_job_logs(job):
                fresh = text[max(0, shown - seen) :]
                seen += len(text)
                if fresh:
                    write(fresh)
                    shown = seen

        while True:
            try:
                asyncio.run(tail())
                found = self.get(job)
                if found.status in ENDED:
                    write(self.logs(job)[shown:])
                    return found
                silent_since = None
            except (RuntimeError, OSError) as cause:
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > PATIENCE:
                    raise SensoriumError(
                        f"The cluster at {self.address} no longer answers: {cause}.",
                        "The job may go on.",
                        f"`sensorium logs {job} --follow` takes up where this ended.",
                    ) from cause
            time.sleep(1.0)

    def stop(self, job: str) -> Job:
        """Ends a job, and returns when it has ended."""
        if self.get(job).status not in ENDED:
            self._client.stop_job(job)
        end = time.monotonic() + PATIENCE
        while (found := self.get(job)).status not in ENDED:
            if time.monotonic() > end:
                raise SensoriumError(f"The job {job} goes on, {PATIENCE:g} s after it was told to stop.")
            time.sleep(0.5)
        return found


def _job(info: Any) -> Job:
    return Job(
        id=info.submission_id,
        status=str(getattr(info.status, "value", info.status)),
        command=info.entrypoint,
        began=info.start_time / 1000 if info.start_time else None,
        exit_status=info.driver_exit_code,
        message=info.message or "",
    )


def exit_status(job: Job) -> int:
    """Returns with which status a command ends that waited for a job."""
    if job.status == "SUCCEEDED":
        return 0
    code = job.exit_status or 1
    return 128 - code if code < 0 else code  # a signal, as the shell tells it


def check_ended_well(job: Job) -> None:
    """Raises if a job failed before its command could say why.

    Raises:
        UserError: Its environment could not be made.
        SensoriumError: Ray lost it.
    """
    if job.status != "FAILED" or job.exit_status is not None:
        return
    said = " ".join(job.message.split())[-500:]
    kind = UserError if "runtime_env" in said.lower() or "runtime env" in said.lower() else SensoriumError
    raise kind(f"The job {job.id} was not run: {said}.")
