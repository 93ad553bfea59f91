"""``runner web`` and ``report``: the pages in a browser, and in one file."""

import os
import re
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from runner.cli import logs, options, settings
from runner.history import database as databases
from runner.history import jobs, time_range
from runner.model.errors import RunnerError, UsageError, is_condition, reason_of
from runner.model.file_replacement import replace_file
from runner.output.text import harmless
from runner.web import report as reports
from runner.web import server, site, sockets


def web(
    *,
    host: Annotated[str, options.option("The address to listen on.", metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, options.option("The port; 0 for any free one.", least=0, most=65_535)] = 8321,
    open_browser: Annotated[bool, options.option("Open the pages in a browser.", "--open")] = False,
    allow_actions: Annotated[
        bool, options.option("Allow pages to run, cancel, pause and resume jobs.", "--allow-actions")
    ] = False,
    allow_host: Annotated[
        list[str] | None, options.option("Another name of this server, for a proxy. Repeatable.", metavar="NAME")
    ] = None,
    root_path: Annotated[str, options.option("The path under which a proxy shows the pages.", metavar="/PATH")] = "",
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
    db: options.Db = None,
) -> None:
    """Show jobs, runs, files, changes and trends as web pages, until ^C.

    The pages are read-only unless --allow-actions is given. On an address that other machines reach, a browser has to
    present the token in the printed address once.

    [bold]Examples[/bold]

    runner web --open

    runner web --port 8080 --allow-actions
    """
    options.require_extra("jinja2", "starlette", "uvicorn")
    logs.log_to_stderr("text")
    chosen = settings.load_settings(db)
    settings.choose_database(db)  # for the runs that pages start
    _check(root_path, [host, *(allow_host or ())])
    if until_eof:
        threading.Thread(target=_end_with_input, name="input", daemon=True).start()
    with sockets.listen(host, port) as listener:
        token = "" if sockets.is_loopback(listener) else server.new_token()
        chosen_options = site.Options(
            allow_actions=allow_actions,
            hosts=(host, *(allow_host or ())),
            token=token,
            port=listener.getsockname()[1],
            root_path=root_path.rstrip("/"),
        )
        serve(chosen.db, chosen_options, host, listener, open_browser=open_browser)


def _end_with_input() -> None:
    """End this process when standard input ends, which the daemon that started it holds."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _check(root_path: str, hosts: Iterable[str]) -> None:
    if root_path and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", root_path):
        raise UsageError(f"the root path {root_path!r} is not a path of letters and digits; write it like /runner")
    for name in hosts:
        if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:]+", name):
            raise UsageError(f"the host {name!r} is not a name alone; write it like runner.example.org, without a port")


def serve(db: str, chosen: site.Options, host: str, listener: socket.socket, *, open_browser: bool) -> None:
    """Print the address of the pages, open it in a browser, and serve them until ^C."""
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{chosen.port}/" + (f"?token={chosen.token}" if chosen.token else "")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # Uvicorn raises it again when it has stopped
    with closing(site.Site(databases.locate(db), chosen)) as opened:
        options.echo(f"serving {address} (^C ends it)")
        if open_browser:
            webbrowser.open(address)
        server.serve(opened, listener)


def report(
    job: Annotated[
        list[str] | None, options.argument("[JOB]...", "Names or numbers of jobs, default all.", options.complete_job)
    ] = None,
    *,
    tag: options.Tag = None,
    output: Annotated[
        str | None, options.option("The file to write or replace; - for stdout.", "--output", "-o", metavar="FILE")
    ] = None,
    since: Annotated[str | None, options.when("Only runs from this instant on, or from 90d ago.")] = None,
    db: options.Db = None,
) -> None:
    """Write a report about jobs as one HTML file, which needs no server and no network.

    It contains for each job the verdict, plots, steps and drift, what did not run, the changes over time, and the last
    runs. It can be mailed and printed. An existing file is replaced as a whole.

    [bold]Examples[/bold]

    runner report --output report.html

    runner report docs --since 90d --output docs.html
    """
    options.require_extra("jinja2")
    if output is None and sys.stdout.isatty():
        raise UsageError("a report is not for a terminal; give --output report.html, or - for stdout")
    now = datetime.now(UTC)
    start, _ = time_range.parse_time_range(since, None, now)
    with options.answering(db) as view:
        options.require(view)
        names: list[str | None] = [*job] if job else [None]
        chosen = [one for name in names for one in jobs.list_chosen_jobs(view, name, tag, removed=True)]
        content = reports.render_report(view, chosen, now, start).encode()
    if output in {None, "-"}:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        _write_report(Path(str(output)), content)


def _write_report(path: Path, content: bytes) -> None:
    try:
        if path.is_dir():
            raise UsageError(f"{str(path)!r} is a directory; name a file in it")
        if path.is_symlink() or (path.exists() and not path.is_file()):  # a device, or /dev/stdout
            raise UsageError(f"{str(path)!r} is not a regular file; name another, or - for stdout")
        replace_file(path, content, durable=False, mode=0o600)  # like the database
    except OSError as error:
        kind = RunnerError if is_condition(error) else UsageError
        raise kind(f"can't write {str(path)!r}: {reason_of(error)}; name another file with --output") from error
    options.echo(harmless(f"wrote {path}"))
