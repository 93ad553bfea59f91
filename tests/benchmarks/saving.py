"""What it costs to save a run, apart from the scan: the first of a tree, and one that found nothing changed."""

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from runner.history.database import locate
from runner.history.jobs import add_job
from runner.history.upgrade import open_database
from runner.measure.trial import ScanTask
from runner.measure.trials import carry_out
from runner.model.jobs import JobSpec, Track
from runner.scan.snapshot import Snapshot
from runner.strategies.base import ScanRequest
from tests.benchmarks.contest import scan_request
from tests.benchmarks.histories import save_run
from tests.benchmarks.progress import followed, write_head, write_row


def write_saving_table(root: Path, scratch: Path, runs: int = 100) -> None:
    """Save runs of a tree in a database of their own, sizes and times included, and write what they cost."""
    request = scan_request(root, cache=scratch / "cache-of-saving", track=Track.STAT)
    path = scratch / "saving.db"
    with closing(open_database(locate(str(path)))) as database:
        spec = JobSpec(name="saving", root=os.fsencode(root), strategies=("incremental",))
        job = add_job(database, spec, datetime.now(UTC))
        first, first_wall_s = _scan(request)
        first_s = save_run(database, job, first, first_wall_s)
        # Comes with its digest, as every incremental scan of an unchanged tree does.
        unchanged, wall_s = _scan(request)
        before = _used_bytes(path)
        saves_s = [save_run(database, job, unchanged, wall_s) for _ in followed(range(runs), "saving", runs)]
        growth_bytes = (_used_bytes(path) - before) / runs
    write_head("what is saved", "cost")
    write_row(f"the first run, {first.files:,} found files", f"{first_s:.2f} s")
    write_row(f"an unchanged run, median of {runs}", f"{1e3 * median(saves_s):.2f} ms")
    write_row("growth of the database by each of those", f"{growth_bytes:,.0f} bytes")


def _scan(request: ScanRequest) -> tuple[Snapshot, float]:
    outcome = carry_out(ScanTask(strategy="incremental", request=request))
    if outcome.message is not None:
        raise SystemExit(f"incremental: {outcome.message}")
    return outcome.value, outcome.wall_s


def _used_bytes(path: Path) -> int:
    """Return how much of a database's file is in use, once all that was written ahead is in it."""
    with closing(sqlite3.connect(path)) as connection:

        def pragma(text: str) -> int:
            return int(connection.execute(f"PRAGMA {text}").fetchone()[0])

        assert not pragma("wal_checkpoint(TRUNCATE)"), "nobody else has it"
        return (pragma("page_count") - pragma("freelist_count")) * pragma("page_size")
