"""Deletions of pods: of the one that is meant, and repeated until the API has taken them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .client import ApiRefused, KubernetesClient, where
from .parse import pod_of

Key = tuple[str, str]
"""Namespace and name of a pod."""

YOUNG = 60.0
"""Seconds for which a pod that is known only by its label may still appear."""


@dataclass(slots=True)
class Owed:
    """A deletion that the API has not taken. Without ``uid``, ``session`` says whose it is."""

    namespace: str
    name: str
    uid: str = ""
    session: str = ""
    force: bool = False
    """Whether it is deleted at once, as is needed where its node does not answer."""
    since: float = field(default_factory=time.monotonic)


async def read(client: KubernetesClient, namespace: str, name: str) -> Mapping[str, Any] | None:
    """The pod of that name as it is now, None if there is none; never from a cache."""
    try:
        return await client.request("GET", where("pods", namespace, name))
    except ApiRefused as error:
        if error.status == 404:
            return None
        raise


async def delete(
    client: KubernetesClient,
    namespace: str,
    name: str,
    uid: str,
    *,
    force: bool = False,
    grace: int | None = None,
) -> bool:
    """Delete this very pod; False if it is not there any more, whoever has its name now.

    ``force`` does not wait for its node. Raises :class:`ApiRefused` or :class:`ApiAway`.
    """
    if not uid:
        raise ValueError("a pod is deleted by its uid only: its name may be another's by now")
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": uid},
    }
    if force or grace is not None:
        body["gracePeriodSeconds"] = 0 if force else grace
    try:
        await client.request("DELETE", where("pods", namespace, name), body=body)
    except ApiRefused as error:
        if error.status in (404, 409):  # 409: the uid is another's
            return False
        raise
    return True


async def pay(client: KubernetesClient, debt: Owed) -> bool:
    """Try once; whether it is settled. Raises what the API says."""
    uid = debt.uid
    if not uid:
        found = await read(client, debt.namespace, debt.name)
        if found is None:
            return time.monotonic() - debt.since > YOUNG
        pod = pod_of(found)
        if not debt.session or pod.session != debt.session:
            return True  # somebody else's
        uid = pod.uid
    await delete(client, debt.namespace, debt.name, uid, force=debt.force)
    return True
