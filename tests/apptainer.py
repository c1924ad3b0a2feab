#!/usr/bin/env python3
"""Stands in for ``apptainer exec``, with real bind mounts made by Debian's ``bubblewrap``.

Apptainer itself is in none of the package registries that a test machine reaches, and building
it takes a Go tool chain and more time than all tests together. What counts here is the command
line that the batch script makes of a plan, so this does what Apptainer's manual says of the few
options that the script uses, and nothing else: an option that is not known ends it, as there.

* ``exec [--nv|--rocm] [--home DIR] [--bind SRC:DEST:ro|rw] … IMAGE COMMAND …``
* a bind whose source is not there ends it with status 255, as does a command that is not found
* home, working directory, ``/dev``, ``/proc``, ``/tmp`` are there; nothing else of the host is
* the host's variables come along unless ``APPTAINER_CLEANENV`` is set, but for ``PATH`` and
  ``LD_LIBRARY_PATH``; ``APPTAINERENV_NAME`` sets ``NAME`` whatever the image says, and
  ``APPTAINERENV_PREPEND_PATH`` comes first in ``PATH``. By the name ``singularity`` it reads
  ``SINGULARITYENV_`` instead.

An image is a file that begins as a real one does (launcher line, ``SIF_MAGIC``), then lists the
directories of the host that are its content, and variables that it sets, one a line.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

HEADER = b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def why_not() -> str:
    """Empty where containers can be made, else the reason."""
    return "" if shutil.which("bwrap") else "bwrap is not installed; Debian: bubblewrap"


def make_image(file: Path, content: Iterable[str] = SYSTEM, **variables: str) -> Path:
    """An image of what is below some directories of this machine."""
    lines = [*content, *(f"{name}={value}" for name, value in variables.items())]
    file.write_bytes(HEADER + "\n".join(lines).encode())
    return file


def install(folder: Path, name: str = "apptainer") -> str:
    """Put the command into ``folder``; its path."""
    folder.mkdir(exist_ok=True)
    command = folder / name
    shutil.copyfile(__file__, command)
    command.chmod(0o755)
    return str(command)


def fatal(text: str) -> NoReturn:
    print(f"FATAL:   {text}", file=sys.stderr)
    sys.exit(255)


def read_image(image: str) -> tuple[list[str], dict[str, str]]:
    try:
        data = Path(image).read_bytes()
    except OSError as error:
        fatal(f"could not open image {image}: {error.strerror}")
    if not data.startswith(HEADER):
        fatal(f"while opening image {image}: image format not recognized")
    lines = data[len(HEADER) :].decode().splitlines()
    return (
        [line for line in lines if line.startswith("/")],
        dict(line.split("=", 1) for line in lines if not line.startswith("/")),
    )


def environment(image: dict[str, str], prefix: str) -> dict[str, str]:
    """What the command sees."""
    host = dict(os.environ)
    forced = {n[len(prefix) :]: host.pop(n) for n in list(host) if n.startswith(prefix)}
    first = forced.pop("PREPEND_PATH", "")
    env = {} if host.get("APPTAINER_CLEANENV") else host
    env.update(image)
    env["PATH"] = f"{first}:{DEFAULT_PATH}" if first else DEFAULT_PATH
    env["LD_LIBRARY_PATH"] = "/.singularity.d/libs"
    env.update(forced)
    return env


def main(argv: list[str]) -> None:
    if argv[1:2] != ["exec"]:
        fatal(f"unknown command {argv[1:2]}")
    words, binds = argv[2:], []
    home = pwd.getpwuid(os.getuid()).pw_dir
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "--bind":
            source, target, mode = words.pop(0).split(":")
            if mode not in ("ro", "rw"):
                fatal(f"while parsing bind path: {mode} is not a valid option")
            if not os.path.exists(source):
                fatal(f"container creation failed: mount {source}: no such file or directory")
            binds += ["--ro-bind" if mode == "ro" else "--bind", source, target]
        elif option == "--home":
            home = words.pop(0)
        elif option not in ("--nv", "--rocm"):
            fatal(f"unknown flag: {option}")
    content, variables = read_image(words.pop(0))
    # ``singularity`` as the file's name, not only as a part of where it is.
    env = environment(
        variables,
        "SINGULARITYENV_" if os.path.basename(argv[0]) == "singularity" else "APPTAINERENV_",
    )
    env["HOME"] = home
    call = ["bwrap", "--dev-bind", "/dev", "/dev", "--proc", "/proc", "--bind", "/tmp", "/tmp"]
    for path in content:
        if stat.S_ISLNK(os.lstat(path).st_mode):
            call += ["--symlink", os.readlink(path), path]
        else:
            call += ["--ro-bind", path, path]
    call += ["--bind", home, home, "--bind", os.getcwd(), os.getcwd(), "--chdir", os.getcwd()]
    # bwrap, like Apptainer's starter, waits for the command; unlike it, SIGTERM would end it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    call += [*binds, "--", "/usr/bin/env", "--default-signal=TERM", *words]
    if shutil.which(words[0], path=env["PATH"]) is None:
        fatal(f'"{words[0]}": executable file not found in $PATH')
    os.execve(shutil.which("bwrap") or "bwrap", call, env)


if __name__ == "__main__":
    main(sys.argv)
