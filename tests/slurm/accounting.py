"""A real Slurm with accounting: slurmdbd on a MariaDB of its own, in the cluster's directory.

The database listens on a private socket only; the machine's own MariaDB is neither used nor
needed to run. Beside the nodes of :mod:`tests.slurm.cluster`:

* features: ``ssd`` (cpu1, mig1, beam1), ``avx512`` (cpu1, cpu2, l4)
* partition ``mig``: ``mig1`` with four ``gpu:1g.10gb``; ``l4`` with two ``gpu:l4`` and shards
* partition ``shared``: ``cpu[1-2]``, ``OverSubscribe=FORCE:4``
* partition ``beam``: ``beam[1-2]``, for the account ``beamline`` and those of proposals alone
* QOS ``normal`` (8 h), ``beamtime`` (comes first), ``long`` (two days, two jobs for each user)
* accounts and who has them: see :data:`ACCOUNTS` and :data:`MEMBERS`
* reservations: ``HG-123-beamtime`` (``beam1``, account ``hg-123``, active), ``NX-7-beamtime``
  (the same, tomorrow) and ``training`` (one core, user ``root``, active)

Slurm writes the names of accounts in small letters.
"""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.slurm import mariadb
from tests.slurm.cluster import (
    _GRES,
    NODES,
    PROGRAMS,
    Cluster,
    _which,
)
from tests.slurm.cluster import why_not as why_no_cluster
from tests.slurm.mariadb import MariaDB

_NEEDS = ("slurmdbd", "sacctmgr", "sacct", *mariadb.NEEDS)

_PARTITIONS = """\
GresTypes=gpu,shard
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd_port}
AccountingStoragePass=socket={dir}/munge.socket
AccountingStorageEnforce=associations,limits,qos,safe
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
PriorityType=priority/multifactor
PriorityWeightQOS=1000
PartitionName=cpu Nodes=cpu[1-2] Default=YES MaxTime=3-00:00:00 State=UP
PartitionName=gpu Nodes=gpu[1-2] MaxTime=8:00:00 State=UP
PartitionName=small Nodes=cpu2 MaxTime=10 State=UP
PartitionName=mig Nodes=mig1,l4 MaxTime=8:00:00 State=UP
PartitionName=shared Nodes=cpu[1-2] MaxTime=8:00:00 OverSubscribe=FORCE:4 State=UP
PartitionName=beam Nodes=beam[1-2] MaxTime=1-00:00:00 State=UP \
AllowAccounts=beamline,hg-123,p2222,nx-7
"""

_DBD = """\
AuthType=auth/munge
AuthInfo=socket={dir}/munge.socket
DbdAddr=127.0.0.1
DbdHost=localhost
DbdPort={dbd_port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=panosc_slurm
LogFile={dir}/slurmdbd.log
PidFile={dir}/slurmdbd.pid
"""

QOS = {
    "normal": "MaxWall=8:00:00",
    "beamtime": "MaxWall=1-00:00:00 Priority=1000",
    "long": "MaxWall=2-00:00:00 MaxSubmitJobsPerUser=2",
}
ACCOUNTS = {
    "users": "normal",
    "beamline": "normal,beamtime,long",
    "id02": "normal,beamtime,long",
    "hg-123": "normal,beamtime",
    "p2222": "normal,beamtime",
    "nx-7": "normal",
}
"""Account and the QOS of its members."""
MEMBERS = {
    "root": ("users", "beamline", "id02", "hg-123", "p2222", "nx-7"),
    "paula": ("users", "hg-123", "nx-7"),
    "mira": ("users", "p2222"),
    "ingo": ("users", "beamline", "id02", "hg-123"),
    "ada": ("users",),
}
"""User and accounts, the default first. A demonstration's jobs are root's, so root has them all;
the other names are those of the example facility, whether or not the machine has such accounts."""


def why_not() -> str:
    """Empty if a cluster with accounting can be started here, else the reason."""
    return why_no_cluster((*PROGRAMS, *_NEEDS))


