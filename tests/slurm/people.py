"""Real UNIX accounts and the shipped sudo rule, for the time of a test run.

A Hub of :func:`service_hub` runs as an account of its own that may do nothing but what
``config/sudoers.d/panosc-hub`` grants, as on a real facility.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import jupyterhub
import psutil

from tests.hub.harness import ROOT

SHIPPED = ROOT / "config" / "sudoers.d" / "panosc-hub"
_NOBODY = 65534


@dataclass(frozen=True)
class People:
    """Names of the accounts. ``python`` is one that all of them may run, with ``path`` as
    PYTHONPATH; ``sudo_log`` is what sudo writes of the service account."""

    folder: Path
    service: str
    paula: str
    mira: str
    stranger: str
    """A person who is not in the group that the sudo rule names."""
    group: str
    beamtime: str
    """A second group, which only ``paula`` is in."""
    python: str
    path: str
    sudo_log: Path

    def run_as(
        self, account: str, *argv: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as that account with nothing but ``variables`` in its environment."""
        user = pwd.getpwnam(account)
        return subprocess.run(
            argv,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=os.getgrouplist(account, user.pw_gid),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def _import_path() -> str:
    """What a Python without our virtual environment needs to find the Hub and the package."""
    return f"{Path(jupyterhub.__file__).parents[1]}:{ROOT}"


def _python() -> str:
    """A Python that other accounts may run and that can import the Hub; "" if there is none.

    The one that runs the tests may lie in root's home.
    """
    same = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{same}", f"/usr/local/bin/{same}"):
        with suppress(OSError):
            done = subprocess.run(
                [python, "-c", "import jupyterhub.app, panosc_hub.backends.slurm"],
                env={"PATH": os.defpath, "PYTHONPATH": _import_path()},
                user=_NOBODY,
                group=_NOBODY,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                check=False,
            )
            if done.returncode == 0:
                return python
    return ""


def why_not() -> str:
    """Empty if accounts can be made here, else the reason."""
    if os.geteuid() != 0:
        return "making UNIX accounts needs root"
    for program in ("useradd", "groupadd", "sudo", "visudo"):
        if shutil.which(program) is None:
            return f"{program} is not installed; on Debian: apt-get install passwd sudo"
    if not _python():
        return "no Python that other accounts may run can import JupyterHub and this package"
    return ""


def filled_in(service: str, group: str) -> str:
    """The shipped rule with the facility's own names, as the installation guide says."""
    text = SHIPPED.read_text()
    for placeholder, name in (("%experiments", f"%{group}"), ("\npanosc-hub ", f"\n{service} ")):
        assert text.count(placeholder) == 1, f"{placeholder!r} is to stand once in {SHIPPED.name}"
        text = text.replace(placeholder, name)
    return text


@contextmanager
def people() -> Iterator[People]:
    """Make the accounts and install the rule; remove both at the end."""
    tag = secrets.token_hex(3)
    python = _python()
    with ExitStack() as stack:
        # Not pytest's own directory, which only root may enter.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="panosc-people-")))
        folder.chmod(0o755)
        made = People(
            folder=folder,
            service=f"phub-{tag}-service",
            paula=f"phub-{tag}-paula",
            mira=f"phub-{tag}-mira",
            stranger=f"phub-{tag}-guest",
            group=f"phub-{tag}-people",
            beamtime=f"phub-{tag}-hg123",
            python=python,
            path=_import_path(),
            sudo_log=folder / "sudo.log",
        )
        for group in (made.group, made.beamtime):
            _call("groupadd", group)
            stack.callback(_call, "groupdel", group)
        (folder / "home").mkdir()
        _account(stack, made, made.service, login="/usr/sbin/nologin")
        _account(stack, made, made.paula, groups=(made.group, made.beamtime))
        _account(stack, made, made.mira, groups=(made.group,))
        _account(stack, made, made.stranger)
        _sudo_rule(stack, f"panosc-hub-test-{tag}", filled_in(made.service, made.group))
        # The machine's log daemon may not run: the same lines in a file of ours.
        log = f'Defaults:{made.service} loglinelen=0, logfile="{made.sudo_log}"\n'
        _sudo_rule(stack, f"panosc-hub-test-{tag}-log", log)
        yield made


def _account(
    stack: ExitStack,
    made: People,
    name: str,
    groups: Sequence[str] = (),
    login: str = "/bin/bash",
) -> None:
    home = made.folder / "home" / name
    more = ["--groups", ",".join(groups)] if groups else []
    _call("useradd", "--create-home", "--home-dir", str(home), "--shell", login, *more, name)
    stack.callback(_remove, name)
    home.chmod(0o700)


def _remove(account: str) -> None:
    """Remove an account of ours; userdel would refuse it while a process of it is left."""
    uid = pwd.getpwnam(account).pw_uid
    for process in psutil.process_iter(["uids"]):
        if process.info["uids"] and process.info["uids"].real == uid:
            with suppress(psutil.Error):
                process.kill()
                process.wait(5)
    _call("userdel", "--force", account)


def _sudo_rule(stack: ExitStack, name: str, text: str) -> None:
    """Install a rule as an administrator does; one that visudo refuses is not left behind."""
    file = Path("/etc/sudoers.d") / name
    stack.callback(file.unlink, missing_ok=True)
    new = file.with_name(f"{name}.new")  # sudo passes over names with a dot
    stack.callback(new.unlink, missing_ok=True)
    new.touch(mode=0o440)
    new.write_text(text)
    _call("visudo", "-cf", str(new))
    new.rename(file)
    _call("visudo", "-c")


def _call(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")


def groups_of(account: str) -> set[int]:
    """All groups that a process of the account should have."""
    return set(os.getgrouplist(account, pwd.getpwnam(account).pw_gid))
