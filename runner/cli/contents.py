"""``runner files`` and ``changes``: the files of a tree and their changes."""

import sys
from datetime import UTC, datetime
from typing import Annotated

from runner.cli import options, output
from runner.history import contents, database, jobs, rollup, time_range
from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.output import contents as rendering
from runner.output import records
from runner.output.text import unprinted

Under = Annotated[str | None, options.option("Only below this directory of the tree.", metavar="DIR")]
ByFolder = Annotated[bool, options.option("Counts and sizes by directory instead of single files.", "--by-folder")]
Depth = Annotated[
    int | None, options.option("With --by-folder: the depth of the directories, default 1.", least=0, most=1000)
]


def files(
    job: options.JobArgument,
    *,
    run: Annotated[int | None, options.option("As of this run, default the last.", metavar="RUN")] = None,
    at: Annotated[str | None, options.when("As of this instant: 2026-11-22, 7d (ago), 'monday 09:00'.")] = None,
    under: Under = None,
    by_folder: ByFolder = False,
    depth: Depth = None,
    path: Annotated[str | None, options.option("With --history: one file of the tree.", metavar="PATH")] = None,
    history: Annotated[
        bool, options.option("The versions of the file named by --path, oldest first.", "--history")
    ] = False,
    null: Annotated[bool, options.option("Absolute paths, each ended by NUL, for xargs -0.", "--null", "-0")] = False,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """List the files that a job found, now or at an earlier run. Paths are relative to its root.

    A file has a new version when its size or modification time differs; its content is not read.

    [bold]Examples[/bold]

    runner files docs --run 12

    runner files docs -0 | xargs -0 wc -l

    runner files docs --at 2026-11-01 --by-folder --depth 2

    runner files docs --path guide/intro.md --history
    """
    if null and (fmt != "table" or by_folder or history):
        raise UsageError("-0 lists paths alone; leave out --format, --by-folder and --history")
    _check_depth(depth, by_folder=by_folder)
    _check_history(path, [run, at, under, by_folder or None], history=history)
    with options.answering(db) as view:
        known = jobs.get_job(view, job, removed=True)
        if path is not None:
            _emit_versions(view, known, path, fmt)
            return
        state = time_range.find_state(view, known, run, at, datetime.now(UTC))
        directory = time_range.find_directory(view, known, under) if under is not None else b""
        if run is None and at is None:
            options.echo_notes(time_range.describe_later_failure(view, known, state))
        if fmt == "table":
            done = "counted" if by_folder else "listed" if null else "marked ?, and listed"
            options.echo_notes(time_range.describe_unreadable(state, done))
        if by_folder:
            _emit_counts(view, known, state.run_id, directory, depth, fmt)
            return
        if null:
            _write_names(view, known, state.run_id, directory)
            return
        found = contents.list_files(view, known.job_id, state.run_id, directory)
        output.emit(
            fmt,
            lambda: rendering.files_table(found, doubtful=bool(state.problems)),
            map(records.file_record, found),
            columns=records.FILE_KEYS,
        )


def changes(
    job: options.JobArgument,
    *,
    since: Annotated[str | None, options.when("From this instant: 2026-11-22, 7d (ago), yesterday.")] = None,
    until: Annotated[str | None, options.when("To this instant, default now.")] = None,
    from_run: Annotated[int | None, options.option("From the state after this run.", "--from", metavar="RUN")] = None,
    to_run: Annotated[
        int | None, options.option("To the state after this run, default the last.", "--to", metavar="RUN")
    ] = None,
    under: Under = None,
    by_folder: ByFolder = False,
    depth: Depth = None,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """List the files added, removed or modified between two runs or instants, by default in the last run.

    A file is modified when its size or modification time differs; its content is not read. A file with the same size
    and a restored time is unchanged.

    Files in a directory that could not be read are unknown and not listed.

    [bold]Examples[/bold]

    runner changes docs --since 7d

    runner changes docs --from 12 --to 15 --format json

    runner changes docs --since 30d --by-folder --depth 2
    """
    _check_depth(depth, by_folder=by_folder)
    with options.answering(db) as view:
        known = jobs.get_job(view, job, removed=True)
        span = time_range.find_time_range(
            view, known, since=since, until=until, from_run=from_run, to_run=to_run, now=datetime.now(UTC)
        )
        directory = time_range.find_directory(view, known, under) if under is not None else b""
        options.echo_notes(span.notes)
        if by_folder:
            changed = contents.count_changes(view, known.job_id, *span.positions, directory)
            states = [contents.count_directories(view, known.job_id, at, directory) for at in span.positions]
            moves = rollup.compare_directories(states[0], states[1], changed, _depth_below(directory, depth))
            output.emit(
                fmt,
                lambda: [rendering.moves_table(moves), rendering.change_counts(rollup.sum_changes(changed))],
                map(rendering.move_record, moves),
                columns=rendering.MOVE_KEYS,
            )
            return
        found = contents.list_changes(view, known.job_id, *span.positions, directory)
        output.emit(
            fmt,
            lambda: rendering.changes_view(found),
            map(records.change_record, found),
            columns=records.CHANGE_KEYS,
        )


def _write_names(view: "database.View", job: Job, position: int, directory: bytes) -> None:
    root = job.spec.root.rstrip(b"/") + b"/"
    for prefix, names in contents.list_names(view, job.job_id, position, directory):
        sys.stdout.buffer.writelines((root + prefix, (b"\0" + root + prefix).join(names), b"\0"))


def _emit_versions(view: "database.View", job: Job, path: str, fmt: options.FormatName) -> None:
    for given in (path, unprinted(path)):  # perhaps it is written as a table shows it
        versions = contents.list_versions(view, job.job_id, time_range.relative_path(job, given))
        if versions:
            break
    else:
        raise UsageError(f"no file {path!r} was ever found by {job.spec.name!r}; see `runner files {job.word}`")
    output.emit(
        fmt,
        lambda: [rendering.versions_table(versions)],
        map(rendering.version_record, versions),
        columns=rendering.VERSION_KEYS,
    )


def _emit_counts(
    view: "database.View", job: Job, position: int, under: bytes, depth: int | None, fmt: options.FormatName
) -> None:
    found = contents.count_directories(view, job.job_id, position, under)
    counts = rollup.roll_up(found, _depth_below(under, depth))
    output.emit(
        fmt, lambda: [rendering.counts_table(counts)], map(rendering.count_record, counts), columns=rendering.COUNT_KEYS
    )


def _depth_below(under: bytes, depth: int | None) -> int:
    """Return the depth from the root for a depth below *under*."""
    chosen = 1 if depth is None else depth
    return chosen + len(under.split(b"/")) if under else chosen


def _check_history(path: str | None, others: list[object], *, history: bool) -> None:
    if history != (path is not None):
        raise UsageError("--path and --history go together: --path guide/intro.md --history")
    if history and any(other is not None for other in others):
        raise UsageError("--history lists one file at all times; leave out the other options")


def _check_depth(depth: int | None, *, by_folder: bool) -> None:
    if depth is not None and not by_folder:
        raise UsageError("--depth goes with --by-folder; give both")
