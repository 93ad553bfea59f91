"""``runner calibrate``: an interleaved experiment on one tree."""

from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli import options
from runner.cli.interrupt import Interrupt

if TYPE_CHECKING:
    from runner.history.database import Database
    from runner.model.calibration import Calibration
    from runner.model.jobs import Selection

_ROUNDS = 8


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(rich_help_panel=options.ASKING)(calibrate)


def calibrate(
    directory: options.Directory,
    rounds: Annotated[
        int | None,
        typer.Option(
            "--rounds",
            "-r",
            min=1,
            max=1000,
            help=f"How often everything is measured, else {_ROUNDS}; 4 give intervals.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-w", min=1, max=64, help="CPUs to reckon with; else those usable.", show_default=False
        ),
    ] = None,
    pattern: options.Pattern = None,
    exclude: options.Exclude = None,
    ignore_case: options.IgnoreCase = None,
    track: options.TrackOption = None,
    one_file_system: options.OneFileSystem = None,
    timeout: options.Timeout = None,
    last: Annotated[  # noqa: FBT002  a flag
        bool, typer.Option("--last", help="Show the last calibration of DIR; measure nothing.")
    ] = False,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """Measure what scans DIR fastest: how many workers, started how, and from which size on a pool pays.

    Sequential, pools of one worker up to two for each CPU, every start method, and subtrees of falling sizes are
    measured in interleaved rounds. Sequential is measured twice in each, so that the noise is known: smaller
    differences say nothing. Every complete round is kept. What
    it finds is *.md, with sizes and times, unless told. The formats jsonl and csv list the measurements.

    [bold]Examples[/bold]

    runner calibrate ./directories

    runner calibrate /srv/docs --rounds 20 --track names

    runner calibrate /srv/docs --last --format json
    """
    from runner.cli.choices import choose_selection, parse_timeout
    from runner.cli.logs import warn_on_stderr
    from runner.jobs.selection_warnings import find_selection_warnings
    from runner.jobs.validation import check_root, check_selection, to_root
    from runner.measure.leftovers import remove_leftovers
    from runner.model.errors import UsageError
    from runner.model.jobs import Selection

    choices = (rounds, workers, pattern, exclude, ignore_case, track, one_file_system, timeout)
    if last and any(choice is not None for choice in choices):
        raise UsageError("--last shows what was measured; leave out what says how to measure")
    chosen = choose_selection(
        Selection(),
        pattern=pattern,
        exclude=exclude,
        ignore_case=ignore_case,
        track=track,
        one_file_system=one_file_system,
    )
    selection = check_selection(chosen)
    timeout_s = parse_timeout(timeout or "none")
    warn_on_stderr()
    root = to_root(directory) if last else check_root(directory, timeout_s)
    if not last:
        remove_leftovers()  # first: a process that is left may hold locks
    with options.opened(db, creating=not last) as (database, settings):
        if last:
            calibration = _get_last(database, root, directory)
        else:
            calibration = _measure(database, root, selection, rounds, workers, settings.start_method, timeout_s)
    _write(calibration, fmt)
    for text in find_selection_warnings(selection, root, Selection()):
        typer.echo(f"warning: {text}", err=True)


def _get_last(database: "Database", root: bytes, directory: str) -> "Calibration":
    from runner.history.calibrations import find_last_calibration
    from runner.model.errors import Unknown

    with database.view() as view:
        calibration = find_last_calibration(view, root)
    if calibration is None:
        raise Unknown(f"{directory!r} was never calibrated; leave out --last to do so now")
    return calibration


def _measure(
    database: "Database",
    root: bytes,
    selection: "Selection",
    rounds: int | None,
    workers: int | None,
    start_method: str | None,
    timeout_s: int | None,
) -> "Calibration":
    from runner.cli.progress import shown_rounds
    from runner.execution.calibration import calibrate as measure
    from runner.execution.locks import Stopped
    from runner.measure.environment import DEFAULT_START_METHOD, usable_cpus

    try:
        with shown_rounds(Interrupt(database)) as (watching, on_total):
            return measure(
                database,
                root,
                selection,
                cpus=workers or usable_cpus(),
                start_method=start_method or DEFAULT_START_METHOD,
                rounds=rounds or _ROUNDS,
                watching=watching,
                timeout_s=timeout_s,
                on_total=on_total,
            )
    except Stopped as stopped:
        typer.echo(f"{stopped}", err=True)
        raise KeyboardInterrupt from None


def _write(calibration: "Calibration", fmt: options.FormatName) -> None:
    from runner.cli.output import write_document, write_records, write_table
    from runner.output.calibration import MEASUREMENT_KEYS, calibration_record, calibration_view, measurement_record

    if fmt == "table":
        write_table(calibration_view(calibration))
    elif fmt == "json":
        write_document(calibration_record(calibration), fmt)
    else:
        records = (measurement_record(calibration, one) for one in calibration.measurements)
        write_records(records, fmt, columns=MEASUREMENT_KEYS)
