"""One watch of pods serves every server of the Hub, and tells what else uses the cluster.

``see`` is a dictionary look-up. A pod counts as gone only by evidence: its server's container
ended, the API sent word of its deletion, or it is missing in a complete list *and* a direct
read says so too. All else keeps it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from traitlets import Bool, Float
from traitlets.config import LoggingConfigurable

from ...core.jobstate import JobState, Sighting
from ...errors import BackendError, BackendUnavailable
from . import debts, words
from .client import KubernetesClient
from .debts import Key, Owed
from .parse import pod_of
from .reach import Reach
from .records import Pod
from .watch import Bell, Pace


@dataclass(slots=True)
class Watched:
    """One server's pod. ``uid`` is empty until it is known which pod that is."""

    namespace: str
    name: str
    uid: str = ""
    starting: bool = False
    pod: Pod | None = None
    """As it was last seen."""
    end: Sighting | None = None
    """Set once there is evidence that it is gone."""
    doubt: float | None = None
    """From when on (monotonic) a direct read must tell whether it is there."""

    def saw(self, pod: Pod) -> None:
        """It is there."""
        self.pod, self.doubt = pod, None
        found = words.sighting(pod)
        if found.state is JobState.GONE:
            self.end = found

    def lost(self) -> None:
        """It is not there any more."""
        self.doubt = None
        self.end = self.end or (words.removed(self.pod) if self.pod else words.VANISHED)


