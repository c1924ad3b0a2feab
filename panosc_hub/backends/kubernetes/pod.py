"""What a session's pod is: settings, account and manifest. Nothing here asks the cluster."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import kubespawner.spawner
from jupyterhub.utils import maybe_future
from kubernetes_asyncio.client import ApiClient, Configuration
from kubespawner import KubeSpawner
from traitlets import Any as AnyTrait
from traitlets import Bool, CaselessStrEnum, Dict, Float, HasTraits, List, Unicode, default
from traitlets.utils.importstring import import_item

from ... import session
from ...core.plan import Launch
from ...core.profiles import Profile
from ...errors import BackendError
from . import accounts, manifest, mounts
from .manifest import RUN
from .options import KubernetesOptions, known_options
from .records import HUB, SESSION
from .settings import settings
from .shared import Watchers, watchers

_ADDED_TO = (
    "extra_resource_limits",
    "extra_resource_guarantees",
    "node_selector",
    "tolerations",
    "node_affinity_required",
    "node_affinity_preferred",
)

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.\-]{0,61}[A-Za-z0-9])?", re.ASCII)

PRIVILEGED = frozenset(
    {"after_pod_created_hook", "allow_privilege_escalation", "allowed_overrides", "cluster"}
    | {"account", "allow_host_path", "automount_service_account_token", "cmd", "data_volumes"}
    | {"container_security_context", "enable_user_namespaces", "extra_annotations"}
    | {"extra_container_config", "extra_containers", "extra_labels", "extra_pod_config", "fs_gid"}
    | {"common_labels", "get_pod_url", "gid", "hub_name", "image_pull_secrets", "init_containers"}
    | {"lifecycle_hooks", "modify_pod_hook", "namespace", "pod_connect_ip", "pod_name_template"}
    | {"pod_security_context", "privileged", "proposal_group", "pvc_name_template"}
    | {"scheduler_name", "secret_name_template", "service_account", "session_python"}
    | {"supplemental_gids", "uid", "volume_mounts", "volumes"}
)
"""Settings that make another person, more rights or other files of a session."""


@contextlib.contextmanager
def _client_later() -> Iterator[None]:
    """KubeSpawner's constructor sets up one API client for the whole process, from one global
    configuration, and fails where there is none. Ours is per cluster and made when it is used.
    """
    # The constructor awaits nothing, so nobody else sees these.
    module = kubespawner.spawner
    before = module.load_config, module.shared_client
    module.load_config = module.shared_client = lambda *args, **kwargs: None
    try:
        yield
    finally:
        module.load_config, module.shared_client = before


class KubernetesPod(KubeSpawner):
    """The settings of :class:`~.spawner.KubernetesBackend`, and the pod that they make."""

    backend_name: ClassVar[str]
    api: Any
    uid: Any
    fs_gid: Any
    supplemental_gids: Any
    _pvc_exists: bool

    cluster = Dict(
        config=True,
        help="""
        Settings of ``KubernetesClient`` for this backend alone, where there are several clusters:
        each is a subclass of ``KubernetesBackend`` with a name, and a section of its own.
        Example: c.GpuCluster.cluster = {"kubeconfig": "/etc/panosc-hub/gpu.kubeconfig"}
        """,
    )
    hub_name = Unicode(
        config=True,
        help="""
        Which Hub the pods belong to, as their label ``panosc-hub/hub``. Default: the release's
        name under Zero-to-JupyterHub, else this host's name. Two Hubs in one namespace need
        different names. At most 63 letters, digits, ``-``, ``_`` and ``.``.
        """,
    )
    data_volumes = Dict(
        config=True,
        help="""
        Where the facility's data come from: a path as sessions see it -> a volume source of
        Kubernetes (``nfs``, ``persistentVolumeClaim``, ``csi``, ``hostPath``, ``image``). Of the
        areas of a proposal only those of the chosen one are mounted, each at its own path; the
        longest path that an area lies below counts.
        Example: c.KubernetesBackend.data_volumes = {
            "/data": {"nfs": {"server": "nfs.facility.example", "path": "/export/data"}}}
        """,
    )
    allow_host_path = Bool(
        False,
        config=True,
        help="""
        Whether ``data_volumes`` may name directories of the nodes (``hostPath``). Off by default:
        a mistake in a path would open the node itself.
        """,
    )
    recursive_read_only = CaselessStrEnum(
        ["", "IfPossible", "Enabled"],
        default_value="IfPossible",
        config=True,
        help="""
        ``recursiveReadOnly`` of read-only areas, so that file systems mounted below one are
        read-only as well. ``Enabled`` needs containerd 2 and runc 1.1 on Linux 5.12, or newer.
        """,
    )
    account = AnyTrait(
        None,
        allow_none=True,
        config=True,
        help="""
        Where uid, gid and groups of a session come from: a callable, or its import path, that is
        called with the person and the proposal's id (or None), may be async, and returns an
        ``Account`` or None. None (the default): ``KubeSpawner.uid`` and its like alone count.
        Example: c.KubernetesBackend.account = "panosc_hub.backends.kubernetes.accounts.from_nss"
        """,
    )
    proposal_group = Unicode(
        "{proposal}",
        config=True,
        help="""
        Name of the group that owns a proposal's data; ``{proposal}`` is replaced by its id as it
        is, ``{proposal_lower}`` in lower case. Only this group of the account's is given to a
        session, for NFS with AUTH_SYS knows no more than 16.
        """,
    )
    session_python = Unicode(
        "python3",
        config=True,
        help="The image's Python (3.8 or newer) that prepares the session and starts the server.",
    )
    allowed_overrides = List(
        Unicode(),
        config=True,
        help="""
        Settings that group overrides may change although they make another user, more rights or
        other files of a session, such as ``["volumes", "volume_mounts"]``. None by default.
        """,
    )
    image_patience = Float(
        60,
        min=0,
        config=True,
        help="""
        Seconds for which a failing image pull may be tried again by the node before the start is
        given up. A registry that is overloaded recovers in less.
        """,
    )
    mount_patience = Float(
        90,
        min=0,
        config=True,
        help="""
        Seconds for which a volume that cannot be mounted is tried again by the node before the
        start is given up. Longer than two tries of the node.
        """,
    )

    node_patience = Float(
        30,
        min=0,
        config=True,
        help="""
        Seconds after which a start is given up if no node of the cluster, however empty, could
        hold its pod. More where nodes are added on demand (cluster autoscaler): as long as a new
        one takes, such as 900. A pod that only waits for others is waited for as long as the
        start may take.
        """,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with _client_later():
            super().__init__(*args, **kwargs)
        self._session = ""
        self._areas: dict[str, str] = {}
        self._configured: dict[str, Any] | None = None

    @classmethod
    def configured(cls, name: str, config: Any) -> Any:
        """The value of a setting, for those who have no server to ask it of."""
        for kind in cls.__mro__:
            section = config.get(kind.__name__, {}) if issubclass(kind, HasTraits) else {}
            if name in section:
                return section[name]
        if name == "hub_name":
            return default_hub_name()
        if name == "namespace":
            return own_namespace()
        return cls.class_traits()[name].default()

    @default("hub_name")
    def _default_hub_name(self) -> str:
        return default_hub_name()

    @property
    def shared(self) -> Watchers:
        """Client and watchers of this backend's cluster."""
        return watchers(self.config, type(self))

    def options(self, profile: Profile) -> KubernetesOptions:
        """What the profile says beyond amounts. Raises :class:`~panosc_hub.errors.SiteError`."""
        return known_options(profile.options)

    def _apply_overrides(self, spawner_override: dict[str, Any]) -> None:
        """Group overrides; refused where they would give more than the admin allowed here."""
        refused = (PRIVILEGED & spawner_override.keys()) - set(self.allowed_overrides)
        if refused:
            raise BackendError(
                f"Your group's settings may not change {', '.join(sorted(refused))} of a session. "
                "Tell the facility's support (KubernetesBackend.allowed_overrides).",
                reason="override",
            )
        super()._apply_overrides(spawner_override)

    async def load_user_options(self) -> None:
        """Nothing: what was chosen came through the one door, as the launch."""

    # -- the pod ----------------------------------------------------------------------------

    async def make_pod(self, launch: Launch) -> tuple[dict[str, Any], dict[str, str]]:
        """The pod and the variables of its session, which are not in it.

        KubeSpawner's pod of ``c.KubeSpawner.*`` and the profile, after ``modify_pod_hook``, then
        what must hold whatever those say. Raises :class:`~panosc_hub.errors.PanoscError`.
        """
        options = self.options(launch.profile)
        if self._configured is None:  # a second pod of this start begins from the same
            self._configured = {name: getattr(self, name) for name in _ADDED_TO}
        configured = self._configured
        for name, value in settings(launch, options, configured=configured).items():
            setattr(self, name, value)
        account = await self._account_of(launch)
        planned = mounts.plan_mounts(
            launch.plan.areas,
            self.data_volumes,
            host_path_allowed=self.allow_host_path,
            recursive=self.recursive_read_only,
            proposal=launch.plan.proposal,
        )
        self._areas = planned.words(launch.plan.proposal)
        start = [self.session_python, "-I", f"{RUN}/{manifest.START}"]
        start += ["--plan-file", f"{RUN}/{manifest.PLAN}"]
        start += ["--env-file", f"{RUN}/{manifest.VARIABLES}", "--"]
        self.cmd = [*start, *launch.environment.command]
        made = await self.get_pod_manifest()
        if self.modify_pod_hook:
            made = await maybe_future(self.modify_pod_hook(self, made))
        body: dict[str, Any] = _serializer().sanitize_for_serialization(made)
        env = manifest.take_variables(body) | dict(launch.environment.variables)
        finished = manifest.finish(
            body,
            labels=self.own_labels(),
            secret=self.own_secret_name(),
            mounts=planned,
            options=options,
            walltime=launch.resources.walltime,
            account=account,
            own_restart_policy="restartPolicy" in self.extra_pod_config
            or "restart_policy" in self.extra_pod_config,
        )
        return finished, env

    async def _account_of(self, launch: Launch) -> accounts.Account | None:
        source = import_item(self.account) if isinstance(self.account, str) else self.account
        if source is None:
            return None
        found = await accounts.find_account(source, launch.person, launch.plan.proposal)
        self.uid, self.gid = found.uid, found.gid
        self.supplemental_gids = list(
            accounts.supplemental(found, launch.plan.proposal, self.proposal_group)
        )
        return found

    def own_labels(self) -> dict[str, str]:
        """By which the pod is found, and known as ours."""
        return {SESSION: self._session, HUB: label(self.hub_name)}

    def own_secret_name(self) -> str:
        """Of this start alone."""
        return f"panosc-session-{self._session}"

    def make_secret(self, launch: Launch, env: Mapping[str, str], owner_uid: str) -> dict[str, Any]:
        """What the session must have and nobody else may read."""
        return manifest.session_secret(
            self.own_secret_name(),
            owner_uid=owner_uid,
            pod_name=self.pod_name,
            labels=self.own_labels(),
            env=env,
            plan=launch.plan.to_dict(),
            start=session.source(),
        )

    def new_session(self) -> str:
        """An id for one start."""
        return secrets.token_hex(8)

    @property
    def usual_name(self) -> str:
        """The pod's name unless another pod has it."""
        return str(self._expand_user_properties(self.pod_name_template))

    def fresh_name(self) -> str:
        """Another name for the pod, where the usual one is taken."""
        return f"{self.usual_name[:54].rstrip('-.')}-{secrets.token_hex(3)}"

    def name_pod(self, name: str) -> None:
        """Use this name, and those that follow from it."""
        self.pod_name = name
        self.dns_name = self.dns_name_template.format(namespace=self.namespace, name=name)


def _serializer() -> ApiClient:
    """Turns models into JSON; it has no connection."""
    made = ApiClient.__new__(ApiClient)
    made.configuration = Configuration()
    return made


def label(text: str) -> str:
    """``text`` as a label's value."""
    if _LABEL.fullmatch(text):
        return text
    plain = re.sub(r"[^A-Za-z0-9_.\-]+", "-", text)[:63].strip("-_.")
    return plain or "hub"


def default_hub_name() -> str:
    """The name of a Hub that was given none; the same after its restart."""
    # A Hub in a pod has another host name after every restart.
    return os.environ.get("HELM_RELEASE_NAME") or socket.gethostname().split(".")[0]


def own_namespace() -> str:
    """The one that KubeSpawner uses by itself: the Hub's own, else ``default``."""
    try:
        with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace") as file:
            return file.read().strip()
    except FileNotFoundError:
        return "default"
