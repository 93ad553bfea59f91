"""``runner files`` and ``changes``: the files of a tree and their changes."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from runner.history.database import Reader
    from runner.history.time_range import TimeRange
    from runner.model.jobs import Job


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (files, changes):
        app.command(rich_help_panel=options.ASKING)(command)


Under = Annotated[
    str | None,
    typer.Option("--under", metavar="FOLDER", help="Only below this directory of the tree.", show_default=False),
]
ByFolder = Annotated[bool, typer.Option("--by-folder", help="Counts and sizes by directory instead of single files.")]
Depth = Annotated[
    int | None,
    typer.Option("--depth", min=0, max=1000, help="With --by-folder: the depth of the directories, default 1."),
]


def files(
    job: options.JobArgument,
    run: Annotated[int | None, typer.Option(metavar="RUN", help="As of this run, default the last.")] = None,
    at: Annotated[str | None, options.when("As of this instant, or 7d ago.")] = None,
    under: Under = None,
    by_folder: ByFolder = False,  # noqa: FBT002  a flag
    depth: Depth = None,
    path: Annotated[
        str | None, typer.Option(metavar="PATH", help="With --history: one file of the tree.", show_default=False)
    ] = None,
    history: Annotated[  # noqa: FBT002  a flag
        bool, typer.Option("--history", help="The versions of the file named by --path, oldest first.")
    ] = False,
    null: Annotated[  # noqa: FBT002  a flag
        bool,
        typer.Option("--null", "-0", help="Absolute paths as bytes, separated by NUL, for xargs -0."),
    ] = False,
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
    from datetime import UTC, datetime

    from runner.cli.output import emit
    from runner.history.contents import list_files
    from runner.history.jobs import get_job
    from runner.history.time_range import describe_later_failure, describe_unreadable, find_directory, find_state
    from runner.model.errors import UsageError
    from runner.output.records import FILE_KEYS, file_record

    if null and (fmt != "table" or by_folder or history):
        raise UsageError("-0 lists paths alone; leave out --format, --by-folder and --history")
    _check_depth(depth, by_folder=by_folder)
    if history != (path is not None):
        raise UsageError("--path and --history go together: --path guide/intro.md --history")
    if history and (by_folder or run is not None or at is not None or under is not None):
        raise UsageError("--history lists one file at all times; leave out the other options")
    with options.answering(db) as view:
        known = get_job(view, job, removed=True)
        if path is not None:
            _emit_versions(view, known, path, fmt)
            return
        state = find_state(view, known, run, at, datetime.now(UTC))
        position = state.run_id
        folder = find_directory(view, known, under) if under is not None else b""
        _echo_notes(describe_later_failure(view, known, state) if run is None and at is None else ())
        if fmt == "table":
            _echo_notes(
                describe_unreadable(state, "counted" if by_folder else "listed" if null else "marked ?, and listed")
            )
        if by_folder:
            _emit_counts(view, known, position, folder, depth, fmt)
            return
        found = list_files(view, known.job_id, position, folder)
        if null:
            root = known.spec.root.rstrip(b"/")
            for file in found:
                sys.stdout.buffer.write(root + b"/" + file.path + b"\0")
            return

        def render() -> "Iterable[RenderableType]":
            from runner.output.contents import files_table

            return files_table(found, doubtful=bool(state.problems))

        emit(fmt, render, map(file_record, found), columns=FILE_KEYS)


def _echo_notes(notes: "Iterable[str]") -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _emit_versions(database: "Reader", job: "Job", path: str, fmt: options.FormatName) -> None:
    from runner.cli.output import emit
    from runner.history.contents import list_versions
    from runner.history.time_range import relative_path
    from runner.model.errors import UsageError
    from runner.output.contents import VERSION_KEYS, version_record, versions_table
    from runner.output.text import unprinted

    versions = list_versions(database, job.job_id, relative_path(job, path))
    if not versions:  # perhaps it is written as a table shows it
        versions = list_versions(database, job.job_id, relative_path(job, unprinted(path)))
    if not versions:
        raise UsageError(f"no file {path!r} was ever found by {job.spec.name!r}; see `runner files {job.job_id}`")
    emit(fmt, lambda: [versions_table(versions)], map(version_record, versions), columns=VERSION_KEYS)


def _emit_counts(
    database: "Reader", job: "Job", position: int, under: bytes, depth: int | None, fmt: options.FormatName
) -> None:
    from runner.cli.output import emit
    from runner.history.contents import count_directories
    from runner.history.rollup import roll_up
    from runner.output.contents import COUNT_KEYS, count_record, counts_table

    counts = roll_up(count_directories(database, job.job_id, position, under), _depth_below(under, depth))
    emit(fmt, lambda: [counts_table(counts)], map(count_record, counts), columns=COUNT_KEYS)


def _depth_below(under: bytes, depth: int | None) -> int:
    """Return the depth from the root for a depth below *under*."""
    chosen = 1 if depth is None else depth
    return chosen + len(under.split(b"/")) if under else chosen


def _check_depth(depth: int | None, *, by_folder: bool) -> None:
    from runner.model.errors import UsageError

    if depth is not None and not by_folder:
        raise UsageError("--depth goes with --by-folder; give both")


def changes(
    job: options.JobArgument,
    since: Annotated[str | None, options.when("From this instant, or 7d ago.")] = None,
    until: Annotated[str | None, options.when("To this instant, default now.")] = None,
    from_run: Annotated[
        int | None, typer.Option("--from", metavar="RUN", help="From the state after this run.", show_default=False)
    ] = None,
    to_run: Annotated[
        int | None,
        typer.Option("--to", metavar="RUN", help="To the state after this run, default the last.", show_default=False),
    ] = None,
    under: Under = None,
    by_folder: ByFolder = False,  # noqa: FBT002  a flag
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
    from datetime import UTC, datetime

    from runner.cli.output import emit
    from runner.history.contents import list_changes
    from runner.history.jobs import get_job
    from runner.history.time_range import find_directory, find_time_range
    from runner.output.contents import change_counts, changes_table
    from runner.output.records import CHANGE_KEYS, change_record

    _check_depth(depth, by_folder=by_folder)
    with options.answering(db) as view:
        known = get_job(view, job, removed=True)
        span = find_time_range(
            view, known, since=since, until=until, from_run=from_run, to_run=to_run, now=datetime.now(UTC)
        )
        folder = find_directory(view, known, under) if under is not None else b""
        _echo_notes(span.notes)
        if by_folder:
            _emit_moves(view, known, span, folder, depth, fmt)
            return
        changed = list_changes(view, known.job_id, *span.positions, folder)

    def render() -> "Iterable[RenderableType]":
        return (*changes_table(changed), change_counts(changed))

    emit(fmt, render, map(change_record, changed), columns=CHANGE_KEYS)


def _emit_moves(
    database: "Reader", job: "Job", span: "TimeRange", under: bytes, depth: int | None, fmt: options.FormatName
) -> None:
    from runner.cli.output import emit
    from runner.history.contents import count_directories, list_changes
    from runner.history.rollup import compare_directories
    from runner.output.contents import MOVE_KEYS, change_counts, move_record, moves_table

    before, after = (count_directories(database, job.job_id, position, under) for position in span.positions)
    changed = list_changes(database, job.job_id, *span.positions, under)
    moves = compare_directories(before, after, changed, _depth_below(under, depth))
    views = [moves_table(moves), change_counts(changed)]
    emit(fmt, lambda: views, map(move_record, moves), columns=MOVE_KEYS)
