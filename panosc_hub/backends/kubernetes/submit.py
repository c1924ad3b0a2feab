"""Making a pod and its Secret so that there is one pod or none, even when an answer is lost."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kubernetes_asyncio.client import ApiException

from ...errors import BackendError, BackendUnavailable, PanoscError, Refusal
from .client import ApiAway, ApiRefused, KubernetesClient, failure, where
from .parse import pod_of
from .records import SESSION, Pod

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds between two tries while the API is away."""

_QUOTA = re.compile(
    r"exceeded quota: (?P<name>[^,\s]+), requested: (?P<asked>.*?), "
    r"used: (?P<used>.*?), limited: (?P<limit>.*)"
)
"""Kubernetes, ``plugin/pkg/admission/resourcequota``: the message of its 403."""


class Taken(Exception):
    """The name belongs to another pod, which is given."""

    def __init__(self, pod: Pod, body: Mapping[str, Any]) -> None:
        super().__init__(pod.name)
        self.pod, self.body = pod, body


@dataclass(frozen=True, slots=True)
class Submitter:
    """``say`` is told once if the API is waited for; ``patience`` is in seconds."""

    client: KubernetesClient
    namespace: str
    patience: float
    say: Callable[[str], None]

    async def pod(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The pod as the API has it now.

        Raises :class:`Taken`, :class:`Refusal` with the reason in words, or
        :class:`BackendUnavailable`: then the pod may exist, and its deletion is to be owed.
        """
        name, session = body["metadata"]["name"], body["metadata"]["labels"][SESSION]
        try:
            return await self._post("pods", body)
        except ApiRefused as error:
            if error.status != 409:
                raise refusal(error) from error
        # Somebody's of that name: perhaps ours, of a request whose answer was lost.
        found = await self.read(name)
        if found is None:
            raise BackendUnavailable(
                "The cluster is still removing an earlier session. Try again in a minute."
            )
        there = pod_of(found)
        if there.session == session and there.doomed is None:
            return found
        raise Taken(there, found)

    async def secret(self, body: Mapping[str, Any]) -> None:
        """Its name is this start's alone, so one that is there is this one."""
        try:
            await self._post("secrets", body)
        except ApiRefused as error:
            if error.status != 409:
                raise refusal(error) from error

    async def read(self, name: str) -> dict[str, Any] | None:
        """The pod of that name now; None if there is none. Raises like :meth:`pod`."""
        path = where("pods", self.namespace, name)
        try:
            return await self._insist("GET", path)
        except ApiRefused as error:
            if error.status == 404:
                return None
            raise refusal(error) from error

    async def _post(self, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._insist("POST", where(kind, self.namespace), body)

    async def _insist(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ask until there is an answer, for ``patience`` seconds. Names make it safe to repeat."""
        deadline, pause = time.monotonic() + self.patience, FIRST_PAUSE
        while True:
            try:
                return await self.client.request(method, path, body=body)
            except ApiAway as error:
                wait = max(pause, error.retry_after or 0.0)
                if time.monotonic() + wait > deadline:
                    raise
                if pause == FIRST_PAUSE:
                    self.say("Kubernetes does not answer at the moment; waiting for it")
            await asyncio.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)


def told(error: ApiException) -> PanoscError:
    """The same for an exception of the library that KubeSpawner uses."""
    try:
        body = json.loads(error.body or "")
    except (TypeError, ValueError):
        body = {"message": str(error.body or error.reason)}
    found = failure(int(error.status or 0), body if isinstance(body, dict) else {}, "KubeSpawner")
    return refusal(found) if isinstance(found, ApiRefused) else found


def refusal(error: ApiRefused) -> PanoscError:
    """Why the API did not take a request, in words for the person who started a session."""
    if error.status == 403 and (found := _QUOTA.search(error.message)):
        asked, used, limit = (_amounts(found[key]) for key in ("asked", "used", "limit"))
        parts = [
            f"{what} asked for, {used.get(name, '?')} of {limit.get(name, '?')} {_plain(name)} used"
            for name, count in asked.items()
            for what in [f"{count} {_plain(name)}"]
        ]
        return Refusal(
            f"The quota of this cluster's namespace is used up: {'; '.join(parts)}. Stop another "
            "session, choose a smaller profile, or try again later.",
            reason="quota",
        )
    if error.status == 403 and "PodSecurity" in error.message:
        return BackendError(
            "The cluster's security rules do not allow this session's pod. Tell the facility's "
            f"support: {_short(error.message)}",
            reason="pod_security",
        )
    if error.status in (401, 403):
        return BackendError(
            "The Hub may not do this on the cluster. Tell the facility's support: "
            f"{_short(error.message)}",
            reason="forbidden",
        )
    return BackendError(
        f"The cluster refused the session's pod: {_short(error.message)}. Tell the facility's "
        "support, or choose another profile.",
        reason="kubernetes_refused",
    )


def _amounts(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.strip().split(",") if "=" in part)


_NAMES = {"cpu": "CPUs", "memory": "memory", "pods": "pods", "ephemeral-storage": "local disk"}


def _plain(resource: str) -> str:
    name = re.sub(r"^(requests|limits)\.", "", resource)
    if name in _NAMES:
        return _NAMES[name]
    return "GPU" if name.endswith("/gpu") else name.rpartition("/")[2]


def _short(message: str) -> str:
    return " ".join(message.split())[:300].rstrip(".")