class PodWatcher(LoggingConfigurable):
    """The shared picture of one cluster's pods; get it with :func:`shared.watchers`."""

    whole_cluster = Bool(
        True,
        config=True,
        help="""
        Whether the pods of all namespaces are watched where the Hub's account may do so: only
        then is known what is free. Where it may not, or with False, the pods of this suite are
        watched in each namespace that has any.
        """,
    )
    list_every = Float(
        3600,
        min=0.05,
        config=True,
        help="""
        Seconds after which all pods are listed anew although the watch lost nothing as far as
        is known. One list of 1000 pods is four requests and about 10 MB.
        """,
    )
    silence = Float(
        150,
        min=0.05,
        config=True,
        help="""
        Seconds without a word on a watch, after which its connection counts as dead and is made
        anew. The API sends a bookmark about once a minute.
        """,
    )
    longest_pause = Float(
        30,
        min=0.05,
        config=True,
        help="Seconds between two attempts that the back-off reaches while the API is away.",
    )
    confirm_after = Float(
        3,
        min=0,
        config=True,
        help="""
        Seconds that the watch has to show a pod that was just made, before it is read directly.
        So a start costs no request of its own while the watch is quick.
        """,
    )

    def __init__(self, client: KubernetesClient, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.client = client
        self.watched: dict[Key, Watched] = {}
        self.owed: dict[tuple[str, ...], Owed] = {}
        self.confirmations = 0
        """Direct reads so far."""
        first = min(0.5, self.longest_pause)
        self._pace = Pace(
            relist=self.list_every,
            silence=self.silence,
            longest_pause=self.longest_pause,
            first_pause=first,
        )
        self._reach = Reach(
            client,
            whole_cluster=self.whole_cluster,
            pace=self._pace,
            log=self.log,
            changed=self._changed,
            listed=self._listed,
            wanted=lambda: [key[0] for key in (*self.watched, *self.owed)],
        )
        self._bell = Bell()
        self._work = Bell()
        self._worker: asyncio.Task[None] | None = None

    # What servers call.

    def watch(self, namespace: str, name: str, uid: str = "", *, starting: bool = False) -> None:
        """Look after a pod from now on. Needs a running event loop.

        While it is ``starting`` and has no uid, a pod that is not there is one not made yet.
        """
        entry = self.watched.get((namespace, name))
        another = entry is not None and (
            entry.uid not in ("", uid) if uid else starting and entry.end is not None
        )
        if entry is None or another:
            entry = self.watched[namespace, name] = Watched(namespace, name)
        if uid and not entry.uid:
            if entry.pod is not None and entry.pod.uid != uid:
                entry.pod, entry.end, entry.doubt = None, None, None
            entry.uid = uid
        entry.starting = starting
        self._reach.ensure(namespace)
        self._judge(entry)

    def forget(self, namespace: str, name: str) -> None:
        """The server is over; nobody asks for this pod any more."""
        self.watched.pop((namespace, name), None)

    def pod(self, namespace: str, name: str) -> Pod | None:
        """The pod of that name as it was last seen; None once it is known not to be there."""
        source = self._reach.of(namespace)
        there = source.items.get((namespace, name)) if source else None
        entry = self.watched.get((namespace, name))
        if there is None and entry is not None and entry.end is None:
            return entry.pod
        return there

    def see(self, namespace: str, name: str, uid: str = "") -> Sighting:
        """What is believed of a pod now. Never raises, never waits."""
        entry = self.watched.get((namespace, name))
        if entry is None or (uid and entry.uid not in ("", uid)):
            return words.UNSEEN
        if entry.end is not None:
            return entry.end
        source = self._reach.of(namespace)
        trouble = source.trouble if source else ""
        if entry.pod is None or trouble:
            host = entry.pod.ip if entry.pod else ""
            return Sighting(JobState.UNKNOWN, host, words=trouble or words.UNSEEN.words)
        if entry.doubt is not None and entry.doubt <= time.monotonic():
            return words.MISSING
        found = words.sighting(entry.pod)  # that a node is lost shows by the time alone
        if found.state is JobState.GONE:
            entry.end = found
        return found

    def saw(self, body: Mapping[str, Any]) -> Pod:
        """An answer of the API about one pod, such as that to its making."""
        pod = pod_of(body)
        entry = self.watched.get((pod.namespace, pod.name))
        if entry is not None and entry.pod is None and entry.uid in ("", pod.uid):
            entry.uid = pod.uid
            entry.saw(pod)
            self._judge(entry)
        return pod

    async def delete(
        self, namespace: str, name: str, uid: str, *, force: bool = False, grace: int | None = None
    ) -> bool:
        """Delete this very pod; False if it is not there any more. Raises what the API says."""
        return await debts.delete(self.client, namespace, name, uid, force=force, grace=grace)

    def owe(
        self, namespace: str, name: str, uid: str = "", *, session: str = "", force: bool = False
    ) -> None:
        """Try to delete this pod until the API takes it; with ``force`` without its node.

        Of a pod whose uid never became known, ``session`` is the label that it must have.
        """
        key = (namespace, name, uid or session)
        known = self.owed.get(key)
        if known is None:
            self.owed[key] = Owed(namespace, name, uid, session, force)
        else:
            known.force |= force
        self._reach.ensure(namespace)
        self._call_worker()

    def refresh_now(self, namespace: str = "", name: str = "") -> None:
        """Ask at once instead of at the end of a pause; for one pod, read it directly."""
        entry = self.watched.get((namespace, name))
        if entry is not None:
            entry.doubt = time.monotonic()
            self._call_worker()
        for source in self._reach.everything():
            source.hurry()
        self._work.ring()

    async def news(self, patience: float) -> None:
        """Return after the next change of any watched pod, or after ``patience`` seconds."""
        await self._bell.wait(patience)

    # What availability calls.

    def begin(self) -> None:
        """Watch the whole cluster although no server is there, for what is free."""
        self._reach.ensure()

    def all(self) -> Iterable[Pod]:
        """Every pod that is seen; those of others too where ``whole``."""
        for source in self._reach.sources():
            yield from source.items.values()

    @property
    def whole(self) -> bool:
        """Whether the pods of all namespaces are known."""
        return self._reach.whole

    @property
    def refused(self) -> bool:
        """Whether the pods of others may not be seen, or are not looked for."""
        return not self._reach.uses_cluster

    @property
    def trouble(self) -> str:
        """Why the truth is not known now; empty while it is."""
        return next((s.trouble for s in self._reach.sources() if s.trouble), "")

    @property
    def synced(self) -> bool:
        """Whether everything was seen once."""
        sources = list(self._reach.sources())
        return bool(sources) and all(source.synced for source in sources)

    @property
    def looked(self) -> float | None:
        """``time.time()`` of the API's last word."""
        times = (source.looked for source in self._reach.sources())
        return max((at for at in times if at is not None), default=None)

    @property
    def relists(self) -> int:
        """Complete lists so far."""
        return sum(source.relists for source in self._reach.everything())

    @property
    def failures(self) -> int:
        """Failed lists and watches so far."""
        return sum(source.failures for source in self._reach.everything())

    async def close(self) -> None:
        """Stop looking; nothing stays behind."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        await self._reach.close()

    # What is believed.

    def _changed(self, old: Pod | None, new: Pod | None, told: bool) -> None:
        about = new or old
        assert about is not None
        entry = self.watched.get((about.namespace, about.name))
        if entry is None:
            return
        if new is not None:
            self._judge(entry)
        elif entry.uid in ("", about.uid):
            # Where only labelled pods are seen, one that loses its label looks like a deleted one.
            if told and (self._reach.uses_cluster or about.doomed is not None):
                entry.pod = about
                entry.lost()
            else:
                self._doubt(entry, 0)
        self._bell.ring()

    def _listed(self, namespace: str) -> None:
        """A complete list is there: who is missing in it?"""
        for entry in list(self.watched.values()):
            if not namespace or entry.namespace == namespace:
                self._judge(entry)
        self._bell.ring()
        if self.owed:
            self._call_worker()

    def _judge(self, entry: Watched) -> None:
        source = self._reach.of(entry.namespace)
        if source is None or entry.end is not None:
            return
        pod = source.items.get((entry.namespace, entry.name))
        if pod is not None and entry.uid in ("", pod.uid):
            entry.saw(pod)
        elif source.synced and (entry.uid or not entry.starting):
            self._doubt(entry, self.confirm_after if entry.starting else 0)

    def _doubt(self, entry: Watched, after: float) -> None:
        if entry.doubt is None:
            entry.doubt = time.monotonic() + after
        self._call_worker()

    # What must be asked: doubts and debts.

    def _call_worker(self) -> None:
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._settle(), name="pods")
        self._work.ring()

    async def _settle(self) -> None:
        """Read what is in doubt and delete what is owed, until nothing is left."""
        pause = self._pace.first_pause
        while True:
            rung = self._work.coming()
            due = [e for e in self._doubted() if (e.doubt or 0) <= time.monotonic()]
            try:
                settled = await self._confirm(due) and await self._pay()
            except Exception:  # a mistake of ours must not leave a debt
                self.log.exception("Pods could not be asked for in an unexpected way")
                settled = False
            if due:
                self._bell.ring()
            later = [e.doubt or 0 for e in self._doubted()]
            if not later and not self.owed:
                return
            pause = self._pace.first_pause if settled else min(2 * pause, self.longest_pause)
            soonest = min(later, default=0) - time.monotonic()
            await self._work.wait(max(soonest, 0.01) if settled and later else pause, rung)

    def _doubted(self) -> list[Watched]:
        return [e for e in self.watched.values() if e.doubt is not None and e.end is None]

    async def _confirm(self, entries: list[Watched]) -> bool:
        """Read each directly; whether the API told of all."""
        for entry in entries:
            if entry.end is not None or entry.doubt is None:
                continue
            self.confirmations += 1
            try:
                body = await debts.read(self.client, entry.namespace, entry.name)
            except (BackendUnavailable, BackendError) as error:
                self.client.complain(
                    self.log, f"A pod that is not listed is kept, for it cannot be read: {error}"
                )
                return False
            there = pod_of(body) if body is not None else None
            if there is not None and entry.uid in ("", there.uid):
                entry.saw(there)
            else:
                entry.lost()
        return True

    async def _pay(self) -> bool:
        """Try each debt once, as long as the API answers; whether none is left."""
        for key, debt in list(self.owed.items()):
            try:
                if await debts.pay(self.client, debt) and self.owed.get(key) is debt:
                    del self.owed[key]
                    self.log.info("Pod %s is deleted at last", debt.name)
            except BackendUnavailable:
                return False
            except BackendError as error:
                self.client.complain(self.log, f"Pod {debt.name} cannot be deleted: {error}")
        return not self.owed
