"""Waiting for something that happens in another process or thread."""

from __future__ import annotations

import contextlib
import threading
import time


def wait_until(condition, within: float = 5.0, pause: float = 0.02) -> bool:
    """Wait until the condition holds; tell if it does."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(pause)
    return bool(condition())


@contextlib.contextmanager
def background(function, *arguments, **options):
    """Run a function in a thread; yield a list that receives its result or its error."""
    outcome = []

    def call():
        try:
            outcome.append(function(*arguments, **options))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield outcome
    finally:
        thread.join(20)
        assert not thread.is_alive()
