"""``rootstock serve MODEL``: a model for programs that speak i-PI's protocol."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from ..errors import ConfigurationError
from .options import (
    ClusterOption,
    DeviceOption,
    EnvironmentOption,
    JsonOption,
    RootOption,
    SetupOption,
    ThreadsOption,
    TracebackOption,
    complete_models,
    model_arguments,
)
from .output import reporting_errors, stopping_at_sigterm

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..ipi.driver import ServedModel, WorkerStatus

__all__ = ["serve_command"]

#: Seconds between two lines without a terminal, unless a state changes.
_PAUSE = 30.0


def serve_command(  # noqa: PLR0913, PLR0917  options, which are never passed by position
    model: Optional[str] = typer.Argument(
        None, help="Model string, such as chgnet or mace-medium.", autocompletion=complete_models
    ),
    structure: Path = typer.Option(
        ..., "--structure", help="Species, in the server's order: any file that ASE reads."
    ),
    socket: Optional[Path] = typer.Option(None, help="Path of the server's Unix socket."),
    unix: Optional[str] = typer.Option(None, help="Name of a Unix socket: /tmp/ipi_NAME."),
    host: Optional[str] = typer.Option(None, help="The server's host; by default this machine."),
    port: Optional[int] = typer.Option(None, help="The server's TCP port."),
    count: int = typer.Option(1, help="Number of workers, each a separate client."),
    wait: Optional[float] = typer.Option(None, help="Seconds to wait for the server."),
    reconnect: bool = typer.Option(False, help="Wait for the server again when it ends."),
    extras: bool = typer.Option(True, help="Send results beyond energy, forces and stress."),
    committee: Optional[str] = typer.Option(
        None,
        metavar="MODEL,MODEL,...",
        help="Models that form a committee, instead of MODEL.",
        show_default=False,
    ),
    environment: Optional[Path] = EnvironmentOption,
    device: str = DeviceOption,
    threads: Optional[int] = ThreadsOption,
    setup: Optional[list[str]] = SetupOption,
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    traceback: bool = TracebackOption,
    as_json: bool = JsonOption,
) -> None:
    """Let i-PI, ASE's SocketIOCalculator or another i-PI server drive a model.

    Waits for a server that is not up yet; ends with the server, or at Ctrl-C.
    """
    with reporting_errors(traceback=traceback), stopping_at_sigterm():
        from ..evaluation.frames import StructureFiles
        from ..ipi.driver import serve

        ((_, atoms),) = StructureFiles([structure], "-1")
        arguments = model_arguments(root, cluster, environment, device, threads, setup)
        served = _served(model, committee, arguments)
        with _watching(as_json) as watch:
            statuses = serve(
                served,
                atoms,
                socket=socket,
                unix=unix,
                host=host,
                port=port,
                count=count,
                wait=wait,
                reconnect=reconnect,
                extras=extras,
                watch=watch,
            )
            watch(statuses)


def _served(
    model: Optional[str], committee: Optional[str], arguments: dict[str, Any]
) -> ServedModel:
    if (model is None) == (committee is None):
        msg = "give a model or --committee MODEL,MODEL,..., not both or neither"
        raise ConfigurationError(msg)
    if committee is None:
        from ..calculator import RootstockCalculator

        return RootstockCalculator(model, **arguments)
    from ..committee.calculator import Committee
    from ..committee.serving import ServedCommittee

    return ServedCommittee(Committee([name.strip() for name in committee.split(",")], **arguments))


def _watching(as_json: bool) -> Any:
    if as_json or not sys.stdout.isatty():
        return _Lines(as_json)
    return _Screen()


class _Lines:
    """Prints a line for each worker when a state changes, and every 30 seconds."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._states: tuple[str, ...] = ()
        self._last = 0.0

    def __enter__(self) -> Callable[[tuple[WorkerStatus, ...]], None]:
        return self._show

    def __exit__(self, *exc_info: object) -> None:
        """Do nothing: there is nothing to close."""

    def _show(self, clients: tuple[WorkerStatus, ...]) -> None:
        states = tuple(client.state for client in clients)
        if states == self._states and time.monotonic() - self._last < _PAUSE:
            return
        self._states, self._last = states, time.monotonic()
        if self._as_json:
            typer.echo(json.dumps({"clients": [dataclasses.asdict(c) for c in clients]}))
        else:
            for client in clients:
                typer.echo(_line(client))
        sys.stdout.flush()


class _Screen:
    """Updates a line for each worker on a terminal."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(refresh_per_second=4)

    def __enter__(self) -> Callable[[tuple[WorkerStatus, ...]], None]:
        self._live.start()
        return lambda clients: self._live.update("\n".join(map(_line, clients)))

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()


def _line(client: WorkerStatus) -> str:
    rate = f", {client.steps_per_second:.1f} steps/s" if client.state == "connected" else ""
    return f"worker {client.number}: {client.state}, {client.steps} steps{rate}"
