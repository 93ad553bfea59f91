"""Calibrations in the database: start, record and finish them, and find them again."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from runner.history import rows
from runner.history.database import Database, Reader
from runner.history.recording import refuse_beside_another
from runner.history.tables import calibrations, environments, measurements, selections
from runner.model.calibration import Calibration, CalibrationSummary, Condition, Measurement, Question
from runner.model.errors import Unknown
from runner.model.jobs import Selection
from runner.model.runs import Cache, Environment, Owner

_CONDITION = tuple(field.name for field in fields(Condition))
_QUERY = (
    select(calibrations, *rows.selection_columns(), *rows.environment_columns())
    .join_from(calibrations, selections, calibrations.c.selection_id == selections.c.id)
    .join(environments, calibrations.c.environment_id == environments.c.id)
)
_RUNNING = select(calibrations).where(calibrations.c.owner_pid.is_not(None)).order_by(calibrations.c.id)


def begin_calibration(
    database: Database,
    root: bytes,
    selection: Selection,
    *,
    started_at: datetime,
    environment: Environment,
    owner: Owner,
) -> int:
    """Record the start of a calibration; return its number, or raise Busy if something is running."""
    with database.write() as connection:
        refuse_beside_another(connection, job_id=None, at_once=1)
        values = {
            "root": root,
            "selection_id": rows.selection_id(connection, selection),
            "environment_id": rows.environment_id(connection, environment),
            "started_at": started_at,
            **rows.owner_columns(owner),
        }
        return rows.insert_row(connection, calibrations, values)


def record_round(database: Database, calibration_id: int, measured: Sequence[Measurement]) -> None:
    """Record a round of a calibration."""
    values = [{"calibration_id": calibration_id, **asdict(one)} for one in measured]
    for each in values:
        each.update(each.pop("condition"))
    with database.write() as connection:
        connection.execute(insert(measurements), values)


def finish_calibration(database: Database, calibration_id: int, finished_at: datetime | None) -> None:
    """Record the end of a calibration; None if it was stopped."""
    with database.write() as connection:
        own = update(calibrations).where(calibrations.c.id == calibration_id)
        connection.execute(own.values(finished_at=finished_at, **rows.owner_columns(None)))


def list_calibrators(database: Reader) -> dict[int, Owner]:
    """Return the owners of the running calibrations, by calibration."""
    with database.read() as connection:
        return {row.id: rows.read_owner(row) for row in connection.execute(_RUNNING)}


def list_calibrated_now(database: Reader) -> dict[int, bytes]:
    """Return the roots of the running calibrations, by calibration."""
    with database.read() as connection:
        return {row.id: row.root for row in connection.execute(_RUNNING)}


def get_calibration(database: Reader, calibration_id: int) -> Calibration:
    """Return a calibration by its number; raise Unknown if there is none."""
    with database.read() as connection:
        row = connection.execute(_QUERY.where(calibrations.c.id == calibration_id)).first()
        if row is None:
            raise Unknown(f"there is no calibration {calibration_id}; see `runner calibrate --help`")
        of_rounds = select(measurements).where(measurements.c.calibration_id == calibration_id)
        measured = connection.execute(of_rounds.order_by(measurements.c.round, measurements.c.position)).all()
    return Calibration(
        calibration_id=row.id,
        root=row.root,
        selection=rows.read_selection(row),
        started_at=row.started_at,
        finished_at=row.finished_at,
        environment=rows.read_environment(row),
        measurements=tuple(map(_measurement, measured)),
    )


def list_calibrations(database: Reader, *, before: int | None, limit: int) -> list[CalibrationSummary]:
    """List calibrations before a number (None for all), newest first."""
    rounds = select(func.max(measurements.c.round)).where(measurements.c.calibration_id == calibrations.c.id)
    query = select(calibrations, func.coalesce(rounds.scalar_subquery(), 0).label("rounds"))
    query = query.order_by(calibrations.c.id.desc()).limit(limit)
    with database.read() as connection:
        return [
            CalibrationSummary(
                calibration_id=row.id,
                root=row.root,
                started_at=row.started_at,
                finished_at=row.finished_at,
                rounds=row.rounds,
                running=row.owner_pid is not None,
            )
            for row in connection.execute(query if before is None else query.where(calibrations.c.id < before))
        ]


def find_last_calibration(database: Reader, root: bytes) -> Calibration | None:
    """Find the last calibration of a tree with a recorded round."""
    kept = select(measurements.c.calibration_id).where(measurements.c.calibration_id == calibrations.c.id).exists()
    query = select(calibrations.c.id).where(calibrations.c.root == root, kept).order_by(calibrations.c.id.desc())
    with database.read() as connection:
        found = connection.execute(query.limit(1)).scalar()
    return get_calibration(database, found) if found is not None else None


def _measurement(row: Row[Any]) -> Measurement:
    values = {name: value for name, value in row._mapping.items() if name != "calibration_id"}  # noqa: SLF001  public
    condition = {name: values.pop(name) for name in _CONDITION}
    return Measurement(
        condition=Condition(**{**condition, "question": Question(condition["question"])}),
        **{**values, "cache": Cache(values["cache"])},
    )
