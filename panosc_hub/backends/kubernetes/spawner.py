"""The Kubernetes backend: a session is a pod.

Thin: the pod is described in ``pod`` and ``manifest``, made in ``submit``, and what is believed
of it comes from the shared ``pods`` watcher. ``KubeSpawner`` is the base so that a site's
``c.KubeSpawner.*`` settings keep working as defaults; its reflectors, its creation and its
deletion of pods are not used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from jupyterhub.spawner import Spawner
from jupyterhub.utils import exponential_backoff
from kubernetes_asyncio.client import ApiException
from traitlets import Float

from ...core.choices import Menu
from ...core.identity import Person
from ...core.jobstate import JobState
from ...core.plan import Launch
from ...core.profiles import Profile
from ...errors import BackendError, BackendUnavailable, Refusal, SiteError
from ..base import Availability, Known
from . import debts, manifest, offers
from .client import ApiAway, ApiRefused
from .diagnosis import Finding, Kind
from .extras import make_extras
from .known import known_session, verdict
from .options import validate_options
from .parse import pod_of
from .records import HUB, Pod
from .settings import wrong_profile
from .shared import client_of, watchers
from .starting import KubernetesStart
from .submit import Submitter, Taken, told

API_PATIENCE = 60.0
"""Seconds for which a start waits for an API server that does not answer."""

_UNSEEN = "0" * 16
"""Stands for the session's id in a dry run."""