class AccountingCluster(Cluster):
    """A cluster whose jobs need an account; ``private`` is ``PrivateData`` of slurm.conf."""

    nodes = {
        **{name: f"{rest} Features=avx512" for name, rest in NODES.items() if name == "cpu2"},
        **{name: f"{rest} Features=avx512,ssd" for name, rest in NODES.items() if name == "cpu1"},
        **{name: rest for name, rest in NODES.items() if name.startswith("gpu")},
        "mig1": "CPUs=16 RealMemory=64000 Gres=gpu:1g.10gb:4 Features=ssd",
        "l4": "CPUs=16 RealMemory=64000 Gres=gpu:l4:2,shard:l4:8 Features=avx512",
        "beam1": "CPUs=16 RealMemory=64000 Features=ssd",
        "beam2": "CPUs=16 RealMemory=64000",
    }
    devices = (
        *Cluster.devices,
        *(f"mig-{number}" for number in range(4)),
        *(f"l4-{number}" for number in range(2)),
    )
    partitions = _PARTITIONS
    gres = (
        _GRES
        + """\
NodeName=mig1 Name=gpu Type=1g.10gb File={dir}/dev/mig-[0-3]
NodeName=l4 Name=gpu Type=l4 File={dir}/dev/l4-[0-1]
NodeName=l4 Name=shard Count=8
"""
    )
    programs = (*PROGRAMS, *_NEEDS)

    def _before_controller(self, timeout: float) -> None:
        self._database.start(timeout)
        self.start_dbd(timeout)
        self._fill()

    @property
    def _database(self) -> MariaDB:
        return MariaDB(self.dir)

    def start_dbd(self, timeout: float = 30.0) -> None:
        """Start slurmdbd (again) and wait until it answers."""
        conf = self.dir / "slurmdbd.conf"
        conf.touch(mode=0o600)  # slurmdbd refuses one that others can read
        conf.write_text(_DBD.format(dir=self.dir, dbd_port=self.dbd_port))
        # With the host "localhost" the client library takes the socket that this names.
        self._run([_which("slurmdbd")], MYSQL_UNIX_PORT=self._database.socket)
        show = [_which("sacctmgr"), "-n", "show", "cluster"]
        self._wait(
            lambda: self._run(show, check=False).returncode == 0,
            timeout,
            "slurmdbd does not answer",
        )

    def stop_dbd(self) -> None:
        """Stop slurmdbd as an operator would; slurmctld keeps what it has to tell it."""
        self._end(self.dir / "slurmdbd.pid", signal.SIGTERM)

    def _fill(self) -> None:
        """QOS one by one; accounts and users as one file, for each command takes half a second."""
        if self.command("sacctmgr", "-nP", "show", "qos", "format=name").split() != ["normal"]:
            return  # the directory of an earlier start
        self.manage(
            [f"add qos {name} {limits}" for name, limits in QOS.items() if name != "normal"]
        )
        self.manage([f"modify qos normal set {QOS['normal']}"])
        lines = [f"Cluster - '{self.name}':Fairshare=1:QOS='normal'", "Parent - 'root'"]
        lines += [
            f"Account - '{name}':Description='{name}':Organization='test':QOS='{qos}'"
            ":DefaultQOS='normal'"
            for name, qos in ACCOUNTS.items()
        ]
        for account in ACCOUNTS:
            lines.append(f"Parent - '{account}'")
            lines += [
                f"User - '{user}':DefaultAccount='{accounts[0]}'"
                for user, accounts in MEMBERS.items()
                if account in accounts
            ]
        file = self.dir / "accounts.load"
        file.write_text("".join(f"{line}\n" for line in lines))
        self.command("sacctmgr", "-i", "load", str(file))

    def manage(self, lines: Iterable[str]) -> None:
        """Give sacctmgr these commands, all in one process."""
        (self.dir / "sacctmgr.in").write_text("".join(f"{line}\n" for line in lines))
        with open(self.dir / "sacctmgr.in") as commands:
            self._run([_which("sacctmgr"), "-i"], stdin=commands)

    def add_user(self, name: str, accounts: Iterable[str]) -> None:
        """Let a UNIX user submit with these accounts, the default first."""
        pwd.getpwnam(name)
        first, *others = accounts
        self.manage(
            [f"add user {name} account={','.join([first, *others])} defaultaccount={first}"]
        )

    @contextmanager
    def hiding_jobs(self) -> Iterator[None]:
        """``PrivateData=jobs``, in slurmctld and slurmdbd, until the block ends."""
        self._private("PrivateData=jobs\n")
        try:
            yield
        finally:
            self._private("")

    def _private(self, line: str) -> None:
        for file in (self.conf, self.dir / "slurmdbd.conf"):
            lines = file.read_text().splitlines(keepends=True)
            file.write_text("".join(x for x in lines if not x.startswith("PrivateData=")) + line)
        os.kill(int((self.dir / "slurmdbd.pid").read_text()), signal.SIGHUP)
        self.command("scontrol", "reconfigure")

    def _when_idle(self) -> None:
        known = self.command("scontrol", "-o", "show", "reservation")
        for reservation in (
            "ReservationName=HG-123-beamtime StartTime=now Duration=1-00:00:00 Nodes=beam1 "
            "Accounts=hg-123",
            "ReservationName=NX-7-beamtime StartTime=now+2days Duration=08:00:00 Nodes=beam1 "
            "Accounts=nx-7",
            "ReservationName=training StartTime=now Duration=1-00:00:00 CoreCnt=1 "
            "PartitionName=cpu Users=root",
        ):
            if reservation.split()[0] not in known:
                self.command("scontrol", "create", "reservation", *reservation.split())

    def stop(self) -> None:
        """Stop the daemons, the database last."""
        super().stop()
        self.stop_dbd()
        self._database.stop()
