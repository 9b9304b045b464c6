"""A calculator's handle on a session that it may share."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session

__all__ = ["SessionHandle"]


class SessionHandle:
    """Keeps a session's worker running for its owner, at most until the owner is collected.

    Parameters
    ----------
    session : Session
        The session, which other handles may share.
    owner : object
        The object that uses the session, usually a calculator.
    """

    def __init__(self, session: Session, owner: object) -> None:
        self.session = session
        self._token = object()
        # Refers to the token and the session, never to the owner, which must be collectable.
        self._finalizer = weakref.finalize(owner, session.drop, self._token)
        session.hold(self._token)

    def hold(self) -> Session:
        """Return the session; acquire the handle again if it was released."""
        self.session.hold(self._token)
        return self.session

    def release(self) -> None:
        """Release the handle; the last release of a session asks the worker to end."""
        self.session.release(self._token)
