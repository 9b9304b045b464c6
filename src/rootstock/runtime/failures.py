"""Errors for workers that died or took too long."""

from __future__ import annotations

from typing import Optional

from ..errors import CallTimeoutError, PeerClosedError, WorkerDiedError
from .process import describe_exit

__all__ = ["death_error", "timeout_error"]


def timeout_error(
    model: str, argument: str, seconds: Optional[float], log_tail: str
) -> CallTimeoutError:
    """Return the error for a limit on time that was exceeded; `argument` is its name."""
    msg = (
        f"model {model!r} took longer than {argument}={seconds or 0:g} s; its worker was stopped, "
        f"the next call starts another. Give more time with {argument}=...{_quoted(log_tail)}"
    )
    return CallTimeoutError(msg)


def death_error(
    model: str, error: Exception, status: Optional[int], phase: str, log_tail: str
) -> WorkerDiedError:
    """Return the error for a worker that died.

    Parameters
    ----------
    model : str
        Model string.
    error : Exception
        How the connection ended.
    status : int or None
        As :attr:`subprocess.Popen.returncode`.
    phase : str
        ``"while it calculated"`` or the like.
    log_tail : str
        The last lines that the worker printed.
    """
    how = describe_exit(status) if isinstance(error, PeerClosedError) else f"failed: {error}"
    msg = f"the worker of model {model!r} {how} {phase}. The next call starts another." + _quoted(
        log_tail
    )
    return WorkerDiedError(msg, status, log_tail)


def _quoted(log_tail: str) -> str:
    return f"\nThe last lines of its log:\n{log_tail}" if log_tail else "\nIts log is empty."
