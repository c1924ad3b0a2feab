"""One command in a thread: the only place of the SLURM backend that starts processes.

A thread and not ``asyncio``'s subprocesses: forking a Hub of some gigabytes then does not hold
up the event loop, and on Python 3.11 a Hub that is shut down in the instant in which a
subprocess starts would wait for it for ever.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .parse import Garbled


@dataclass(slots=True)
class Command:
    """``argv`` with its whole environment; ``limit`` in seconds, ``cap`` in bytes per pipe."""

    argv: Sequence[str]
    env: Mapping[str, str]
    given: bytes
    limit: float
    cap: int
    _process: subprocess.Popen[bytes] | None = None
    _cancelled: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> tuple[int, str, str]:
        """Exit status, output and errors.

        Raises ``OSError`` if it cannot be run, ``TimeoutError`` and :class:`Garbled` after
        killing it. It and its children never outlive this call, unless they run as another
        account that the Hub may not signal.
        """
        # A file and not a pipe: nobody has to feed it while the answer is read.
        with tempfile.TemporaryFile() as stdin:
            stdin.write(self.given)
            stdin.seek(0)
            with self._lock:
                if self._cancelled:
                    raise TimeoutError
                self._process = process = subprocess.Popen(
                    self.argv,
                    env=self.env,
                    cwd="/",
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
        deadline = time.monotonic() + self.limit
        try:
            out, err = self._read(process, deadline)
            status = process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        finally:
            if process.returncode is None and self.kill():
                process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        return status, out, err

    def _read(self, process: subprocess.Popen[bytes], deadline: float) -> tuple[str, str]:
        assert process.stdout is not None  # we asked for pipes
        assert process.stderr is not None
        texts = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        with selectors.DefaultSelector() as open_pipes:
            for descriptor in texts:
                open_pipes.register(descriptor, selectors.EVENT_READ)
            while open_pipes.get_map():
                if (left := deadline - time.monotonic()) <= 0:
                    raise TimeoutError
                for key, _ in open_pipes.select(left):
                    part = os.read(key.fd, 2**16)
                    texts[key.fd] += part
                    if not part:
                        open_pipes.unregister(key.fd)
                    if len(texts[key.fd]) > self.cap:
                        raise Garbled(f"more than {self.cap} bytes of output")
        out, err = (text.decode("utf-8", errors="replace") for text in texts.values())
        return out, err

    def kill(self) -> bool:
        """Kill the command with its children (wrappers, sudo); safe from any thread.

        False if it runs as another account: then it is left, and reaped when it ends by itself.
        """
        with self._lock:
            self._cancelled = True
            if self._process is not None and self._process.poll() is None:
                try:
                    os.killpg(self._process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    return True  # it ended just now
                except PermissionError:
                    return False
        return True
