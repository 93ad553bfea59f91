"""``runner calibrate``: an interleaved experiment on one tree."""

from typing import TYPE_CHECKING, Annotated, Any

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


@options.job_options("patterns", "excludes", "ignore_case", "track", "one_file_system", "timeout")
def calibrate(
    directory: options.Directory,
    rounds: Annotated[
        int | None,
        typer.Option(
            "--rounds",
            "-r",
            min=1,
            max=1000,
            help=f"Number of rounds, default {_ROUNDS}; intervals need 4.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-w", min=1, max=64, help="Number of CPUs, default all usable ones.", show_default=False
        ),
    ] = None,
    last: Annotated[  # noqa: FBT002  a flag
        bool, typer.Option("--last", help="Show the last calibration of DIR without measuring.")
    ] = False,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
    **given: Any,
) -> None:
    """Measure which number of workers and start method scan DIR fastest, and from which size a pool is faster.

    Each round measures sequential, pools of one worker up to two per CPU, every start method, and subtrees of falling
    sizes, interleaved. It measures sequential twice to show the noise; smaller differences are not detectable.
    Complete rounds are saved. The default pattern is *.md. The formats jsonl and csv list the measurements.

    [bold]Examples[/bold]

    runner calibrate ./directories

    runner calibrate /srv/docs --rounds 20 --track names

    runner calibrate /srv/docs --last --format json
    """
    from runner.cli.logs import warn_on_stderr
    from runner.cli.output import emit
    from runner.jobs.options import apply_options
    from runner.jobs.validation import check_root, check_selection, to_root
    from runner.jobs.warnings import find_selection_warnings
    from runner.measure.leftovers import remove_leftovers
    from runner.model.errors import UsageError
    from runner.model.jobs import JobSpec, Selection
    from runner.output.calibration import MEASUREMENT_KEYS, calibration_record, calibration_view, measurement_record

    if last and any(choice is not None for choice in (rounds, workers, *given.values())):
        raise UsageError("--last shows the last calibration; leave out the options that say how to measure")
    spec = apply_options(JobSpec(name="", root=b""), given)
    selection, timeout_s = check_selection(spec.selection), spec.timeout_s
    warn_on_stderr()
    root = to_root(directory) if last else check_root(directory, timeout_s)
    if not last:
        remove_leftovers()  # first, since a leftover process may hold locks
    with options.opened(db, creating=not last) as (database, settings):
        if last:
            calibration = _get_last(database, root, directory)
        else:
            calibration = _measure(database, root, selection, rounds, workers, settings.start_method, timeout_s)
    emit(
        fmt,
        lambda: [calibration_view(calibration)],
        (measurement_record(calibration, one) for one in calibration.measurements),
        columns=MEASUREMENT_KEYS,
        document=lambda: calibration_record(calibration),
    )
    options.echo_warnings(find_selection_warnings(selection, root, Selection()))


def _get_last(database: "Database", root: bytes, directory: str) -> "Calibration":
    from runner.history.calibrations import find_last_calibration
    from runner.model.errors import Unknown

    with database.view() as view:
        calibration = find_last_calibration(view, root)
    if calibration is None:
        raise Unknown(f"{directory!r} was never calibrated; leave out --last to calibrate it now")
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
        with shown_rounds(Interrupt(database)) as (observer, on_total):
            return measure(
                database,
                root,
                selection,
                cpus=workers or usable_cpus(),
                start_method=start_method or DEFAULT_START_METHOD,
                rounds=rounds or _ROUNDS,
                observer=observer,
                timeout_s=timeout_s,
                on_total=on_total,
            )
    except Stopped as stopped:
        typer.echo(f"{stopped}", err=True)
        raise KeyboardInterrupt from None
