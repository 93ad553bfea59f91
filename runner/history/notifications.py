"""Who was told of which run, and how earlier runs of a job ended."""

import json

from sqlalchemy import func, insert, select

from runner.history.database import Database, Reader
from runner.history.runs import list_runs_before
from runner.history.tables import notifications, runs
from runner.model.jobs import Event, Notify
from runner.model.notifications import Notification
from runner.model.runs import Run, Status

# How a run ends that says something about the job; of the others, a person or the daemon has decided.
GOOD = (Status.SUCCEEDED, Status.PARTIAL)
BAD = (Status.FAILED, Status.TIMED_OUT, Status.INTERRUPTED)


def record_notification(database: Database, run_id: int, notification: Notification) -> None:
    """Record that a command was told of a run."""
    values = {
        "run_id": run_id,
        "event": notification.event.value,
        "command": json.dumps(notification.command),
        "started_at": notification.started_at,
        "wall_s": notification.wall_s,
        "exit_code": notification.exit_code,
        "message": notification.message,
    }
    with database.write() as connection:
        connection.execute(insert(notifications).values(values))


def list_notifications(database: Reader, run: Run) -> list[Notification]:
    """List the commands that were told of a run, in the order in which they were."""
    query = select(notifications).where(notifications.c.run_id == run.run_id).order_by(notifications.c.id)
    with database.read() as connection:
        return [
            Notification(
                event=Event(row.event),
                command=tuple(json.loads(row.command)),
                started_at=row.started_at,
                wall_s=row.wall_s,
                exit_code=row.exit_code,
                message=row.message,
            )
            for row in connection.execute(query)
        ]


def last_notified_run(database: Reader, job_id: int, notify: Notify, after: int) -> int | None:
    """Find the newest run of a job, after another one, of which a command was told an event; None if there is none.

    A command that could not be started, or was ended because runner was stopped, has not been told.
    """
    query = (
        select(func.max(notifications.c.run_id))
        .join(runs, notifications.c.run_id == runs.c.id)
        .where(
            notifications.c.run_id > after,
            runs.c.job_id == job_id,
            notifications.c.event == notify.event.value,
            notifications.c.command == json.dumps(notify.command),
            notifications.c.exit_code.is_not(None),
        )
    )
    with database.read() as connection:
        return connection.execute(query).scalar()


def find_last_good(database: Reader, run: Run) -> int:
    """Find the newest run of a job before another one that succeeded; 0 if there is none."""
    good = list_runs_before(database, run.job_id, run.run_id, statuses=GOOD, limit=1)
    return good[0].run_id if good else 0


def find_last_ended(database: Reader, job_id: int) -> Run | None:
    """Find the newest run of a job that succeeded or failed; None if there is none."""
    ended = list_runs_before(database, job_id, None, statuses=(*GOOD, *BAD), limit=1)
    return ended[0] if ended else None
