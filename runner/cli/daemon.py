"""``runner daemon`` and ``runner status``."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli import options
from runner.output.logs import LogFormat

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from runner.cli.settings import Settings
    from runner.daemon.settings import DaemonSettings
    from runner.history.prune import Retention

# The percentiles of lateness are computed from at most this number of newest runs.
_MOST_LATENESS = 10_000


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (daemon, status):
        app.command(rich_help_panel=options.RUNNING)(command)


def daemon(
    log_format: Annotated[
        LogFormat | None, typer.Option(help="Format of the log, default text.", show_default=False)
    ] = None,
    metrics_file: Annotated[
        str | None, typer.Option(metavar="PATH", help="Write metrics for Prometheus to this file.", show_default=False)
    ] = None,
    db: options.Db = None,
) -> None:
    """Run the jobs at their fire times, in the foreground, until SIGTERM or ^C.

    The daemon follows changes to jobs within two seconds. When it is stopped, a running run has five seconds to finish;
    a second signal ends the run at once. If something does not answer, such as the database, the daemon exits with 1:
    45 seconds after the first signal, five after the second. On SIGHUP it loads the settings again; another database,
    log format or metrics file takes effect at the next start.

    [bold]Example[/bold]

    runner daemon --log-format json --metrics-file /var/lib/prometheus/node-exporter/runner.prom
    """
    from runner.cli.logs import log_to_stderr
    from runner.cli.settings import load_settings
    from runner.daemon.daemon import Daemon
    from runner.measure.leftovers import remove_leftovers
    from runner.operations.metrics_writer import MetricsWriter
    from runner.operations.service_notifier import ServiceNotifier
    from runner.output.records import show_record

    settings = load_settings(db)
    log_to_stderr(log_format or LogFormat(settings.log_format))
    service = ServiceNotifier.from_environment(os.environ)
    path = settings.metrics_file if metrics_file is None else metrics_file
    remove_leftovers()  # first, since a leftover process may hold locks
    with options.opened(db, creating=True) as (database, _):
        metrics = MetricsWriter(database, path) if path or metrics_file is not None else None
        Daemon(database, lambda: _choices(load_settings(db)), show_record, service, metrics).run()
        _ignore_signals()


def _ignore_signals() -> None:
    """Ignore further signals, which could kill the process while Python removes its handlers at exit."""
    import signal

    sys.unraisablehook = _report_unless_late
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _report_unless_late(unraisable: "sys.UnraisableHookArgs") -> None:
    """Report an unraisable error, except a signal that arrived while its handler was being replaced."""
    # CPython has no other way to ignore a signal that is already noted: signalmodule.c, _PyErr_CheckSignalsTstate.
    if not str(unraisable.exc_value).endswith("ignored due to race condition"):
        sys.__unraisablehook__(unraisable)


def _choices(settings: "Settings") -> "DaemonSettings":
    from runner.daemon.settings import DaemonSettings
    from runner.measure.environment import DEFAULT_START_METHOD

    return DaemonSettings(
        start_method=settings.start_method or DEFAULT_START_METHOD,
        at_once=settings.runs_at_once,
        retention=_retention(settings),
    )


def _retention(settings: "Settings") -> "Callable[[datetime], Retention] | None":
    """Return the function that computes the retention at an instant; None if all runs are kept."""
    from datetime import timedelta

    from runner.history.prune import Retention
    from runner.model.units import parse_duration

    if not settings.retain_for and not settings.retain_runs:
        return None
    age_s = parse_duration(settings.retain_for) if settings.retain_for else None

    def at(now: "datetime") -> Retention:
        since = None if age_s is None else now - timedelta(seconds=age_s)
        return Retention(since=since, newest=settings.retain_runs or None, failures=settings.retain_failures)

    return at


def status(fmt: options.FormatOption = "table", db: options.Db = None) -> None:
    """Show whether a daemon is alive, its running runs and the next fire time. Exits with 1 if none is alive.

    A daemon without a heartbeat for a minute is not alive. The lateness of a run is the time from its fire time to its
    start, including the wait for other runs.

    [bold]Example[/bold]

    runner status && echo alive
    """
    from datetime import UTC, datetime, timedelta

    from runner.cli.output import emit
    from runner.cli.upcoming import next_firing
    from runner.history.calibrations import list_calibrated_now
    from runner.history.daemons import DaemonState, find_daemon, state_of
    from runner.history.jobs import list_jobs
    from runner.history.maintenance import find_blocker
    from runner.history.runs import list_lateness, list_runs
    from runner.model.runs import Status
    from runner.output.status import Situation, status_record, status_view

    now = datetime.now(UTC)
    with options.answering(db, recovering=True) as view:
        known = find_daemon(view)
        calibrated = list(list_calibrated_now(view).values())
        running = list_runs(view, statuses=[Status.RUNNING])
        jobs = list_jobs(view)
        lateness_s = list_lateness(view, now - timedelta(days=1), _MOST_LATENESS)
        where = str(view.location)
        state = None if known is None else state_of(known, now)
        blocker = find_blocker(view, known.owner.pid) if known and state is DaemonState.ALIVE else None
        options.warn_of_readers(view)
    coming = [(at, job.spec.name) for job in jobs if (at := next_firing(job, now)) is not None]
    situation = Situation(
        daemon=known,
        state=state,
        blocker=blocker,
        database=where,
        running=running,
        calibrated=calibrated,
        coming=min(coming, default=None),
        lateness_s=lateness_s,
    )
    emit(fmt, lambda: [status_view(situation, now=now)], document=lambda: status_record(situation))
    if not situation.alive:
        raise typer.Exit(1)
