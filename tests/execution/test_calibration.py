import os
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from runner.execution.calibration import calibrate, choose_subtrees, order_rounds
from runner.execution.locks import Stopped
from runner.execution.recovery import recover
from runner.history.calibrations import (
    begin_calibration,
    find_last_calibration,
    finish_calibration,
    get_calibration,
    list_calibrators,
)
from runner.history.database import Database
from runner.history.jobs import add_job
from runner.history.recording import Busy, begin_run
from runner.measure.environment import describe_environment, describe_process
from runner.measure.observer import RunObserver
from runner.model.calibration import Calibration, Question
from runner.model.errors import ScanError
from runner.model.jobs import JobSpec, Selection, Track
from runner.model.runs import Owner, Status
from runner.scan.walk import Walker
from tests.benchmarks.snapshots import stored

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NAMES = Selection(track=Track.NAMES)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with subtrees of about 80, 320 and 1,280 entries."""
    root = tmp_path / "tree"
    for directory, count in {"small": 80, "middle/one": 160, "middle/two": 160, "large/all": 1_280}.items():
        (root / directory).mkdir(parents=True)
        for number in range(count):
            (root / directory / f"{number}.md").touch()
    return root


def measure(database: Database, root: Path, rounds: int = 2, observer: RunObserver | None = None) -> Calibration:
    return calibrate(
        database, os.fsencode(root), NAMES, cpus=1, start_method="fork", rounds=rounds,
        observer=observer or RunObserver(), random=Random(1),  # noqa: S311  chance, not secrets
    )  # fmt: skip


@pytest.mark.parametrize(("count", "rounds"), [(1, 1), (5, 2), (8, 8), (3, 5)])
def test_over_two_rounds_all_mean_positions_are_equal(count: int, rounds: int) -> None:
    orders = order_rounds(count, rounds, Random(3))  # noqa: S311  chance, not secrets
    assert rounds == len(orders)
    for order in orders:
        assert list(range(count)) == sorted(order)
    for first, second in zip(orders[::2], orders[1::2], strict=False):
        assert {count - 1} == {first.index(one) + second.index(one) for one in range(count)}


def test_subtrees_are_chosen_by_quartered_sizes(root: Path) -> None:
    walker = Walker(os.fsencode(root), NAMES)
    found = stored(walker.read([b""], lambda *_: None))
    walker.close()
    # A quarter of the whole is 421 entries, of which middle has 323; a quarter of that is 105, small has 81.
    assert [b"middle", b"small"] == choose_subtrees(found)


def test_each_round_measures_each_condition_once(database: Database, root: Path) -> None:
    totals: list[int] = []
    done = calibrate(
        database, os.fsencode(root), NAMES, cpus=1, start_method="fork", rounds=2,
        observer=RunObserver(), on_total=totals.append, random=Random(1),  # noqa: S311  chance, not secrets
    )  # fmt: skip

    by_round = [{one.condition for one in done.measurements if one.round == number} for number in (1, 2)]
    assert by_round[0] == by_round[1]
    assert len(by_round[0]) * 2 == len(done.measurements)
    assert [len(by_round[0]) * 3] == totals
    asked = {question: {one for one in by_round[0] if one.question is question} for question in Question}
    assert {("sequential", 1), ("pool", 1), ("pool", 2)} == {
        (one.strategy, one.workers) for one in asked[Question.WORKERS]
    }
    assert {("sequential", b"")} == {(one.strategy, one.path) for one in asked[Question.NOISE]}
    assert {"forkserver", "spawn"} == {one.start_method for one in asked[Question.START_METHOD]}
    assert {b"middle", b"small"} == {one.path for one in asked[Question.SIZE]}
    assert {1_680, 320, 80} == {one.files for one in done.measurements}
    assert [list(range(1, len(by_round[0]) + 1))] * 2 == [
        [one.position for one in done.measurements if one.round == number] for number in (1, 2)
    ]
    assert all(0 <= one.startup_s < one.wall_s for one in done.measurements)
    assert done.finished_at is not None
    assert done == get_calibration(database, done.calibration_id) == find_last_calibration(database, os.fsencode(root))
    assert {} == list_calibrators(database)


def test_a_stopped_calibration_keeps_complete_rounds(database: Database, root: Path) -> None:
    begun: list[str] = []

    def stop() -> Status | None:
        return Status.CANCELLED if len(begun) > 28 else None

    with pytest.raises(Stopped, match="its complete rounds are kept"):
        measure(database, root, 9, RunObserver(stop=stop, on_strategy=lambda name, _: begun.append(name)))

    kept = find_last_calibration(database, os.fsencode(root))
    assert kept is not None
    assert (None, {1}) == (kept.finished_at, {one.round for one in kept.measurements})
    assert {} == list_calibrators(database)


def test_a_calibration_stopped_early_reports_that(database: Database, root: Path) -> None:
    with pytest.raises(Stopped, match="before a round was complete; nothing is kept"):
        measure(database, root, 9, RunObserver(stop=lambda: Status.CANCELLED))

    assert find_last_calibration(database, os.fsencode(root)) is None


def test_an_uncalibrated_tree_has_no_calibration(database: Database, root: Path) -> None:
    assert find_last_calibration(database, os.fsencode(root)) is None
    with pytest.raises(ScanError):
        measure(database, root / "missing")
    assert find_last_calibration(database, os.fsencode(root / "missing")) is None


def begin(database: Database, root: bytes, owner: Owner) -> int:
    environment = describe_environment(root, workers=1, start_method="fork")
    return begin_calibration(database, root, NAMES, started_at=NOW, environment=environment, owner=owner)


def test_a_calibration_and_a_run_exclude_each_other(database: Database, root: Path) -> None:
    path = os.fsencode(root)
    job = add_job(database, JobSpec(name="docs", root=path), NOW)

    def begin_a_run() -> int:
        return begin_run(
            database, job, None, clock=lambda: NOW, owner=describe_process(),
            environment=describe_environment(path, workers=1, start_method="fork"),
        )  # fmt: skip

    calibration_id = begin(database, path, describe_process())
    with pytest.raises(Busy, match=r"a calibration of .*tree' is running; wait"):
        begin_a_run()
    with pytest.raises(Busy, match="a calibration"):
        begin(database, path, describe_process())
    finish_calibration(database, calibration_id, NOW)
    run_id = begin_a_run()
    with pytest.raises(Busy, match=f"run {run_id} of the job 'docs'"):
        begin(database, path, describe_process())


def test_a_calibration_acquires_a_removed_lock_again(history: Database, root: Path) -> None:
    lock = Path(f"{history.location}.runs.lock")
    looks: list[bool] = []

    def look() -> Status | None:
        looks.append(lock.exists())
        return Status.CANCELLED

    with pytest.raises(Stopped):
        measure(history, root, observer=RunObserver(on_strategy=lambda *_: lock.unlink(missing_ok=True), stop=look))
    assert [True] == looks


def test_a_calibration_of_a_dead_process_blocks_nothing(database: Database, root: Path) -> None:
    gone = Owner(host=describe_process().host, boot="an earlier one", pid=1, started_s=1.0)
    begin(database, os.fsencode(root), gone)
    assert [gone] == list(list_calibrators(database).values())
    assert [] == recover(database)
    assert {} == list_calibrators(database)
