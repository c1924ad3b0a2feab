"""Prepare a session as the user, then become the notebook server. Standard library, Python 3.8+.

Runs inside the job, pod or process, where panosc_hub need not be installed: the Hub ships this
file as text (``python3 -I start.py``, ``python3 -I -``, or exec from a string) with a *plan*::

    python3 -I start.py [--plan-fd N | --plan-file PATH] [--pick-port] -- jupyterhub-singleuser

Without these two the plan comes from ``PANOSC_PLAN`` (base64 of zlib of JSON); no plan is fine.
``--env-file PATH`` adds the variables of a JSON object first, for a pod's own may be read by many.
Whatever goes wrong with the workspace is told in a sentence, to the log and to the Hub, and the
server starts all the same. Only a port that the Hub does not take or variables that cannot be
read end the session (exit 1), or a command that cannot be run (126, 127). Every write below the
home directory is relative to an open directory, follows no symbolic link there, and replaces
nothing that the user made or edited.
"""

from __future__ import annotations

import argparse
import base64
import errno
import hashlib
import json
import os
import random
import re
import select
import signal
import socket
import stat
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

PLAN_BYTES = 32 * 2**20  # a plan is notebooks as text; more is a mistake or a decompression bomb
MOUNT_SECONDS = 20.0  # for all data areas together: a dead network mount must not hold the session
OUR = ".panosc"  # where, in the workspace, our own records are
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
LAB = ""  # what JupyterLab shows the time left with: base64 of zlib of {file: text}; see source()
FOREVER = 180 * 86400  # seconds; Slurm gives a job without a limit an end in a year or so
NAME = re.compile(r"(?!LD_|PYTHON|JUPYTERHUB_|(PATH|HOME|BASH_ENV)\Z)[A-Z_][A-Z0-9_]*\Z")


class Refused(Exception):
    """A sentence for the user: this was not done, and why."""


def log(message: str) -> None:
    message = "".join(c if c.isprintable() else " " for c in message)
    print(f"panosc: {message}", file=sys.stderr, flush=True)


def fail(message: str) -> NoReturn:
    log(message)
    sys.exit(1)


