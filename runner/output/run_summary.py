"""The result of one run in a few lines, for ``run``: files, changes, wall times, problems and the next command."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType

from runner.model.runs import Difference, Execution, Problem, Run, Status
from runner.model.units import format_count, format_seconds
from runner.output.cells import NOTHING, STATUS_STYLES, Cell, ratio_cell, wall_cell
from runner.output.grid import key_values
from runner.output.tables import cold_note, execution_of
from runner.output.text import printable

# The number of problems named; `show` lists all.
_SHOWN_PROBLEMS = 3


def run_summary(
    run: Run, *, problems: Sequence[Problem] = (), differences: Sequence[Difference] = ()
) -> RenderableType:
    """Format the result of one run in a few lines."""
    return Group(key_values(_lines(run, problems, differences)), *cold_note(run.executions))


def _lines(run: Run, problems: Sequence[Problem], differences: Sequence[Difference]) -> Iterator[tuple[str, Any]]:
    took = "" if run.wall_s is None else f" in {format_seconds(run.wall_s)}"
    yield f"run {run.run_id}", Cell(f"{printable(run.job)} {run.status.value}{took}", STATUS_STYLES[run.status])
    if run.message:
        yield "message", Cell(printable(run.message), STATUS_STYLES[run.status])
    if run.files is not None and run.directories is not None:
        yield "files", f"{run.files:,} in {format_count(run.directories, 'folder')}"
    if run.added is not None and run.removed is not None and run.modified is not None:
        yield "changes", f"{run.added:,} added, {run.removed:,} removed, {run.modified:,} modified"
    baseline = execution_of(run, "sequential")
    for execution in sorted(run.executions, key=lambda one: one is not baseline):
        yield execution.strategy, _time(execution, baseline)
    if problems:
        texts = [f"{printable(one.path or b'.')}: {one.text}" for one in problems[:_SHOWN_PROBLEMS]]
        more = f"; and {len(problems) - len(texts):,} more" if len(problems) > len(texts) else ""
        yield "problems", Cell(f"{len(problems):,} not read: {'; '.join(texts)}{more}", "yellow")
    if run.differences:
        paths = ", ".join(printable(one.path) for one in differences[:_SHOWN_PROBLEMS])
        yield "differences", Cell(f"the strategies disagree on {run.differences:,}: {paths}", "red")
    yield "next", next_command(run)


def _time(execution: Execution, baseline: Execution | None) -> Cell:
    if execution.status is not Status.SUCCEEDED:
        message = f": {printable(execution.message)}" if execution.message else ""
        return Cell(f"{execution.status.value}{message}", STATUS_STYLES[execution.status])
    ratio = NOTHING if execution is baseline else ratio_cell(execution, baseline)
    return Cell(wall_cell(execution).text + ("" if ratio is NOTHING else f", {ratio.text} sequential"))


def next_command(run: Run) -> str:
    """Return the command that shows what is most likely asked next."""
    if run.status is Status.SUCCEEDED and not run.differences:
        job = shlex.quote(run.job)
        if run.removed or run.modified or (run.added and run.added != run.files):
            return f"runner changes {job}"
        if run.added:
            return f"runner files {job}"
    return f"runner show {run.run_id}"
