"""Audit of what a daemon has recorded: each fire time once, with the catch-up runs chosen."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from runner.model.jobs import Catchup, Schedule
from runner.model.runs import Cause, Run, Status
from tests.benchmarks.almanac import Almanac
from tests.benchmarks.simulation import Life

# As the README says of --catchup all.
_MOST_MADE_UP = 100
# For how long after a run it may be that the next one has not begun.
_AFTERMATH = timedelta(seconds=1)


@dataclass(slots=True)
class Arming:
    """A span of time in which a job has a schedule that is not held; *until* is None if it goes on."""

    job_id: int
    schedule: Schedule
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """How many fire times there were, what they became, and what is otherwise than it should be, in words."""

    expected: int
    carried_out: int
    skipped: int
    missed: int
    made_up: int
    differences: list[str]


def balance(
    job_id: int, catchup: Catchup, armings: Sequence[Arming], almanac: Almanac, lives: Sequence[Life],
    held: Sequence[tuple[datetime, datetime]], everything: Sequence[Run],
) -> Account:  # fmt: skip
    """Compare the rows of a job with its fire times up to when the last daemon began.

    Args:
        job_id: The job.
        catchup: How it catches up on missed fire times.
        armings: Its own, in order.
        almanac: Knows all fire times.
        lives: The daemons there have been, in order; what the last of them did is left aside.
        held: From when to when a daemon was held up.
        everything: The rows of all jobs, oldest first.
    """
    end = lives[-1].began_at
    times = [at for arming in armings for at in _own_times(arming, almanac, lives, end)]
    runs = [run for run in everything if run.job_id == job_id]
    dated = [(at, run) for run in runs if (at := run.scheduled_at) and at <= end and run.attempt == 1]
    firings = [(at, run) for at, run in dated if run.cause is Cause.SCHEDULE]
    recorded = [at for at, run in firings if run.status is not Status.MISSED]
    skipped = [(at, run) for at, run in firings if run.status is Status.SKIPPED]
    wrong = [
        f"{at} was skipped beside no other run, and its job was not held"
        for at, run in skipped
        if not _overlapped(at, runs) and not _given_up(at, run, armings)
    ]
    counted: list[datetime] = []
    expected: Counter[datetime] = Counter()
    excused: set[datetime] = set()
    for at, gap in firings:
        if gap.status is Status.MISSED:
            place = bisect_left(times, at)
            covered = times[place : place + gap.missed]
            if covered[:1] != [at]:
                wrong.append(f"run {gap.run_id} was missed at {at}, which is no fire time")
            elif gap.finished_at is None or [one for one in times[place:] if one <= gap.finished_at] != covered:
                wrong.append(f"run {gap.run_id} does not count {gap.missed} up to when it was recorded")
            counted += covered
            mine = _to_make_up(catchup, covered)
            expected.update(mine)
            if mine and _may_stay_owed(gap, catchup, armings, lives, everything):
                excused.update(mine)
    account = Counter(recorded + counted)
    wrong += [f"{at} is recorded {account[at]} times" for at in account if account[at] > 1]
    wrong += [f"{at} is recorded and no fire time" for at in account.keys() - set(times)]
    wrong += [f"{at} is not recorded" for at in set(times) - account.keys()]
    wrong += _misplaced(runs, counted, lives, held, end)
    made_up = Counter(at for at, run in dated if run.cause is Cause.CATCHUP)
    wrong += [f"{at} has no catch-up run" for at in (expected - made_up) if at not in excused]
    wrong += [f"{at} has a catch-up run without being expected" for at in (made_up - expected)]
    return Account(
        expected=len(times), carried_out=len(recorded) - len(skipped), skipped=len(skipped), missed=len(counted),
        made_up=made_up.total(), differences=[f"job {job_id}: {what}" for what in wrong],
    )  # fmt: skip


def _misplaced(
    runs: Sequence[Run], counted: Sequence[datetime], lives: Sequence[Life],
    held: Sequence[tuple[datetime, datetime]], end: datetime,
) -> Iterator[str]:  # fmt: skip
    """Yield fire times that were missed while a daemon fired others, and that ran while there was none."""
    started = [run for run in runs if run.started_at is not None and run.cause is Cause.SCHEDULE]
    begun = {run.scheduled_at for run in started if run.scheduled_at is not None}
    for at in counted:
        life = next((life for life in lives if life.began_at < at <= life.ended_at), None)
        was_held = any(low <= at <= high for low, high in held)
        if life is not None and not was_held and any(at <= one <= life.ended_at for one in begun):
            yield f"{at} was missed although a daemon fired then"
    for at in begun:
        if at <= end and not _lived(lives, at):
            yield f"{at} ran although no daemon did"


def _own_times(arming: Arming, almanac: Almanac, lives: Sequence[Life], end: datetime) -> list[datetime]:
    """Return the fire times of an arming; those of a downtime in which it ended are nobody's."""
    until = min(end, arming.until or end)
    if arming.until is not None and arming.until <= end and not _lived(lives, arming.until):
        until = max((life.ended_at for life in lives if life.ended_at <= arming.until), default=arming.since)
    return almanac.times(arming.schedule, arming.job_id, arming.since, until)


def _lived(lives: Sequence[Life], at: datetime) -> bool:
    return any(life.began_at <= at <= life.ended_at for life in lives)


def _to_make_up(catchup: Catchup, covered: list[datetime]) -> list[datetime]:
    if catchup is Catchup.NONE:
        return []
    return covered[-_MOST_MADE_UP:] if catchup is Catchup.ALL else covered[-1:]


def _may_stay_owed(
    missed: Run, catchup: Catchup, armings: Sequence[Arming], lives: Sequence[Life], everything: Sequence[Run]
) -> bool:
    """Return whether the catch-up run of a missed row need not have begun.

    It waits while other runs go on, and then the job may be changed, or the daemon end before it begins; of the gaps
    before and after that, ``once`` runs one.
    """
    since = missed.finished_at
    assert since is not None, "a missed row says when it was written"
    arming = next((one for one in reversed(armings) if one.since < since), None)
    ends = [arming.until] if arming is not None and arming.until is not None else []
    if catchup is Catchup.ONCE:
        later = (run.finished_at for run in everything if run.job_id == missed.job_id and run.run_id > missed.run_id
                 and run.status is Status.MISSED)  # fmt: skip
        superseded = next(later, None)
        ends += [life.ended_at for life in lives if superseded is not None and since <= life.ended_at <= superseded]
    for end in ends:
        # What ends a job's time while no daemon runs comes after the end of the last one.
        busy = end if _lived(lives, end) else max(life.ended_at for life in lives if life.ended_at <= end)
        if any(
            run.started_at is not None and run.started_at <= busy
            and (run.finished_at is None or run.finished_at >= busy - _AFTERMATH)
            for run in everything
        ):  # fmt: skip
            return True
    return False


def _overlapped(at: datetime, runs: Sequence[Run]) -> bool:
    return any(
        run.started_at is not None and run.scheduled_at is not None and run.scheduled_at < at
        and (run.finished_at is None or run.finished_at >= at)
        for run in runs
    )  # fmt: skip


def _given_up(at: datetime, skipped: Run, armings: Sequence[Arming]) -> bool:
    """Return whether the job was changed, held or removed while the firing waited for other jobs' runs."""
    recorded_at = skipped.finished_at
    assert recorded_at is not None, "a skipped row says when it was written"
    return any(one.until is not None and at <= one.until <= recorded_at for one in armings)