class KubernetesBackend(KubernetesStart):
    """One pod per session. A second cluster is a subclass with a ``backend_name`` of its own."""

    backend_name: ClassVar[str] = "kubernetes"
    tells_limits: ClassVar[bool] = True
    progress = Spawner.progress  # lines go through ``tell``

    stop_timeout = Float(
        60,
        min=0,
        config=True,
        help="""
        Seconds for which a stop waits for the pod to end; then its deletion is forced. More than
        ``KubeSpawner.delete_grace_period``; a pod on a node that does not answer never ends.
        """,
    )

    # -- life cycle -------------------------------------------------------------------------

    async def start(self) -> str:
        """Make the pod, wait until its server's container runs; returns the server's URL.

        Raises :class:`~panosc_hub.errors.PanoscError`; then the pod is deleted, or its deletion
        is owed to Kubernetes and tried until it succeeds.
        """
        if self.launch is None:
            raise BackendError("The session was not planned; this is a fault of the Hub's set-up.")
        launch, shared = self.launch, self.shared
        self._forget()
        self.ended = ""
        self.api = await shared.client.core()
        limit = launch.profile.start_timeout or self.start_timeout
        # Before the Hub's own limit, so that the sentence can say what the pod still waits for.
        patience = limit - min(10.0, limit / 10)
        deadline = time.monotonic() + patience
        self._limit, self._until = int(limit), int(time.time() + patience)
        self._session = self.new_session()
        try:
            if self.enable_user_namespaces:
                await self._kubespawners(self._ensure_namespace())
            await self._make_home()
            self._avoid_taken_name()
            self.save_state()
        except BaseException:
            self._forget()  # nothing is made that could not be found again
            raise
        try:
            await self._submit(launch)
            self.tell("Kubernetes took the pod", 15)
            return await self._arrive(deadline, limit)
        except Refusal:
            self._forget()  # there is no pod
            raise
        except BaseException:
            # Whatever ended the start, a cancellation included, must not leave a pod behind.
            if not self._stopping:
                await asyncio.shield(self._delete(now=True))
            raise

    async def _submit(self, launch: Launch) -> None:
        """The pod, then what it needs. Its Secret is owned by it, so it must be there first."""
        patience = min(API_PATIENCE, max(1.0, self._until - time.time()))
        make = Submitter(
            self.shared.client, self.namespace, patience, lambda text: self.tell(text, 12)
        )
        pod, env = await self.make_pod(launch)
        try:
            made = await make.pod(pod)
        except Taken as taken:
            self._make_way(taken)
            if self.internal_ssl:  # the certificates are for that name
                raise BackendError(
                    "An earlier session is still being removed. Try again in a minute."
                ) from taken
            self.name_pod(self.fresh_name())
            self.save_state()
            pod, env = await self.make_pod(launch)
            try:
                made = await make.pod(pod)
            except Taken as again:
                raise BackendError("The name of the session's pod is taken. Try again.") from again
        self.shared.pods.watch(self.namespace, self.pod_name, starting=True)
        self._uid = self.shared.pods.saw(made).uid
        self.save_state()
        await make.secret(self.make_secret(launch, env, self._uid))
        await self._kubespawners(make_extras(self, pod, self._uid))

    async def create_certs(self) -> dict[str, str]:
        """For the name that the pod will have."""
        self._avoid_taken_name()
        made: dict[str, str] = await super().create_certs()
        return made

    def _avoid_taken_name(self) -> None:
        """An earlier pod may still be ending, for minutes if its node does not answer."""
        if self.shared.pods.pod(self.namespace, self.pod_name) is not None:
            self.name_pod(self.fresh_name())

    def _make_way(self, taken: Taken) -> None:
        """An earlier pod of this very server must not hold its volumes and GPUs for ever."""
        pod = taken.pod
        notes = taken.body["metadata"].get("annotations") or {}
        mine = (
            notes.get("hub.jupyter.org/username") == self.user.name
            and notes.get("hub.jupyter.org/servername", "") == self.name
            and pod.hub == self.own_labels()[HUB]
        )
        if mine:
            self.log.warning("Pod %s is left of an earlier start; it is deleted", pod.name)
            self.shared.pods.owe(pod.namespace, pod.name, pod.uid)

    async def _make_home(self) -> None:
        """The volume of the home, as ``KubeSpawner.storage_pvc_ensure`` has it."""
        if not self.storage_pvc_ensure or self._pvc_exists:
            return
        claim = self.get_pvc_manifest()
        self.tell("The volume of your home is being made", 12)
        await self._kubespawners(
            exponential_backoff(
                lambda: self._make_create_pvc_request(claim, self.k8s_api_request_timeout),
                f"Could not create PVC {self.pvc_name}",
                timeout=self.k8s_api_request_retry_timeout,
            )
        )
        self._pvc_exists = True

    async def _kubespawners(self, doing: Any) -> None:
        """What KubeSpawner does by itself, with our errors."""
        try:
            await doing
        except ApiException as error:
            raise told(error) from error
        except TimeoutError as error:
            raise BackendUnavailable(
                "Kubernetes did not answer in time. Try again in some minutes."
            ) from error

    async def poll(self) -> int | None:
        """What the watcher last saw; never raises."""
        if not self._has_pod:
            return 0
        try:
            status, ended = verdict(
                self.shared.pods,
                self.namespace,
                self.pod_name,
                self._uid,
                starting=bool(self._session) and not self._url,
                remove=self.delete_stopped_pods,
            )
        except Exception:
            self.log.exception("Could not look at pod %s; it is kept", self.pod_name)
            return None
        self.ended = self.ended or ended
        return status

    async def stop(self, now: bool = False) -> None:
        """Delete the pod and wait, within limits, until it is gone; then force it."""
        self._stopping = True
        if not self._has_pod:
            return
        pods = self.shared.pods
        if self._taken_over and not self._uid:
            await self._identify()
        if not await self._delete(now=now) or now:
            return
        if await self._gone(self.stop_timeout):
            return
        self.log.warning("Pod %s does not end; its deletion is forced", self.pod_name)
        await self._delete(now=True)
        if not await self._gone(min(10.0, self.stop_timeout)):
            # The next start takes another name, so nobody has to wait for this one.
            pods.owe(self.namespace, self.pod_name, self._uid, force=True)

    @property
    def _has_pod(self) -> bool:
        return bool(self._session or self._uid or self._taken_over)

    async def _identify(self) -> None:
        """Which pod it is that KubeSpawner started under this name."""
        try:
            found = await debts.read(self.shared.client, self.namespace, self.pod_name)
        except (ApiAway, ApiRefused) as error:
            raise BackendUnavailable(
                "Kubernetes does not answer, so the session cannot be stopped now. Try again in "
                "some minutes."
            ) from error
        self._uid = pod_of(found).uid if found else ""

    async def _gone(self, patience: float) -> bool:
        pods = self.shared.pods
        pods.watch(self.namespace, self.pod_name, self._uid, starting=True)
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            if pods.see(self.namespace, self.pod_name, self._uid).state is JobState.GONE:
                return True
            await pods.news(left)
        return False

    async def _delete(self, *, now: bool) -> bool:
        """Delete the pod, or note that this is owed; whether the API took it."""
        pods, grace = self.shared.pods, 0 if now else self.delete_grace_period
        if not self._uid and self._taken_over:
            return True
        if not self._uid:  # it may not even have been made
            pods.owe(self.namespace, self.pod_name, session=self._session)
            return False
        where = (self.namespace, self.pod_name, self._uid)
        try:
            await pods.delete(*where, force=now, grace=grace)
        except ApiRefused as error:
            self.log.error("Pod %s cannot be deleted: %s", self.pod_name, error.message)
        except ApiAway as error:
            self.log.warning("Pod %s is not deleted yet: %s", self.pod_name, error.detail)
        else:
            return True
        pods.owe(*where, force=now)
        return False

    # -- state ------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """What finds the pod again; no secrets."""
        lasting = self.lasting_state()
        if not self._has_pod:
            return lasting
        state: dict[str, Any] = {
            **super().get_state(),
            "uid": self._uid,
            "session": self._session,
            "url": self._url,
        }
        if self._session and not self._url:  # for the next Hub, if this one is killed now
            state |= {"until": self._until, "limit": self._limit, "areas": self._areas}
        return {k: v for k, v in state.items() if v} | lasting

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of ``get_state``; odd values are dropped, for this must never raise."""
        self._forget()
        known = {k: v for k, v in state.items() if isinstance(v, str) and v}
        super().load_state(known)
        self._uid, self._session = known.get("uid", ""), known.get("session", "")
        self._url = known.get("url", "")
        # KubeSpawner itself started it: of such a pod only the name is known.
        self._taken_over = not self._session and {"kubespawner_version", "pod_name"} <= known.keys()
        numbers = {k: v for k, v in state.items() if type(v) is int}
        self._until, self._limit = numbers.get("until", 0), numbers.get("limit", 0)
        areas = state.get("areas")
        self._areas = {str(k): str(v) for k, v in areas.items()} if isinstance(areas, dict) else {}
        self.recall(self.config, self.user.name, state)

    @classmethod
    def known(cls, kwargs: Mapping[str, Any], saved: Mapping[str, Any]) -> Known | None:
        """A session that is known to run needs no child until it is stopped."""
        config = kwargs["config"]
        remove = bool(cls.configured("delete_stopped_pods", config))
        return known_session(watchers(config, cls).pods, kwargs["orm_spawner"], saved, remove)

    @classmethod
    def recall(cls, config: Any, username: str, saved: Mapping[str, Any]) -> None:
        """Owe again what ``lasting_state`` of an earlier Hub says."""
        owed = saved.get("owed")
        for each in owed if isinstance(owed, list) else ():
            if isinstance(each, list) and len(each) == 4 and all(isinstance(t, str) for t in each):
                namespace, name, uid, session = each
                watchers(config, cls).pods.owe(namespace, name, uid, session=session, force=True)

    def lasting_state(self) -> dict[str, Any]:
        """The home's volume, and deletions that Kubernetes has not taken yet."""
        state: dict[str, Any] = {"pvc_name": self.pvc_name} if self._pvc_exists else {}
        try:
            owed = self.shared.pods.owed
        except RuntimeError:  # no event loop, so nothing can have been owed
            return state
        usual = self.usual_name
        mine = [
            [o.namespace, o.name, o.uid, o.session]
            for o in owed.values()
            if o.namespace == self.namespace and o.name.startswith(usual)
        ]
        return state | ({"owed": mine} if mine else {})

    def clear_state(self) -> None:
        """The session is over."""
        if self._has_pod:
            self.shared.pods.forget(self.namespace, self.pod_name)
        self._forget()
        super().clear_state()

    def _waiting(self, launch: Launch, pod: Pod) -> Finding | None:
        text, possible = offers.waits_for(type(self), self.config, pod, launch)
        return Finding(Kind.NODE, text, 15, hopeless=not possible) if text else None

    # -- what pages ask ---------------------------------------------------------------------

    async def describe(self, launch: Launch) -> str:
        """The pod and its Secret, for a dry run."""
        self._session = _UNSEEN
        pod, env = await self.make_pod(launch)
        return manifest.show(pod, self.make_secret(launch, env, ""))

    @classmethod
    def availability(cls, profiles: Mapping[str, Profile], config: Any) -> dict[str, Availability]:
        """From the last look at nodes and pods."""
        return offers.availability(cls, profiles, config)

    @classmethod
    def offered(cls, profiles: Mapping[str, Profile], config: Any) -> Mapping[str, Profile | str]:
        """The profiles within what the cluster's nodes have."""
        return offers.offered(cls, profiles, config)

    @classmethod
    def menus(cls, profile: Profile, person: Person, config: Any) -> tuple[Menu, ...]:
        """The images to choose from."""
        return offers.menus(cls, profile, person, config)

    @classmethod
    async def look(cls, config: Any) -> None:
        """Have all looks, for a command line."""
        await offers.look(cls, config)

    @classmethod
    def present(cls, config: Any) -> bool:
        """Whether it is known how to reach a cluster."""
        return client_of(config, cls).present()

    @classmethod
    def check_profile(cls, profile: Profile) -> Iterable[str]:
        """Mistakes in the profile's options."""
        try:
            options = validate_options(profile.options)
        except SiteError as error:
            yield error.sentence
        else:
            yield from wrong_profile(profile, options)
