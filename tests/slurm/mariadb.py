"""A MariaDB of its own in one directory, behind a private socket; the machine's one is not used."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.slurm.cluster import CannotRun, _alive, _wait, _which

NEEDS = ("mariadbd", "mariadb-install-db", "mariadb-admin", "mariadb")


class MariaDB:
    """Its only account is ``root``, for processes of root through the socket."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.socket = str(directory / "mariadb.socket")
        self._pid_file = directory / "mariadb.pid"

    def start(self, timeout: float = 30.0) -> None:
        """Start it (again) and wait until it answers."""
        data = self.dir / "mariadb"
        options = (
            "--no-defaults",
            "--user=root",
            f"--datadir={data}",
            "--innodb-log-file-size=8M",
            "--innodb-buffer-pool-size=64M",
        )
        if not data.exists():
            self._call(
                "mariadb-install-db",
                *options,
                "--auth-root-authentication-method=socket",
                "--skip-test-db",
            )
        # It has no way of its own into the background.
        with open(self.dir / "mariadb.out", "ab") as output:
            subprocess.Popen(
                [
                    _which("mariadbd"),
                    *options,
                    f"--socket={self.socket}",
                    f"--pid-file={self._pid_file}",
                    f"--log-error={self.dir}/mariadb.log",
                    "--skip-networking",
                    "--innodb-flush-log-at-trx-commit=0",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        _wait(self._answers, timeout, f"MariaDB does not answer; see the logs in {self.dir}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, or kill it."""
        try:
            pid = int(self._pid_file.read_text())
            os.kill(pid, how)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return
        _wait(lambda: not _alive(pid), 20, "MariaDB did not stop")
        self._pid_file.unlink(missing_ok=True)

    def sql(self, statement: str) -> None:
        """Run one statement."""
        self._call("mariadb", "--no-defaults", f"--socket={self.socket}", f"--execute={statement}")

    def _answers(self) -> bool:
        try:
            self._call("mariadb-admin", "--no-defaults", f"--socket={self.socket}", "ping")
        except CannotRun:
            return False
        return True

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [_which(program), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise CannotRun(f"{program} failed: {(done.stderr or done.stdout).strip()[:400]}")
