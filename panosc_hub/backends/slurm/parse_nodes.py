"""What Slurm says of nodes, partitions and reservations, as text, to records. Pure.

As in :mod:`.parse`, an answer of another shape raises :class:`Garbled`: nothing is known then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from .parse import Garbled, after_header
from .pending import parse_time

_NODE_FIELDS = (
    "Partition",
    "NodeList",
    "StateComplete",
    "CPUsState",
    "Memory",
    "AllocMem",
    "Gres",
    "GresUsed",
    "NodeAddr",
    "Available",
    "Features",
)
NODE_FORMAT = ",".join(f"{name}:|" for name in _NODE_FIELDS)
"""For ``sinfo --Node --Format``; one row for each node of each partition."""

_NODE_HEADER = (
    "PARTITION|NODELIST|STATECOMPLETE|CPUS(A/I/O/T)|MEMORY|ALLOCMEM|GRES|GRES_USED|NODE_ADDR|AVAIL|"
    "AVAIL_FEATURES|"
)


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node as a member of one partition. Memory in bytes; GPUs by type ("" untyped).

    ``default`` tells the partition of jobs that name none, ``opened`` whether the partition
    takes jobs. ``up``: neither down nor drained. ``held``: in maintenance. ``reserved``: some or
    all of it is in a reservation. ``planned``: Slurm keeps it for a waiting job.
    """

    partition: str
    default: bool
    name: str
    address: str
    opened: bool
    up: bool
    held: bool
    reserved: bool
    planned: bool
    cpus: int
    cpus_idle: int
    memory: int
    memory_idle: int
    gpus: dict[str, int] = field(default_factory=dict)
    gpus_used: dict[str, int] = field(default_factory=dict)
    shards: dict[str, int] = field(default_factory=dict)
    shards_used: dict[str, int] = field(default_factory=dict)
    features: frozenset[str] = frozenset()

    @property
    def usable(self) -> bool:
        """Whether all of it takes anybody's job now, as far as it has room."""
        return self.opened and self.up and not self.held and not self.reserved


_NODE_UP = frozenset({"idle", "mixed", "allocated", "completing", "planned"})
# A node in any of these takes no new job although its base state may still read "idle".
_NODE_BARS = frozenset(
    {"down", "drain", "drained", "draining", "fail", "failing", "not_responding", "unknown"}
    | {"perfctrs", "reboot", "reboot_issued", "reboot_requested", "invalid", "invalid_reg"}
    | {"blocked", "inval", "future", "error"}
)
_NODE_HELD = frozenset({"maint", "maintenance"})


def parse_nodes(text: str) -> tuple[NodeRow, ...]:
    """Rows of ``sinfo --Node --Format=NODE_FORMAT``. Raises :class:`Garbled`."""
    rows: list[NodeRow] = []
    for line in after_header(text, _NODE_HEADER, "sinfo"):
        cells = [cell.strip() for cell in line.split("|")]
        features = "|".join(cells[len(_NODE_FIELDS) - 1 : -1])
        if len(cells) <= len(_NODE_FIELDS) or cells[-1]:
            raise Garbled(f"sinfo: odd row {line[:80]!r}")
        name = dict(zip(_NODE_FIELDS, cells, strict=False))
        cpus = re.fullmatch(r"(\d+)/(\d+)/(\d+)/(\d+)", name["CPUsState"])
        if cpus is None or not name["Memory"].isdecimal():
            raise Garbled(f"sinfo: odd numbers in {line[:80]!r}")
        allocated = int(name["AllocMem"]) if name["AllocMem"].isdecimal() else 0
        # "idle+planned" lists all flags; "idle*" marks a node that does not answer.
        words = set(re.findall(r"[a-z_]+", name["StateComplete"].lower()))
        words |= {"not_responding"} if "*" in name["StateComplete"] else set()
        rows.append(
            NodeRow(
                partition=name["Partition"].removesuffix("*"),
                default=name["Partition"].endswith("*"),
                name=name["NodeList"],
                address=name["NodeAddr"],
                opened=name["Available"] == "up",
                up=bool(words & _NODE_UP) and not words & _NODE_BARS,
                held=bool(words & _NODE_HELD),
                reserved="reserved" in words,
                planned="planned" in words,
                cpus=int(cpus.group(4)),
                cpus_idle=int(cpus.group(2)),
                memory=int(name["Memory"]) * 2**20,
                memory_idle=max(0, int(name["Memory"]) - allocated) * 2**20,
                gpus=parse_gres(name["Gres"]),
                gpus_used=parse_gres(name["GresUsed"]),
                shards=parse_gres(name["Gres"], "shard"),
                shards_used=parse_gres(name["GresUsed"], "shard"),
                features=frozenset(re.findall(r"[^,\s]+", features)) - {"(null)"},
            )
        )
    return tuple(rows)


