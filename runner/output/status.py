"""The answer of ``status``: the daemon, running runs and the next fire time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import RenderableType

from runner.history.daemons import DaemonRecord, DaemonState
from runner.model.runs import Run
from runner.model.units import format_count, format_seconds
from runner.output import cells
from runner.output.cells import Cell
from runner.output.grid import key_values
from runner.output.records import Record, plain
from runner.output.text import printable

_CURE = "start one with `runner daemon`"


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """The state of a database and its daemon."""

    daemon: DaemonRecord | None  # the running daemon, or the last one
    state: DaemonState | None  # None if there has never been one
    blocker: str | None = None  # the owner of a lock that its runs wait for
    database: str  # where it is
    running: Sequence[Run]
    calibrated: Sequence[bytes]  # the roots of running calibrations
    coming: tuple[datetime, str] | None  # the next fire time and the name of its job
    lateness_s: Sequence[float]  # of the scheduled runs of the last day after their fire times

    @property
    def alive(self) -> bool:
        """Whether the daemon is alive."""
        return self.state is DaemonState.ALIVE


def status_record(situation: Situation) -> Record:
    """Return the record of a situation."""
    daemon, coming = situation.daemon, situation.coming
    record = {
        "alive": situation.alive,
        "state": situation.state,
        "database": situation.database,
        "host": daemon and daemon.owner.host,
        "pid": daemon and daemon.owner.pid,
        "started_at": daemon and daemon.started_at,
        "heartbeat_at": daemon and daemon.heartbeat_at,
        "stopped_at": daemon and daemon.stopped_at,
        "running": [run.run_id for run in situation.running],
        "next_job": coming and coming[1],
        "next_at": coming and coming[0],
        "lateness_s": _percentiles(situation.lateness_s),
        "waiting_for": situation.blocker,
        "calibrated": situation.calibrated,
    }
    return {key: plain(value) for key, value in record.items()}


def status_view(situation: Situation, *, now: datetime) -> RenderableType:
    """Render a situation."""
    daemon, coming = situation.daemon, situation.coming
    going = [f"run {run.run_id} of {printable(run.job)}" for run in situation.running]
    going += [f"a calibration of {printable(root)}" for root in situation.calibrated]
    state, obstacle = _describe(situation, now)
    pairs: list[tuple[str, Any]] = [("daemon", state)]
    if daemon is not None and situation.alive:
        pairs.append(("started", cells.relative(daemon.started_at, now)))
    if situation.blocker is not None:
        pairs.append(("waits for", Cell(printable(situation.blocker), "yellow")))
    pairs += [("running", ", ".join(going) or "nothing")]
    if coming is not None:
        next_firing = f"{printable(coming[1])} at {coming[0].astimezone():%Y-%m-%d %H:%M:%S %Z}"
        pairs.append(("next", Cell(f"{next_firing}; {obstacle}", "yellow") if obstacle else next_firing))
    if late := _percentiles(situation.lateness_s):
        shown = ", ".join(f"{name} {format_seconds(late[name])}" for name in ("p50", "p95", "p99", "max"))
        pairs.append(("lateness", f"{shown} of {format_count(len(situation.lateness_s), 'firing')} within a day"))
    return key_values([*pairs, ("database", printable(situation.database))])


def _describe(situation: Situation, now: datetime) -> tuple[Cell, str]:
    """Return the state of the daemon, and why the next fire time may pass, if it may."""
    daemon, nothing_fires = situation.daemon, "nothing fires until a daemon runs"
    if daemon is None:
        return Cell(f"none has run yet; {_CURE}", "yellow"), nothing_fires
    process = f"process {daemon.owner.pid} on {daemon.owner.host}"
    heartbeat = cells.relative(daemon.heartbeat_at, now)
    if situation.blocker is not None:
        return Cell(f"waiting: {process} can start no run", "yellow"), "its run will wait for the lock"
    if situation.alive:
        return Cell(f"alive: {process}", "green"), ""
    if situation.state is DaemonState.SILENT:
        state = Cell(f"silent: {process} had its last heartbeat {heartbeat}", "red")
        return state, "it may not fire while the daemon is silent"
    if daemon.stopped_at is not None:
        stopped = cells.relative(daemon.stopped_at, now)
        return Cell(f"not running: stopped {stopped}; {_CURE}", "yellow"), nothing_fires
    return Cell(f"not running: died; last heartbeat {heartbeat}; {_CURE}", "red"), nothing_fires


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return the number of values, percentiles that are observed values, and the largest; None without any."""
    if not values:
        return None
    ordered = sorted(values)
    nearest = {f"p{percent}": ordered[math.ceil(len(ordered) * percent / 100) - 1] for percent in (50, 95, 99)}
    return {"count": len(ordered), **nearest, "max": ordered[-1]}
