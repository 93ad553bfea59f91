"""``runner daemon`` and ``runner status``."""

import gc
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Literal

import typer

from runner.cli import logs, options, output, settings, upcoming
from runner.daemon import daemon as daemons
from runner.daemon import settings as daemon_settings
from runner.history import calibrations, jobs, maintenance, prune, runs
from runner.history import daemons as stored_daemons
from runner.measure import environment, leftovers
from runner.model.runs import Status
from runner.model.units import parse_duration
from runner.operations import metrics_writer, service_notifier, web_process
from runner.output import formats
from runner.output import status as rendering
from runner.web import sockets

# The percentiles of lateness are computed from at most this number of newest runs.
_MOST_LATENESS = 10_000


def daemon(
    *,
    log_format: Annotated[Literal["text", "json"] | None, options.option("Format of the log, default text.")] = None,
    metrics_file: Annotated[
        str | None, options.option("Write metrics for Prometheus to this file.", metavar="PATH")
    ] = None,
    web: Annotated[
        int | None,
        options.option("Show the web pages on this port of this machine.", metavar="PORT", least=1, most=65_535),
    ] = None,
    db: options.Db = None,
) -> None:
    """Run the jobs at their fire times, in the foreground, until SIGTERM or ^C.

    The daemon follows changes to jobs within two seconds. When it is stopped, a running run has five seconds to finish;
    a second signal ends the run at once. If something does not answer, such as the database, the daemon exits with 1:
    45 seconds after the first signal, five after the second. On SIGHUP it loads the settings again; another database,
    log format or metrics file takes effect at the next start. The web pages of --web are read-only, and served by a
    process of their own: see `runner web`.

    [bold]Examples[/bold]

    runner daemon --web 8321

    runner daemon --log-format json --metrics-file /var/lib/prometheus/node-exporter/runner.prom
    """
    gc.set_threshold(700)  # Python's own, which __main__ has raised for short commands
    chosen = settings.load_settings(db)
    logs.log_to_stderr(log_format or chosen.log_format)
    pages = None if web is None else _web_process(web, db)
    service = service_notifier.ServiceNotifier.from_environment(os.environ)
    path = chosen.metrics_file if metrics_file is None else metrics_file
    leftovers.remove_leftovers()  # first, since a leftover process may hold locks
    with options.opened(db, creating=True) as (database, _):
        writer = None
        if path or metrics_file is not None:
            writer = metrics_writer.MetricsWriter(database, path)
        daemons.Daemon(
            database, lambda: _daemon_settings(settings.load_settings(db)), formats.event_text, service, writer, pages
        ).run()
        _ignore_signals()


def _web_process(port: int, db: str | None) -> "web_process.WebProcess":
    """Return the process of the web pages, after a check that it can listen."""
    options.require_extra("jinja2", "starlette", "uvicorn")
    sockets.listen("127.0.0.1", port).close()
    settings.choose_database(db)
    return web_process.WebProcess(port)


def _ignore_signals() -> None:
    """Ignore further signals, which could kill the process while Python removes its handlers at exit."""
    sys.unraisablehook = _report_unless_late
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _report_unless_late(unraisable: "sys.UnraisableHookArgs") -> None:
    """Report an unraisable error, except a signal that arrived while its handler was being replaced."""
    # CPython has no other way to ignore a signal that is already noted: signalmodule.c, _PyErr_CheckSignalsTstate.
    if not str(unraisable.exc_value).endswith("ignored due to race condition"):
        sys.__unraisablehook__(unraisable)


def _daemon_settings(chosen: "settings.Settings") -> "daemon_settings.DaemonSettings":
    return daemon_settings.DaemonSettings(
        start_method=chosen.start_method or environment.DEFAULT_START_METHOD,
        cluster=chosen.cluster,
        at_once=chosen.runs_at_once,
        retention=partial(_retention, chosen) if chosen.retain_for or chosen.retain_runs else None,
    )


def _retention(chosen: "settings.Settings", now: datetime) -> "prune.Retention":
    since = now - timedelta(seconds=parse_duration(chosen.retain_for)) if chosen.retain_for else None
    return prune.Retention(since=since, newest=chosen.retain_runs or None, failures=chosen.retain_failures)


def status(*, fmt: options.FormatOption = "table", db: options.Db = None) -> None:
    """Show whether a daemon is alive, its running runs and the next fire time. Exits with 1 if none is alive.

    A daemon without a heartbeat for a minute is not alive. The lateness of a run is the time from its fire time to its
    start, including the wait for other runs.

    [bold]Example[/bold]

    runner status && echo alive
    """
    now = datetime.now(UTC)
    with options.answering(db, recovering=True) as view:
        known = stored_daemons.find_daemon(view)
        state = None if known is None else stored_daemons.state_of(known, now)
        alive = known is not None and state is stored_daemons.DaemonState.ALIVE
        firings = [(upcoming.next_firing(job, now), job.spec.name) for job in jobs.list_jobs(view)]
        situation = rendering.Situation(
            daemon=known,
            state=state,
            blocker=maintenance.find_blocker(view, known.owner.pid) if known and alive else None,
            database=str(view.location),
            running=runs.list_runs(view, statuses=[Status.RUNNING]),
            calibrated=list(calibrations.list_calibrated_now(view).values()),
            coming=min(((at, name) for at, name in firings if at is not None), default=None),
            lateness_s=runs.list_lateness(view, now - timedelta(days=1), _MOST_LATENESS),
        )
        options.echo_notes([view.location.find_reader_warning()])
    output.emit(
        fmt, lambda: [rendering.status_view(situation, now=now)], document=lambda: rendering.status_record(situation)
    )
    if not situation.alive:
        raise typer.Exit(1)
