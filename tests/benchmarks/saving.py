"""What it costs to save a run, apart from the scan: the first of a tree, and one that found nothing changed."""

import os
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from runner.history.database import Database, locate
from runner.history.jobs import add_job
from runner.history.recording import RunOutcome, begin_run, finish_run
from runner.history.upgrade import open_database
from runner.measure.environment import describe_environment, describe_process
from runner.measure.trial import ScanTask, TrialResult
from runner.measure.trials import carry_out
from runner.model.jobs import Job, JobSpec, Selection
from runner.model.runs import Execution, Status
from runner.scan.snapshot import Snapshot
from runner.strategies.base import ScanRequest
from tests.benchmarks.contest import scan_request
from tests.benchmarks.progress import reporting

_STRATEGY = "incremental"


def saving_table(root: Path, scratch: Path, runs: int = 100) -> str:
    """Save runs in a database of their own, and lay out what they cost as a Markdown table.

    Args:
        root: The tree; sizes and times are tracked, as is the default.
        scratch: Where the database is made.
        runs: How many unchanged runs are saved.
    """
    request = scan_request(os.fsencode(root), Selection(), cache=os.fsencode(scratch / "cache-of-saving"))
    path = scratch / "saving.db"
    with closing(open_database(locate(str(path)))) as database, reporting() as tell:
        job = add_job(database, JobSpec(name="saving", root=request.root, strategies=(_STRATEGY,)), datetime.now(UTC))
        tell("the first save")
        first = _scan(request)
        first_s = _save(database, job, request, first)
        # Comes with its digest, as every incremental scan of an unchanged tree does.
        unchanged = _scan(request)
        before = _used_bytes(path)
        saves_s = []
        for number in range(runs):
            tell(f"save {number + 1} of {runs}")
            saves_s.append(_save(database, job, request, unchanged))
        growth_bytes = (_used_bytes(path) - before) / runs
    return (
        "| what is saved | cost |\n|---|--:|\n"
        f"| the first run, {first.value.files:,} found files | {first_s:.2f} s |\n"
        f"| an unchanged run, median of {runs} | {1e3 * median(saves_s):.2f} ms |\n"
        f"| growth of the database by each of those | {growth_bytes:,.0f} bytes |\n"
    )


def _scan(request: ScanRequest) -> TrialResult:
    outcome = carry_out(ScanTask(strategy=_STRATEGY, request=request))
    if outcome.message is not None:
        raise SystemExit(f"{_STRATEGY}: {outcome.message}")
    return outcome


def _save(database: Database, job: Job, request: ScanRequest, outcome: TrialResult) -> float:
    """Save a run that found this; returns the seconds it took to finish it."""
    environment = describe_environment(request.root, workers=request.workers, start_method=request.start_method)
    now = datetime.now(UTC)
    run_id = begin_run(
        database,
        job,
        None,
        clock=lambda: now,
        environment=environment,
        owner=describe_process(),
    )
    ending = _ending(outcome, outcome.value, now)
    began = time.perf_counter()
    finish_run(database, run_id, ending)
    return time.perf_counter() - began


def _ending(outcome: TrialResult, snapshot: Snapshot, now: datetime) -> RunOutcome:
    """End a run as one of a single strategy ends."""
    execution = Execution(
        strategy=_STRATEGY,
        position=1,
        status=Status.SUCCEEDED,
        wall_s=outcome.wall_s,
        startup_s=outcome.startup_s,
        user_s=outcome.user_s,
        system_s=outcome.system_s,
        max_rss_bytes=outcome.max_rss_bytes,
        files=snapshot.files,
        directories=snapshot.directories,
        entries=snapshot.entries,
    )
    return RunOutcome(
        status=Status.SUCCEEDED, finished_at=now, wall_s=outcome.wall_s, executions=[execution], snapshot=snapshot
    )


def _used_bytes(path: Path) -> int:
    """Return how much of a database's file is in use, once all that was written ahead is in it."""
    with closing(sqlite3.connect(path)) as connection:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        assert not busy  # nobody else has it
        pages, free, page_bytes = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int(pages - free) * int(page_bytes)
