"""Entry point: ``python -I .../worker/__main__.py SOCKET_FD PARENT_DEATH_FD``, by path.

The rest of Rootstock is imported through a stub package of a private name, which has only a
``__path__``: neither ``rootstock/__init__.py`` nor the main process's site-packages are run or
searched, and a package called ``rootstock`` in the environment is not touched.
"""

import os
import signal
import sys
import types


def main() -> int:
    """Set up the worker and answer until the main process ends."""
    socket_fd, parent_death_fd = int(sys.argv[1]), int(sys.argv[2])
    # Ignored and blocked signals are inherited: without SIGCHLD all helper processes of a model
    # would seem to end without an error.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    stub = types.ModuleType("_rootstock")
    stub.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.modules[stub.__name__] = stub
    sys.argv[:] = ["rootstock-worker"]  # model libraries may read it

    from _rootstock.worker import parent_death

    parent_death.attach(parent_death_fd)
    try:
        import ase
        import numpy as np
    except ImportError as error:
        sys.stderr.write(
            f"rootstock: this environment has no {error.name}: add 'ase' to the dependencies in "
            "its environment file\n"
        )
        return 1
    del ase, np

    import socket

    from _rootstock.protocol.client import run_client
    from _rootstock.protocol.frames import Connection
    from _rootstock.worker.model import EnvironmentModel

    os.set_inheritable(socket_fd, False)  # noqa: FBT003  helper processes of a model never hold the connection
    connection = Connection(socket.socket(fileno=socket_fd))
    os.register_at_fork(after_in_child=connection.close)
    run_client(connection, EnvironmentModel())
    return 0


if __name__ == "__main__":
    sys.exit(main())