class Report:
    """What happened, for the log and for the Hub."""

    def __init__(self) -> None:
        self.events: list[dict[str, str]] = []

    def say(self, step: str, status: str, message: str) -> None:
        event = {"step": step, "status": status, "message": message[:500]}
        if message and event not in self.events:  # one full disk is one sentence
            self.events.append(event)
            log(f"{step}: {status}: {message}")

    def attempt(self, step: str, what: str, action: Callable[..., str], *args: Any) -> None:
        """Do one thing; say what it answers, or in a sentence why it failed."""
        try:
            self.say(step, "ok", action(*args))
        except Refused as error:
            self.say(step, "error", str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the server has to start
            code = getattr(error, "errno", None)
            why = getattr(error, "strerror", None) or f"{type(error).__name__} {error}"
            text = f"{what} could not be prepared: {why}."
            if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                text = "Your home directory is full or over its quota, so not everything could be "
                text, step = text + "put there. Free some space and start again.", "workspace"
            elif code == errno.EROFS:
                text = "Your home directory is read-only on this machine, so not everything could "
                text, step = text + "be put there. Tell the facility's support.", "workspace"
            self.say(step, "error", text)

    def send(self, env: dict[str, str]) -> None:
        """At most 50 events, troubles before successes if there are more."""
        events, self.events = self.events, []
        if len(events) > 50:
            events = sorted(events, key=lambda event: event["status"] == "ok")[:50]
        if events and env.get("JUPYTERHUB_API_URL"):
            for _ in range(2):
                status, text = post(env, "report", {"v": 1, "events": events}, 5)
                if status in (200, 204):
                    return
            log(f"the Hub did not take the report ({status} {text}); the session goes on.")


def read_plan(options: argparse.Namespace, packed: str | None) -> dict[str, Any]:
    """The plan, {} if there is none. Raises Refused."""
    try:
        source = options.plan_file if options.plan_fd is None else options.plan_fd
        if source is not None:
            with open(source, "rb", closefd=source not in (0, 1, 2)) as stream:
                raw = stream.read(PLAN_BYTES + 1)
        elif packed:
            raw = zlib.decompressobj().decompress(base64.b64decode(packed), PLAN_BYTES + 1)
        else:
            return {}
        plan = json.loads(raw) if len(raw) <= PLAN_BYTES else None
    except (OSError, ValueError, RecursionError, zlib.error) as error:
        raise Refused(f"The plan of this session cannot be read: {error}.") from None
    if isinstance(plan, dict) and plan.get("v") == 1:
        return plan
    raise Refused(
        "The plan of this session has a version or form that this start-up does not understand, "
        "so data and notebook were not prepared. Tell the facility's support."
    )


def add_variables(path: str) -> None:
    """Add a file's variables to ours; exit 1 if it cannot be, for the server's token is there."""
    try:
        with open(path, "rb") as stream:
            found = json.loads(stream.read(PLAN_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        # Not its text, which may repeat what is in the file.
        fail(f"the variables of this session cannot be read: {type(error).__name__} in {path}.")
    if not isinstance(found, dict):
        fail(f"the variables of this session are no JSON object: {path}.")
    for name, value in found.items():
        try:
            os.environ[name] = value
        except (OSError, TypeError, ValueError):
            fail(f"{path} has a variable that none can be: {name[:60]!r}.")


def relative(path: Any) -> list[str]:
    """The components of a relative path that stays inside. Raises Refused."""
    parts = path.split("/") if isinstance(path, str) and path.isprintable() else [""]
    if any(part in ("", ".", "..", OUR) for part in parts):
        raise Refused(f"The plan names {path!r}, which is not a path that may be used here.")
    return parts


def descend(folder: int, parts: list[str]) -> int:
    """Open (and make, mode 0700) the directories below; the caller closes the result."""
    here = os.dup(folder)
    for i, part in enumerate(parts):
        above = here
        try:
            try:
                os.mkdir(part, 0o700, dir_fd=above)
            except FileExistsError:
                pass  # opening it tells whether it is a directory
            here = os.open(part, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise Refused(
                f"{'/'.join(parts[: i + 1])} is a symbolic link or a file where a folder is "
                "needed, so nothing was put there. Move it away and start again."
            ) from None
        finally:
            os.close(above)
    return here


def read(folder: int, name: str) -> bytes | None:
    """A plain file's content, None if nothing is there. Raises Refused if it is no such file."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # not to wait for a named pipe
        with open(os.open(name, flags, dir_fd=folder), "rb") as stream:
            if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return stream.read(PLAN_BYTES + 1)  # what is larger is never ours
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EISDIR):
            raise
    raise Refused(f"{name} is not a plain file that you may read.")


def digest(folder: int, name: str) -> str | None:
    """sha256 of a plain file, None if nothing is there, "" if it is something else."""
    try:
        data = read(folder, name)
        return None if data is None else hashlib.sha256(data).hexdigest()
    except Refused:
        return ""


def scratch_name() -> str:
    return f"tmp-{os.getpid()}-{random.getrandbits(32):08x}"


def write(ours: int, folder: int, name: str, data: bytes, over: list[str] | None) -> None:
    """Put a whole file or nothing, by way of ``ours``. Over a file with one of these sha256
    (None: any), or, when the list is empty, where nothing is yet; else raises FileExistsError."""
    scratch = scratch_name()
    try:
        with open(os.open(scratch, NEW, 0o600, dir_fd=ours), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())  # network file systems may refuse only here
        if over == []:
            try:
                os.link(scratch, name, src_dir_fd=ours, dst_dir_fd=folder)
            except FileExistsError:
                raise
            except OSError:  # no hard links on this file system: claim the name instead
                os.close(os.open(name, NEW, 0o600, dir_fd=folder))
        elif over is not None and digest(folder, name) not in over:
            raise FileExistsError(errno.EEXIST, f"{name} changed just now")
        os.rename(scratch, name, src_dir_fd=ours, dst_dir_fd=folder)
    finally:
        try:
            os.unlink(scratch, dir_fd=ours)
        except FileNotFoundError:
            pass  # renamed, or never made


def inspect(area: str, target: str, root: str) -> str:
    """Why this account cannot use a data area, or "r" or "w" for what it may do."""
    real, base = os.path.realpath(target), os.path.realpath(root)
    effective = os.access in os.supports_effective_ids
    if os.path.commonpath([real, base]) != base:
        return f"The {area} leads out of the facility's data, so it is not linked: {target}."
    try:
        if not stat.S_ISDIR(os.stat(real).st_mode):
            return f"The {area} is not a folder, so it is not linked: {target}."
        if os.access(real, os.R_OK | os.X_OK, effective_ids=effective):
            return "w" if os.access(real, os.W_OK, effective_ids=effective) else "r"
    except FileNotFoundError:
        return f"The {area} is not there on this machine: {target}. Ask your local contact."
    except PermissionError:
        pass  # the same sentence as for a folder that may be seen but not read
    return (
        f"The {area} exists but your account may not read it: {target}. Ask your local contact "
        "to add you to the proposal; if that was done just now, start a new session."
    )


def in_child(check: Callable[..., str], *args: str, seconds: float) -> str:
    """The answer of ``check``, "" if none came: a dead network mount blocks whoever asks."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, check(*args).encode()[:4000])
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb", buffering=0) as stream:
        came = select.select([stream], [], [], seconds)[0]
        answer = stream.read(4000) if came else b""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0 if came else os.WNOHANG)
    return answer.decode(errors="replace")


class Workspace:
    """The user's folder of one proposal and template."""

    def __init__(self, home: str, plan: dict[str, Any], report: Report) -> None:
        self.plan, self.report, self.opened = plan, report, ""
        self.path = "/".join(relative(plan["workspace"]))
        top = os.open(home, os.O_DIRECTORY)
        self.folder = descend(top, relative(self.path))
        os.close(top)
        self.ours = descend(self.folder, [OUR])
        known = self.load("manifest.json", {})
        links, files = known.get("links"), known.get("files")
        self.links: dict[str, str] = links if isinstance(links, dict) else {}
        self.files: dict[str, list[str]] = files if isinstance(files, dict) else {}

    def fill(self) -> str:
        deadline = time.monotonic() + MOUNT_SECONDS
        for entry in self.plan.get("links") or []:
            self.report.attempt("links", "A data area", self.link, entry, deadline)
        for entry in self.plan.get("files") or []:
            self.report.attempt("files", "A file", self.place, entry)
        record = {"v": 1, "links": self.links, "files": self.files}
        self.report.attempt("files", "The record", self.save, "manifest.json", record)
        self.report.attempt("provenance", "The provenance record", self.add_provenance)
        return f"Your workspace is ~/{self.path}."

    def load(self, name: str, empty: Any) -> Any:
        """Our own JSON record; a damaged one is set aside and begun anew."""
        try:
            value = json.loads(read(self.ours, name) or json.dumps(empty))
            if type(value) is type(empty):
                return value
        except (Refused, ValueError, RecursionError):
            pass  # the same as one of a wrong type
        aside = f"{name}.damaged-{random.getrandbits(32):08x}"
        os.rename(name, aside, src_dir_fd=self.ours, dst_dir_fd=self.ours)
        text = f"The record {OUR}/{name} was damaged; it is kept as {aside} and begun anew."
        self.report.say("workspace", "warning", text)
        return empty

    def save(self, name: str, content: Any) -> str:
        data = (json.dumps(content, indent=1) + "\n").encode()
        if read(self.ours, name) != data:
            write(self.ours, self.ours, name, data, None)
        return ""

    def link(self, entry: dict[str, str], deadline: float) -> str:
        """Link one data area; what the user put in its place is kept."""
        name, target, root = entry["name"], entry["target"], entry["root"]
        if len(relative(name)) != 1 or not (
            target.isprintable() and target[:1] == root[:1] == "/" and "\0" not in root
        ):
            raise Refused(f"The plan's data area {name!r} has no usable name or path.")
        area = f"data area {name} of {self.plan.get('proposal') or 'this session'}"
        left = max(1.0, deadline - time.monotonic())
        verdict = in_child(inspect, area, target, root, seconds=left)
        try:
            present = os.readlink(name, dir_fd=self.folder)
        except FileNotFoundError:
            present = None
        except OSError:
            present = ""  # not a link
        ours = bool(present) and present == self.links.get(name)
        if verdict not in ("r", "w"):
            if ours and present != target:  # it would show the data of an earlier session
                os.unlink(name, dir_fd=self.folder)
                del self.links[name]
            late = f"The {area} does not answer, so it is not linked: {target}. Try again later."
            raise Refused(verdict or late)
        if present is None:
            os.symlink(target, name, dir_fd=self.folder)
        elif present != target:
            if not ours:
                raise Refused(
                    f"There is already something of yours named {name} in the workspace. It was "
                    f"kept, so the {area} is not linked; you find it at {target}."
                )
            scratch = scratch_name()
            os.symlink(target, scratch, dir_fd=self.ours)
            os.rename(scratch, name, src_dir_fd=self.ours, dst_dir_fd=self.folder)
        if present != target:
            self.links[name] = target
        if entry.get("mode") == "rw" and verdict == "r":
            text = f"Your account may not write into the {area}: {target}."
            self.report.say("links", "warning", text)
        return f"The {area} is in the folder {name}."

    def place(self, entry: dict[str, str]) -> str:
        """Put one file of the plan; never over one that the user edited."""
        path, data, sha = entry["path"], entry["text"].encode(), entry["sha256"]
        parts = relative(path)
        if hashlib.sha256(data).hexdigest() != sha:
            raise Refused(f"The file {path} arrived damaged and was not written. Start again.")
        folder = descend(self.folder, parts[:-1])
        try:
            try:
                opened, message = self.put(folder, path, data, sha)
            except FileExistsError:  # another session of the user prepares the same workspace
                opened, message = self.put(folder, path, data, sha)
        finally:
            os.close(folder)
        if path == self.plan.get("open"):
            self.opened = opened
        return message

    def put(self, folder: int, path: str, data: bytes, sha: str) -> tuple[str, str]:
        """Create, reuse, replace, keep or put beside: the path to open, and a sentence."""
        name, past = os.path.basename(path), list(self.files.get(path) or [])
        now = digest(folder, name)
        if now == sha:
            message = f"{path} is in the workspace as before."
        elif now is None:
            write(self.ours, folder, name, data, [])
            message = f"{path} was put into the workspace."
        elif now in past:
            write(self.ours, folder, name, data, past)
            message = f"{path} had not been edited and is now the new version."
        elif now and sha in past:
            return path, f"You edited {path}, so it was kept as it is."
        else:
            stem, ending = os.path.splitext(path)
            beside = f"{stem}-{sha[:8]}{ending}"
            if digest(folder, os.path.basename(beside)) is None:
                write(self.ours, folder, os.path.basename(beside), data, [])
                self.files[beside] = [sha]
            return beside, f"{path} is yours, so it was kept; the new version is {beside}."
        self.files[path] = [*(old for old in past if old != sha), sha][-50:]
        return path, message

    def add_provenance(self) -> str:
        entry = {key: self.plan.get(key) for key in ("facility", "proposal", "provenance")}
        entry["started"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry["opened"] = self.opened
        self.save("provenance.json", [*self.load("provenance.json", []), entry][-100:])
        return f"What the session starts from is noted in {OUR}/provenance.json."

    def url(self, home: str, root: str | None) -> str | None:
        """What the server opens, if that lies below its root directory."""
        path = os.path.join(os.path.realpath(home), self.path)
        if os.path.isfile(os.path.join(path, self.opened)):
            path = os.path.join(path, self.opened)
        below = os.path.relpath(path, os.path.realpath(os.path.expanduser(root or home)))
        return None if below.split("/")[0] in (".", "..") else "/lab/tree/" + quote(below)


def prepare(plan: dict[str, Any], env: dict[str, str], report: Report) -> str:
    """Go home and fill the workspace."""
    home = env.get("HOME") or os.path.expanduser("~")
    os.chdir(home)
    if not plan.get("workspace"):
        return ""
    space = Workspace(home, plan, report)
    message = space.fill()
    url = space.url(home, env.get("JUPYTERHUB_ROOT_DIR"))
    if url:
        env["JUPYTERHUB_DEFAULT_URL"] = url
    return message


def set_environment(plan: dict[str, Any], env: dict[str, str]) -> str:
    """Add the plan's environment, except names that change what code runs."""
    wanted: dict[str, Any] = plan.get("environment") or {}
    good = {k: v for k, v in wanted.items() if NAME.match(k) and type(v) is str and "\0" not in v}
    env.update(good)
    refused = ", ".join(sorted(set(wanted) - set(good)))
    if refused:
        raise Refused(f"These settings of the plan are not allowed and were left out: {refused}.")
    return ""  # nobody waits to read that names were set


def place_lab(top: str, parts: list[str], files: dict[str, str]) -> str:
    """Write the extension below a directory; returns what goes into JUPYTER_PATH."""
    above = os.open(top, os.O_DIRECTORY)
    try:
        folder = descend(above, [*parts, "labextensions", "panosc-session-end"])
    finally:
        os.close(above)
    try:
        # package.json comes last: JupyterLab believes it, and does not start with half of one.
        for name in sorted(files, key=lambda name: name == "package.json"):
            write(folder, folder, name, files[name].encode(), None)
    finally:
        os.close(folder)
    path = os.path.join(os.path.realpath(top), *parts)
    if os.pathsep in path:
        raise Refused(f"{path} cannot be searched by JupyterLab because of its {os.pathsep!r}.")
    return path


def show_end(env: dict[str, str]) -> str:
    """Let JupyterLab show the time left, with an extension that need not be installed."""
    end = float(env.get("PANOSC_END_TIME") or env.get("SLURM_JOB_END_TIME") or 0)
    if not LAB or not 0 < end - time.time() < FOREVER:
        return ""
    warn = [60 * int(m) for m in re.findall("[0-9]{1,5}", env.get("PANOSC_WARN_MINUTES", "15,5"))]
    files: dict[str, str] = json.loads(zlib.decompress(base64.b64decode(LAB)))
    files["end.json"] = json.dumps({"end": end, "warn": warn})
    # One folder for each server of each Hub, used again at its next start.
    server = env.get("JUPYTERHUB_API_URL", "") + " " + env.get("JUPYTERHUB_SERVICE_PREFIX", "")
    folder = "lab-" + hashlib.sha256(server.encode()).hexdigest()[:12]
    try:
        home = env.get("HOME") or os.path.expanduser("~")
        path = place_lab(home, [OUR, folder], files)
    except (OSError, Refused):
        import tempfile  # rarely needed, and slow to load

        try:
            path = place_lab(tempfile.mkdtemp(prefix="panosc-"), [], files)
        except (OSError, Refused) as error:
            raise Refused(
                "JupyterLab cannot show the time that is left, for neither your home directory "
                f"nor the temporary one can be used: {error}. Watch the time yourself."
            ) from None
    env["JUPYTER_PATH"] = os.pathsep.join(filter(None, (env.get("JUPYTER_PATH"), path)))
    return ""


class AnyAnswer(urllib.request.HTTPErrorProcessor):
    """Every status is an answer; no redirect is followed, it would carry the token elsewhere."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response

    https_response = http_response


def post(env: dict[str, str], path: str, body: object, seconds: float) -> tuple[int, str]:
    """POST to the Hub's API: the status (0: no answer) and what it says. Never raises."""
    url, token = env.get("JUPYTERHUB_API_URL", ""), env.get("JUPYTERHUB_API_TOKEN", "")
    headers = {"Authorization": f"token {token.strip()}", "Content-Type": "application/json"}
    handlers: list[Any] = [urllib.request.ProxyHandler({}), AnyAnswer()]
    try:
        if url.startswith("https:"):
            import ssl  # some small images have a Python without it

            context = ssl.create_default_context(cafile=env.get("JUPYTERHUB_SSL_CLIENT_CA") or None)
            if env.get("JUPYTERHUB_SSL_CERTFILE"):
                key = env.get("JUPYTERHUB_SSL_KEYFILE") or None
                context.load_cert_chain(env["JUPYTERHUB_SSL_CERTFILE"], key)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        full, data = f"{url.rstrip('/')}/panosc/{path}", json.dumps(body).encode()
        request = urllib.request.Request(full, data, headers)
        with urllib.request.build_opener(*handlers).open(request, timeout=seconds) as answer:
            text = answer.read(2000).decode(errors="replace")
            found = re.search(r'"message": *"([^"]*)', text)
            return answer.status, found.group(1) if found else str(answer.reason)
    except (OSError, HTTPException, ImportError) as error:
        return 0, str(error)
    except ValueError as error:  # its text may repeat a header
        return 0, type(error).__name__


def free_port(host: str, ports: list[int]) -> int:
    for port in ports:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
                return int(probe.getsockname()[1])
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    fail(f"no server can listen on {host}: {error}.")
    fail(f"no port from {min(ports)} to {max(ports)} is free on this machine.")


def announce_port(options: argparse.Namespace, env: dict[str, str]) -> None:
    """Choose a port, tell the Hub, put it into the server's URL; exit 1 if that cannot be."""
    url = urlsplit(env.get("JUPYTERHUB_SERVICE_URL") or "http://0.0.0.0/")
    host = options.host or url.hostname or ""
    port = free_port(host, options.port_range)
    deadline, pause = time.monotonic() + options.port_patience, 0.5
    while True:
        left = deadline - time.monotonic()
        status, text = post(env, "port", {"port": port}, max(1.0, min(10.0, left)))
        if status in (200, 204):
            break
        if 300 <= status < 500 and status != 429:
            fail(f"the Hub refused the port {port}: {status} {text}")
        pause = min(pause * 2, 10.0) * random.uniform(0.5, 1)  # many jobs may start at once
        if time.monotonic() + pause > deadline:
            fail(f"the Hub did not take the port {port} in time: {status} {text}")
        log(f"the Hub did not take the port ({status} {text}); trying again.")
        time.sleep(pause)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    env["JUPYTERHUB_SERVICE_URL"] = url._replace(netloc=where).geturl()
    log(f"the server will listen on {where}.")


def port_range(text: str) -> list[int]:
    first, last = map(int, text.split("-"))
    if not 1024 <= first <= last <= 65535:
        raise ValueError
    return random.sample(range(first, last + 1), last - first + 1)


def main(argv: list[str]) -> None:
    split = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(prog="start.py", usage="start.py [options] -- command ...")
    parser.add_argument("--plan-fd", type=int, help="read the plan from this open descriptor")
    parser.add_argument("--plan-file", help="read the plan from this file")
    parser.add_argument("--env-file", metavar="PATH", help="JSON object of variables to add")
    parser.add_argument("--pick-port", action="store_true", help="choose a port and tell the Hub")
    parser.add_argument("--port-range", type=port_range, default=[0], metavar="A-B")
    parser.add_argument("--port-patience", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--host", help="where the server listens; else as in its URL")
    options, command = parser.parse_args(argv[:split]), argv[split + 1 :]
    if not command:
        parser.error("no command after --")
    if options.env_file:
        add_variables(options.env_file)  # HOME and TMPDIR count at once
    env, report, plan = dict(os.environ), Report(), {}
    packed = env.pop("PANOSC_PLAN", None)
    report.attempt("plan", "The plan", lambda: plan.update(read_plan(options, packed)) or "")
    report.attempt("workspace", "The workspace in your home directory", prepare, plan, env, report)
    report.attempt("environment", "The environment", set_environment, plan, env)
    report.attempt("end", "The display of the time left", show_end, env)
    report.send(env)
    if options.pick_port:
        announce_port(options, env)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and exec hands that on
    try:
        os.execvpe(command[0], command, env)
    except OSError as error:
        text = f"The notebook server {command[0]} cannot be started: {error.strerror}. Choose "
        report.say("server", "error", text + "another environment or tell the facility's support.")
        report.send(env)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


if __name__ == "__main__":
    main(sys.argv[1:])
