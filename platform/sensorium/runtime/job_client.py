"""Ray's client of jobs, which follows no redirect: token, files and variables would go along to wherever it leads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import requests
from ray.job_submission import JobSubmissionClient

from sensorium.errors import SensoriumError


class Client(JobSubmissionClient):
    """Asks the cluster at one address alone."""

    def _do_request(self, *arguments: Any, **options: Any) -> requests.Response:
        answer: requests.Response = super()._do_request(*arguments, **options, allow_redirects=False)
        if answer.is_redirect:
            raise self._elsewhere()
        return answer

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        """Yields what a job prints, from its beginning until it ends.

        Raises:
            RuntimeError: The connection broke.
            SensoriumError: The cluster sends elsewhere.
        """

        async def refuse(*_: Any) -> None:
            raise self._elsewhere()

        watch = aiohttp.TraceConfig()
        watch.on_request_redirect.append(refuse)
        address = f"{self._address}/api/jobs/{job_id}/logs/tail"
        async with (
            aiohttp.ClientSession(cookies=self._cookies, headers=self._headers, trace_configs=[watch]) as session,
            session.ws_connect(address, ssl=self._ssl_context or True) as socket,
        ):
            async for message in socket:
                if message.type == aiohttp.WSMsgType.ERROR:
                    raise RuntimeError(f"the connection broke: {socket.exception()}")
                yield message.data
            if socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
                raise RuntimeError("the connection was closed")

    def _elsewhere(self) -> SensoriumError:
        return SensoriumError(
            f"The cluster at {self._address} sends elsewhere.",
            "No redirect is followed: the token would go along.",
            "Name the address that it leads to, if you trust it.",
        )
