"""From a pod that was asked for to a server that can be reached, also across a Hub's restart.

A start that the Hub sees to its end and one that a killed Hub left to the next (adoption) wait
in the same way; JupyterHub asks ``get_url`` for the second kind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from traitlets import Float

from ...core.jobstate import JobState
from ...core.plan import Launch
from ...core.quantities import show_duration
from ...errors import BackendError, BackendUnavailable
from ..base import Backend
from . import offers
from .client import ApiAway, ApiRefused, where
from .diagnosis import Finding, Kind, diagnose
from .pod import KubernetesPod
from .records import NOTEBOOK, Pod

NOWHERE = "http://127.0.0.1:1"
"""For a session that has no server. Not the address in JupyterHub's database: that is a guess
from before the start, where another user's server may listen; no user can listen on port 1."""

ADOPT_AGAIN = 1.0
"""Seconds until an adoption that failed for an unexpected reason is tried again; it doubles."""

LOOK_AGAIN = 5.0
"""Seconds after which a start looks again although no pod changed: patience may be at its end."""

LAST_LINES = 12
"""Lines of its log that a session which died at its start leaves behind."""


class KubernetesStart(KubernetesPod, Backend):
    """The part of :class:`~.spawner.KubernetesBackend` that brings a pod to its URL."""

    adoption_grace = Float(
        60,
        min=0,
        config=True,
        help="""
        Seconds that a pod whose start was interrupted by a Hub restart gets at least, even if
        its start limit has passed meanwhile: as long as a notebook server needs to come up.
        """,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._forget()

    def _forget(self) -> None:
        self._session = self._uid = self._url = self._told = ""
        self._until = self._limit = 0
        self._areas = {}
        self._trouble: tuple[Kind, float] | None = None
        self._adoption: asyncio.Future[str] | None = None
        self._taken_over = self._stopping = False

    @property
    def ends_at(self) -> float | None:
        """When the cluster ends the pod, by the deadline that its wall time is."""
        return end_of(self.shared.pods.pod(self.namespace, self.pod_name)) if self._url else None

    # -- waiting ----------------------------------------------------------------------------

    async def _arrive(self, deadline: float, limit: float) -> str:
        """Wait until the server's container runs; its URL. Raises :class:`BackendError`."""
        pods, events = self.shared.pods, self.shared.events
        pods.watch(self.namespace, self.pod_name, self._uid, starting=True)
        if self._uid:
            events.want(self.namespace, self._uid)
        try:
            pod = await self._running(deadline, limit)
        finally:
            events.forget(self._uid)
        self._uid = self._uid or pod.uid
        self._url = await self._url_of(pod)
        pods.watch(self.namespace, self.pod_name, self._uid)
        self.save_state()
        self.tell("The pod runs; the notebook server is starting", 90)
        return self._url

    async def _running(self, deadline: float, limit: float) -> Pod:
        """The pod once it runs. Raises if it ends, cannot run, or takes too long."""
        pods = self.shared.pods
        while True:
            seen = pods.see(self.namespace, self.pod_name, self._uid)
            pod = pods.pod(self.namespace, self.pod_name)
            if pod is not None and self._uid and pod.uid != self._uid:
                pod = None
            if self._stopping:
                raise BackendError("The start was cancelled.", reason="cancelled")
            if pod is not None and pod.running:
                return pod
            finding = self._diagnose(pod) if pod is not None else None
            if finding is not None and self._given_up(finding):
                raise BackendError(await self._failure(finding), reason=finding.kind.value)
            if seen.state is JobState.GONE:
                raise BackendError(seen.words, reason="pod_ended")
            self._report(finding)
            left = deadline - time.monotonic()
            if left <= 0:
                raise BackendError(self._too_late(finding, limit), reason="timeout")
            await pods.news(min(left, LOOK_AGAIN))

    def _diagnose(self, pod: Pod) -> Finding:
        finding = diagnose(pod, self.shared.events.of(pod.uid), self._areas, self.image)
        if finding.kind is not Kind.NODE or self.launch is None:
            return finding
        return self._waiting(self.launch, pod) or finding

    def _waiting(self, launch: Launch, pod: Pod) -> Finding | None:
        """What the pod waits for, by what is known of the cluster; None: not enough is known."""
        text, possible = offers.waits_for(type(self), self.config, pod, launch)
        return Finding(Kind.NODE, text, 15, hopeless=not possible) if text else None

    def _given_up(self, finding: Finding) -> bool:
        """Whether this trouble has lasted for longer than its patience."""
        now = time.monotonic()
        if self._trouble is None or self._trouble[0] is not finding.kind:
            self._trouble = (finding.kind, now)
        lasted = now - self._trouble[1]
        match finding.kind:
            case Kind.NODE:  # a queue is waited for; a node that there is none of is not
                return finding.hopeless and lasted >= self.node_patience
            case Kind.IMAGE:
                return finding.hopeless or lasted >= self.image_patience
            case Kind.MOUNT | Kind.SETUP:
                return lasted >= self.mount_patience
        return finding.hopeless

    async def _failure(self, finding: Finding) -> str:
        """The sentence for the user when a start is given up."""
        what = {
            Kind.IMAGE: "Choose another environment, or tell the facility's support.",
            Kind.MOUNT: "Ask your local contact, or start without a proposal.",
            Kind.SETUP: "Tell the facility's support.",
            Kind.NODE: "Choose a smaller profile, or ask the facility's support.",
            Kind.CRASH: "",
        }.get(finding.kind, "Try again.")
        sentence = f"The session could not start: {finding.sentence}. {what}".rstrip()
        if finding.kind is Kind.CRASH and (lines := await self._last_lines()):
            sentence += f" It said last: {lines}"
        return sentence

    async def _last_lines(self) -> str:
        """The end of the session's own log; empty if it cannot be had now."""
        query = {"container": NOTEBOOK, "tailLines": str(LAST_LINES), "limitBytes": "4000"}
        path = where("pods", self.namespace, self.pod_name, "log")
        try:
            text = await self.shared.client.text(path, query)
        except (ApiAway, ApiRefused) as error:
            self.log.warning("No log of pod %s: %s", self.pod_name, error)
            return ""
        if self.api_token:
            text = text.replace(self.api_token, "…")
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        return " / ".join(lines)[-600:]

    def _report(self, finding: Finding | None) -> None:
        """One line for each change; why it waits for a node replaces the line before."""
        pods = self.shared.pods
        if finding is None or pods.trouble:
            text, progress = "Kubernetes has the pod; nothing is known of it yet", 15
            if pods.trouble:
                text = "Kubernetes does not answer at the moment; waiting for it"
        else:
            text, progress = finding.sentence, finding.progress
            text = text[:1].upper() + text[1:]
        if text and text != self._told:
            self._told = text
            waits = finding is not None and finding.kind is Kind.NODE
            self.tell(text, progress, replaces=waits)

    def _too_late(self, finding: Finding | None, limit: float) -> str:
        spent = f"within {show_duration(int(limit))}"
        if finding is None or finding.kind is Kind.PLAIN:
            return (
                f"The session did not start {spent}, so the start was given up. Try again, or "
                "choose another profile."
            )
        reason = finding.sentence[:1].lower() + finding.sentence[1:]
        return (
            f"The session did not start {spent}: {reason}. It was given up; try again later, or "
            "choose another profile."
        )

    async def _url_of(self, pod: Pod) -> str:
        """As KubeSpawner's settings have it (``get_pod_url``, ``pod_connect_ip`` …)."""
        body: Mapping[str, Any] | None = None
        if self.get_pod_url:  # a facility's own function may want to know anything of the pod
            body = await self.shared.client.request(
                "GET", where("pods", self.namespace, self.pod_name)
            )
        if body is None:
            port = {"name": "notebook-port", "containerPort": self.port}
            body = {
                "metadata": {"name": pod.name, "namespace": pod.namespace},
                "status": {"podIP": pod.ip},
                "spec": {"containers": [{"name": NOTEBOOK, "ports": [port]}]},
            }
        return str(self._get_pod_url(body))

    # -- adoption ---------------------------------------------------------------------------

    async def get_url(self) -> str:
        """Where the server is.

        JupyterHub asks this when it has been restarted. For a pod that was still starting the
        answer waits, within the start's own limit. If it cannot run, the pod is deleted,
        ``ended`` says why, and the answer is an address where nobody listens. A fault of the Hub
        in this is no evidence against the pod: it is kept and tried again.
        """
        if self._session and not self._url:
            self._adoption = asyncio.ensure_future(self._adopt())
            try:
                await asyncio.wait([self._adoption])
                await self._adoption
            except BackendError as error:
                self.ended = error.sentence
            except asyncio.CancelledError:
                if not self._stopping:
                    raise  # the Hub is being stopped, not the session
                self.ended = "It was stopped from the Hub."
            finally:
                self._adoption = None
            if not self._url:
                self.log.warning("Pod %s is not adopted: %s", self.pod_name, self.ended)
                self.tell(self.ended, None)
                await self._delete(now=True)
                return NOWHERE
            self.log.info("Pod %s is adopted", self.pod_name)
        base_url: Any = self.server.base_url if self.server else ""
        return self._url + str(base_url) if self._url else str(await super().get_url())

    def give_up(self) -> bool:
        """End the wait in ``get_url``, which then deletes the pod."""
        if self._adoption is None:
            return False
        self._stopping = True
        return self._adoption.cancel()

    async def _adopt(self) -> str:
        """Raises :class:`BackendError` with the evidence that there is nothing to be adopted."""
        pause = ADOPT_AGAIN
        while True:
            try:
                self.tell("The Hub was restarted; it looks for the pod again", 15)
                patience = max(self._until - time.time(), self.adoption_grace)
                return await self._arrive(time.monotonic() + patience, self._limit)
            except BackendUnavailable as error:
                self.log.warning("Pod %s cannot be adopted yet: %s", self.pod_name, error)
            except BackendError as error:
                if error.reason != "timeout" or not self.shared.pods.trouble:
                    raise
                # The limit has passed, but nobody has said whether the session came up in time.
                await self.shared.pods.news(30)
                continue
            except Exception:
                if self._url:
                    return self._url  # only what followed failed, such as saving it
                self.log.exception("Could not adopt pod %s yet; it is kept", self.pod_name)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 60)

    async def _delete(self, *, now: bool) -> bool:
        """Delete the pod, or note that this is owed; whether the API took it."""
        raise NotImplementedError


def end_of(pod: Pod | None) -> float | None:
    """When the deadline of a pod passes, seconds since the epoch; None without one."""
    if pod is None or pod.started is None or pod.deadline is None:
        return None
    return pod.started + pod.deadline
