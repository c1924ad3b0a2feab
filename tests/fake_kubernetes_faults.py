"""What the fake API server is told to fail at."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fake_kubernetes_store import Refused

USER = "system:serviceaccount:hub:hub"


@dataclass
class Call:
    """One request, as RBAC sees it."""

    verb: str
    kind: str
    namespace: str = ""
    name: str = ""
    part: str = ""

    @property
    def scope(self) -> str:
        return "namespace" if self.namespace else "cluster"


@dataclass
class Fault:
    """What happens to requests that match; ``how`` is a status, or a word (see ``Server.fail``)."""

    how: int | str
    verb: str = ""
    kind: str = ""
    scope: str = ""
    times: int | None = None
    message: str = "scripted"
    retry_after: int | None = None
    seen: int = 0

    def meets(self, call: Call) -> bool:
        wanted = (self.verb, self.kind, self.scope)
        given = (call.verb, call.kind, call.scope)
        if self.times == 0 or any(w and w != g for w, g in zip(wanted, given, strict=True)):
            return False
        self.seen += 1
        if self.times is not None:
            self.times -= 1
        return True


def forbidden(call: Call) -> Refused:
    """As RBAC words it."""
    where = f'in the namespace "{call.namespace}"' if call.namespace else "at the cluster scope"
    name = f' "{call.name}"' if call.name else ""
    return Refused(
        403,
        "Forbidden",
        f'{call.kind}{name} is forbidden: User "{USER}" cannot {call.verb} resource '
        f'"{call.kind}" in API group "" {where}',
        kind=call.kind,
    )
