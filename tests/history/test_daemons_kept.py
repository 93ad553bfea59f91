from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runner.history.daemons import DaemonRecord, find_daemon, record_daemon, record_heartbeat
from runner.history.database import Database
from runner.measure.environment import describe_process
from runner.model.runs import Owner

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ME = describe_process()


@pytest.mark.parametrize(
    "other",
    [replace(ME, pid=ME.pid + 1), replace(ME, started_s=ME.started_s - 60), replace(ME, boot="an earlier one")],
    ids=["another", "number given to another", "earlier boot"],
)
def test_a_replaced_daemon_records_no_heartbeat(database: Database, other: Owner) -> None:
    kept = DaemonRecord(owner=ME, started_at=NOW, heartbeat_at=NOW, stopped_at=None)
    later = NOW + timedelta(seconds=5)
    record_daemon(database, ME, NOW)
    record_heartbeat(database, other, later, stopped=True)
    assert kept == find_daemon(database)
    record_heartbeat(database, ME, later)
    assert replace(kept, heartbeat_at=later) == find_daemon(database)