def parse_gres(text: str, kind: str = "gpu") -> dict[str, int]:
    """GPUs by type of a Gres or GresUsed cell, such as ``gpu:a100:2(IDX:0-1),gpu:1g.10gb:28``.

    ``gpu:4`` counts under the empty type. ``kind`` may be ``shard``; what is not of that kind is
    left out.
    """
    found: dict[str, int] = {}
    for item in re.sub(r"\([^)]*\)", "", text).split(","):
        match = re.fullmatch(rf"{kind}(?::([A-Za-z0-9_.\-]+))?:([0-9]+)", item.strip())
        if match:
            name = match.group(1) or ""
            found[name] = found.get(name, 0) + int(match.group(2))
    return found


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition. ``None``: no limit. Names are empty where everybody is let in.

    ``max_time`` in seconds, ``max_memory`` in bytes for each node, ``memory_per_cpu`` likewise.
    ``sharing`` is how many jobs a CPU may hold; ``forced`` whether also those that do not ask
    for it share theirs. ``whole``: a job gets all of a node.
    """

    name: str
    state: str = "UP"
    default: bool = False
    max_time: int | None = None
    default_time: int | None = None
    max_nodes: int | None = None
    max_cpus: int | None = None
    max_memory: int | None = None
    memory_per_cpu: int | None = None
    accounts: frozenset[str] = frozenset()
    denied_accounts: frozenset[str] = frozenset()
    qos: frozenset[str] = frozenset()
    denied_qos: frozenset[str] = frozenset()
    sharing: int = 1
    forced: bool = False
    whole: bool = False

    def takes_account(self, account: str) -> bool:
        """Whether jobs of ``account`` may run here; an unknown one ("") may."""
        name = account.lower()
        allowed = not self.accounts or name in {a.lower() for a in self.accounts}
        return not name or (allowed and name not in {a.lower() for a in self.denied_accounts})

    def takes_qos(self, qos: str) -> bool:
        """Whether jobs of ``qos`` may run here; an unknown one ("") may."""
        name = qos.lower()
        allowed = not self.qos or name in {q.lower() for q in self.qos}
        return not name or (allowed and name not in {q.lower() for q in self.denied_qos})


def parse_partitions(text: str) -> dict[str, Partition]:
    """``scontrol --oneliner show partition`` by name. Raises :class:`Garbled`."""
    found: dict[str, Partition] = {}
    for line in _records(text, "PartitionName", "No partitions in the system"):
        try:
            name, value = line["PartitionName"], line.get
            sharing = re.fullmatch(
                r"(NO|YES|FORCE|EXCLUSIVE)(?::(\d+))?", value("OverSubscribe", "NO")
            )
            if sharing is None:
                raise Garbled(f"scontrol: odd sharing of partition {name[:40]!r}")
            found[name] = Partition(
                name=name,
                state=value("State", "UP"),
                default=value("Default") == "YES",
                max_time=parse_limit(value("MaxTime", "UNLIMITED")),
                default_time=parse_limit(value("DefaultTime", "NONE")),
                max_nodes=_number(value("MaxNodes", "UNLIMITED")),
                max_cpus=_number(value("MaxCPUsPerNode", "UNLIMITED")),
                max_memory=_megabytes(value("MaxMemPerNode", "UNLIMITED")),
                memory_per_cpu=_megabytes(value("MaxMemPerCPU", "UNLIMITED")),
                accounts=_names(value("AllowAccounts", "ALL")),
                denied_accounts=_names(value("DenyAccounts", "(null)")),
                qos=_names(value("AllowQos", "ALL")),
                denied_qos=_names(value("DenyQos", "(null)")),
                sharing=int(sharing.group(2) or 1),
                forced=sharing.group(1) == "FORCE",
                whole=sharing.group(1) == "EXCLUSIVE",
            )
        except ValueError as error:
            raise Garbled(f"scontrol: odd partition {str(line)[:80]!r}: {error}") from None
    return found


@dataclass(frozen=True, slots=True)
class Reservation:
    """One reservation; times in seconds since the epoch, names as Slurm lists them.

    An entry of ``users`` or ``accounts`` that begins with ``-`` is kept out. ``cpus`` are all
    CPUs that it holds, on all of its ``nodes`` together.
    """

    name: str
    start: float
    end: float
    active: bool
    users: frozenset[str]
    groups: frozenset[str]
    accounts: frozenset[str]
    partition: str
    nodes: frozenset[str]
    cpus: int
    flags: frozenset[str]


def parse_reservations(text: str) -> dict[str, Reservation]:
    """``scontrol --oneliner show reservation`` by name. Raises :class:`Garbled`."""
    found: dict[str, Reservation] = {}
    for line in _records(text, "ReservationName", "No reservations in the system"):
        start, end = (
            parse_time(line.get("StartTime", "")),
            parse_time(line.get("EndTime", "")),
        )
        if start is None or end is None:
            raise Garbled(f"scontrol: odd times of reservation {line['ReservationName'][:40]!r}")
        held = re.search(r"\bcpu=(\d+)", line.get("TRES", ""))
        found[line["ReservationName"]] = Reservation(
            name=line["ReservationName"],
            start=start,
            end=end,
            active=line.get("State") == "ACTIVE",
            users=_names(line.get("Users", "(null)")),
            groups=_names(line.get("Groups", "(null)")),
            accounts=_names(line.get("Accounts", "(null)")),
            partition=next(iter(_names(line.get("PartitionName", "(null)"))), ""),
            nodes=frozenset(expand_nodes(line.get("Nodes", ""))),
            cpus=int(held.group(1)) if held else 0,
            flags=_names(line.get("Flags", "")),
        )
    return found


def _records(text: str, first: str, none: str) -> Iterator[dict[str, str]]:
    """Each line that begins with the key ``first``, as a dictionary.

    Other lines are warnings. Of a key that comes twice the first counts: free text, such as a
    reservation's comment, comes last.
    """
    lines = [line for line in text.splitlines() if line.startswith(f"{first}=")]
    if not text.endswith("\n") or (not lines and none not in text):
        raise Garbled(f"scontrol: no {first} in the answer, which begins {text[:80]!r}")
    for line in lines:
        yield dict(reversed(re.findall(r"(?:^| )([A-Za-z/]+)=(\S*)", line)))


def _names(text: str) -> frozenset[str]:
    return frozenset() if text in ("ALL", "(null)", "N/A") else frozenset(text.split(",")) - {""}


def _number(text: str) -> int | None:
    return None if text in ("UNLIMITED", "NONE", "INFINITE") else int(text)


def _megabytes(text: str) -> int | None:
    size = _number(text)
    return None if size is None else size * 2**20


def parse_limit(text: str) -> int | None:
    """Seconds of ``days-hours:minutes:seconds``; None for UNLIMITED and NONE."""
    if text in ("UNLIMITED", "NONE", "INFINITE", "Partition_Limit"):
        return None
    match = re.fullmatch(r"(?:(\d{1,5})-)?(\d{1,2}):(\d{1,2}):(\d{1,2})", text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no time")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


_MOST_NODES = 100_000


def expand_nodes(text: str) -> list[str]:
    """Names of ``cpu[1-2,07-09],gpu1``; raises :class:`Garbled` for what is no such list."""
    names: list[str] = []
    if text in ("", "(null)", "None"):
        return names
    if not re.fullmatch(r"(?:[^\[\]]|\[[^\[\]]*\])+", text):
        raise Garbled(f"scontrol: odd nodes {text[:40]!r}")
    for item in re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", text):
        parts = [
            list(_numbers(part[1:-1])) if part.startswith("[") else [part]
            for part in re.findall(r"\[[^\]]*\]|[^\[\]]+", item)
        ]
        names += ("".join(each) for each in product(*parts))
        if len(names) > _MOST_NODES:
            raise Garbled(f"scontrol: more than {_MOST_NODES} nodes in {text[:40]!r}")
    return names


def _numbers(text: str) -> Iterator[str]:
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
        if match is None:
            raise Garbled(f"scontrol: odd nodes {text[:40]!r}")
        first, last = match.group(1), match.group(2) or match.group(1)
        if int(last) - int(first) >= _MOST_NODES:
            raise Garbled(f"scontrol: more than {_MOST_NODES} nodes in {text[:40]!r}")
        for number in range(int(first), int(last) + 1):
            yield f"{number:0{len(first)}d}"
