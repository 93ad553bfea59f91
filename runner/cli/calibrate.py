"""``runner calibrate``: an interleaved experiment on one tree."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from runner.cli import foreground, logs, options, output
from runner.execution import calibration as experiment
from runner.execution import locks
from runner.history import calibrations, database
from runner.jobs import options as declared
from runner.jobs import validation, warnings
from runner.measure import environment, leftovers
from runner.model.calibration import Calibration
from runner.model.errors import Unknown, UsageError
from runner.model.jobs import JobSpec, Selection
from runner.output import calibration as rendering
from runner.strategies import dask

_ROUNDS = 8


@options.job_options("patterns", "excludes", "ignore_case", "track", "one_file_system", "timeout")
def calibrate(
    directory: options.Directory,
    *,
    rounds: Annotated[
        int | None,
        options.option(f"Number of rounds, default {_ROUNDS}; intervals need 4.", "--rounds", "-r", least=1, most=1000),
    ] = None,
    workers: Annotated[
        int | None, options.option("Number of CPUs, default all usable ones.", "--workers", "-w", least=1, most=64)
    ] = None,
    strategy: Annotated[list[str] | None, typer.Option("--strategy", "-s", hidden=True)] = None,
    last: Annotated[bool, options.option("Show the last calibration of DIR without measuring.", "--last")] = False,
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
    _check_options(strategy, rounds, workers, *given.values(), last=last)
    spec = declared.apply_options(JobSpec(name="", root=b""), given)
    selection = validation.check_selection(spec.selection)
    logs.warn_on_stderr()
    root = validation.to_root(directory) if last else validation.check_root(directory, spec.timeout_s)
    if not last:
        leftovers.remove_leftovers()  # first, since a leftover process may hold locks
    with options.opened(db, creating=not last) as (database, settings):
        if last:
            calibration = _get_last(database, root, directory)
        else:
            calibration = _measure(
                database,
                root,
                selection,
                cpus=workers or environment.usable_cpus(),
                start_method=settings.start_method or environment.DEFAULT_START_METHOD,
                rounds=rounds or _ROUNDS,
                timeout_s=spec.timeout_s,
                dask=bool(strategy),
                cluster=settings.cluster,
            )
    output.emit(
        fmt,
        lambda: [rendering.calibration_view(calibration)],
        (rendering.measurement_record(calibration, one) for one in calibration.measurements),
        columns=rendering.MEASUREMENT_KEYS,
        document=lambda: rendering.calibration_record(calibration),
    )
    options.echo_warnings(warnings.find_selection_warnings(selection, root, Selection()))


def _check_options(strategies: Sequence[str] | None, *others: object, last: bool) -> None:
    if last and any(choice is not None for choice in (strategies, *others)):
        raise UsageError("--last shows the last calibration; leave out the options that say how to measure")
    if any(name != "dask" for name in strategies or ()):
        raise UsageError("sequential and pool are always measured; only dask can be added by --strategy")
    if strategies and not dask.is_installed():
        raise UsageError(dask.MISSING)


def _get_last(opened: "database.Database", root: bytes, directory: str) -> Calibration:
    with opened.view() as view:
        calibration = calibrations.find_last_calibration(view, root)
    if calibration is None:
        raise Unknown(f"{directory!r} was never calibrated; leave out --last to calibrate it now")
    return calibration


def _measure(opened: "database.Database", root: bytes, selection: Selection, **how: Any) -> Calibration:
    try:
        with foreground.shown_rounds(foreground.Interrupt(opened)) as (observer, on_total):
            return experiment.calibrate(opened, root, selection, observer=observer, on_total=on_total, **how)
    except locks.Stopped as stopped:
        options.echo(f"{stopped}")
        raise KeyboardInterrupt from None
