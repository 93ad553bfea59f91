"""The demo's year: the same rows from the same seed, sound, and with everything that pages show."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from runner.history.contents import list_changes, list_files
from runner.history.database import Database, locate
from runner.history.demo import write_demo
from runner.history.maintenance import find_faults
from runner.history.runs import list_runs
from runner.history.upgrade import open_database
from runner.model.runs import ChangeKind, Status

NOW = datetime(2026, 11, 27, 10, 30, tzinfo=UTC)


def test_the_year_is_sound_and_has_every_outcome(history: Database) -> None:
    write_demo(history, NOW)
    assert [] == find_faults(history)
    runs = list_runs(history)
    missing = {Status.RUNNING, Status.CANCELLED, Status.INTERRUPTED}
    assert set(Status) - missing == {run.status for run in runs}
    assert {"photos"} == {
        run.job for run in runs if run.attempt == 1 and run.scheduled_at and "mount" in f"{run.message}"
    }
    for run in runs[::400]:
        assert run.files is None or run.files == sum(1 for _ in list_files(history, run.job_id, run.run_id))
        kinds = [change.kind for change in list_changes(history, run.job_id, run.run_id - 1, run.run_id)]
        counts = (run.added or 0, run.removed or 0, run.modified or 0)
        assert counts == tuple(map(kinds.count, (ChangeKind.ADDED, ChangeKind.REMOVED, ChangeKind.MODIFIED)))


def test_the_same_seed_writes_the_same_rows(empty_history: Path, tmp_path: Path) -> None:
    dumps = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        path = shutil.copy(empty_history, tmp_path / name)
        with closing(open_database(locate(str(path)))) as database:
            write_demo(database, NOW, seed)
        with closing(sqlite3.connect(path)) as connection:
            dumps.append(list(connection.iterdump()))
    assert dumps[0] == dumps[1]
    assert dumps[0] != dumps[2]
