"""Executors whose calls run at once, and fail as a test wants."""

from __future__ import annotations

import pickle
from concurrent.futures import Executor, Future


class InlineExecutor(Executor):
    """Runs calls in the process of the test; pickles what they take and return.

    Parameters
    ----------
    failure : callable, optional
        Gets the number of the call, from 0, and its argument; returns the error of its future, or
        None to run it.
    """

    def __init__(self, failure=lambda number, request: None):
        self.failure = failure
        self.requests = []
        self.is_shut_down = False

    def submit(self, fn, /, *arguments):
        (argument,) = arguments
        self.requests.append(argument)
        future = Future()
        error = self.failure(len(self.requests) - 1, argument)
        if error is not None:
            future.set_exception(error)
            return future
        try:
            future.set_result(_copy(fn(_copy(argument))))
        except Exception as raised:
            future.set_exception(raised)
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.is_shut_down = True


class HoldingExecutor(InlineExecutor):
    """Runs each call at once but the first, whose future stays pending until :meth:`release`."""

    def __init__(self):
        super().__init__()
        self.held = None

    def submit(self, fn, /, *arguments):
        if self.held is not None:
            return super().submit(fn, *arguments)
        self.requests.append(arguments[0])
        self.held = Future()
        self.release = lambda: self.held.set_result(_copy(fn(_copy(arguments[0]))))
        return self.held


def _copy(value):
    return pickle.loads(pickle.dumps(value))
