"""The worker's stdout and stderr: an anonymous, capped file, never a pipe.

A full pipe would stop a model that prints while it loads; a named file would stay behind when the
main process is killed. So the log is anonymous memory where the kernel has it, else an unlinked
temporary file. No other user can open it.
"""

from __future__ import annotations

import fcntl
import os
import tempfile

__all__ = ["WorkerLog"]

#: Bytes after which old output is dropped.
_CAP = 8 * 2**20
_TAIL_LINES = 30
#: Characters of the tail, at most.
_TAIL_LENGTH = 4000


class WorkerLog:
    """The output of a worker."""

    def __init__(self) -> None:
        self._descriptor = _open_nameless()
        # With O_APPEND a write after a truncation goes to the new end, not behind a hole.
        flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags | os.O_APPEND)

    def fileno(self) -> int:
        """Return the descriptor to hand to the worker."""
        return self._descriptor

    def text(self, nbytes: int = 2**16) -> str:
        """Return the last `nbytes` of output; empty once closed."""
        if self._descriptor < 0:
            return ""
        size = os.fstat(self._descriptor).st_size
        raw = os.pread(self._descriptor, nbytes, max(0, size - nbytes))
        return raw.decode(errors="replace")

    def tail(self) -> str:
        """Return the last lines, for an error: at most 30 lines and 4000 characters."""
        text = "\n".join(self.text().rstrip().splitlines()[-_TAIL_LINES:])
        return text if len(text) <= _TAIL_LENGTH else f"... {text[-_TAIL_LENGTH:]}"

    def trim(self) -> None:
        """Drop old output if there is too much of it."""
        if self._descriptor >= 0 and os.fstat(self._descriptor).st_size > _CAP:
            recent = self.text().encode()
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, b"[older output was dropped]\n" + recent)

    def close(self) -> None:
        """Free the log's memory; more than once does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _open_nameless() -> int:
    if hasattr(os, "memfd_create"):  # Linux
        return os.memfd_create("rootstock-worker-log")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
