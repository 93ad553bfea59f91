"""The answer of ``status``: the daemon, running runs and the next fire time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import RenderableType

from runner.history.daemons import DaemonRecord, DaemonState
from runner.model.runs import Run
from runner.model.units import format_count, format_seconds
from runner.output.cells import relative
from runner.output.grid import Cell
from runner.output.records import Record, plain
from runner.output.tables import key_values
from runner.output.text import printable

_CURE = "start one with `runner daemon`"


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """The state of a database and its daemon.

    Attributes:
        daemon: The running daemon, or the last one.
        state: Its state; None if there has never been one.
        blocker: The owner of a lock that its runs wait for; None if there is none.
        database: Where the database is.
        running: The running runs.
        calibrated: The roots of running calibrations.
        coming: The next fire time and the name of its job.
        lateness_s: By how many seconds the scheduled runs of the last day started after their fire times.
    """

    daemon: DaemonRecord | None
    state: DaemonState | None
    blocker: str | None = None
    database: str
    running: Sequence[Run]
    calibrated: Sequence[bytes]
    coming: tuple[datetime, str] | None
    lateness_s: Sequence[float]

    @property
    def alive(self) -> bool:
        """Whether the daemon is alive."""
        return self.state is DaemonState.ALIVE


def status_record(situation: Situation) -> Record:
    """Return the record of a situation."""
    daemon, coming = situation.daemon, situation.coming
    return {
        "alive": situation.alive,
        "state": situation.state,
        "database": situation.database,
        "host": daemon.owner.host if daemon else None,
        "pid": daemon.owner.pid if daemon else None,
        "started_at": plain(daemon and daemon.started_at),
        "heartbeat_at": plain(daemon and daemon.heartbeat_at),
        "stopped_at": plain(daemon and daemon.stopped_at),
        "running": [run.run_id for run in situation.running],
        "next_job": coming[1] if coming else None,
        "next_at": plain(coming and coming[0]),
        "lateness_s": _percentiles(situation.lateness_s),
        "waiting_for": situation.blocker,
        "calibrated": plain(situation.calibrated),
    }


def status_view(situation: Situation, *, now: datetime) -> RenderableType:
    """Render a situation."""
    daemon, coming = situation.daemon, situation.coming
    if daemon is None:
        state = Cell(f"none has run yet; {_CURE}", "yellow")
    elif situation.blocker is not None:
        state = Cell(f"waiting: process {daemon.owner.pid} on {daemon.owner.host} can start no run", "yellow")
    elif situation.alive:
        state = Cell(f"alive: process {daemon.owner.pid} on {daemon.owner.host}", "green")
    elif situation.state is DaemonState.SILENT:
        last = relative(daemon.heartbeat_at, now)
        state = Cell(f"silent: process {daemon.owner.pid} on {daemon.owner.host} had its last heartbeat {last}", "red")
    elif daemon.stopped_at is not None:
        state = Cell(f"not running: stopped {relative(daemon.stopped_at, now)}; {_CURE}", "yellow")
    else:
        state = Cell(f"not running: died; last heartbeat {relative(daemon.heartbeat_at, now)}; {_CURE}", "red")
    going = [f"run {run.run_id} of {printable(run.job)}" for run in situation.running]
    going += [f"a calibration of {printable(root)}" for root in situation.calibrated]
    pairs: list[tuple[str, str | Cell]] = [("daemon", state)]
    if daemon is not None and situation.alive:
        pairs.append(("started", relative(daemon.started_at, now)))
    if situation.blocker is not None:
        pairs.append(("waits for", Cell(printable(situation.blocker), "yellow")))
    pairs += [("running", ", ".join(going) or "nothing")]
    if coming is not None:
        next_firing = f"{printable(coming[1])} at {coming[0].astimezone():%Y-%m-%d %H:%M:%S %Z}"
        fires = situation.alive and situation.blocker is None
        pairs.append(("next", next_firing if fires else Cell(f"{next_firing}; {_obstacle(situation)}", "yellow")))
    if late := _percentiles(situation.lateness_s):
        shown = ", ".join(f"{name} {format_seconds(late[name])}" for name in ("p50", "p95", "p99", "max"))
        pairs.append(("lateness", f"{shown} of {format_count(len(situation.lateness_s), 'firing')} within a day"))
    pairs.append(("database", printable(situation.database)))
    return key_values(pairs)


def _obstacle(situation: Situation) -> str:
    """Return why the next fire time may pass."""
    if situation.blocker is not None:
        return "its run will wait for the lock"
    if situation.state is DaemonState.SILENT:
        return "it may not fire while the daemon is silent"
    return "nothing fires until a daemon runs"


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return the number of values, percentiles that are observed values, and the largest; None without any."""
    if not values:
        return None
    ordered = sorted(values)
    nearest = {f"p{percent}": ordered[math.ceil(len(ordered) * percent / 100) - 1] for percent in (50, 95, 99)}
    return {"count": len(ordered), **nearest, "max": ordered[-1]}
