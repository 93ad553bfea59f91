from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runner.history.daemons import find_daemon, record_daemon, record_heartbeat
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
    record_daemon(database, ME, NOW)
    record_heartbeat(database, other, NOW + timedelta(seconds=10), stopped=True)
    assert (ME, NOW, None) == recorded(database)
    record_heartbeat(database, ME, NOW + timedelta(seconds=5))
    assert (ME, NOW + timedelta(seconds=5), None) == recorded(database)


def recorded(database: Database) -> tuple[Owner, datetime, datetime | None]:
    found = find_daemon(database)
    assert found is not None
    return found.owner, found.heartbeat_at, found.stopped_at
