from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runner.model.jobs import Catchup, Event, Job, JobSpec, Notify, Schedule, ScheduleKind, Selection, Track
from runner.output.explain import Explanation, explain, explanation_record
from runner.schedules.fire_times import list_fire_times

NOW = datetime(2026, 3, 28, 12, tzinfo=UTC)
CRON = Schedule(kind=ScheduleKind.CRON, expression="30 2 * * mon-fri", timezone="Europe/Berlin", interval_origin=NOW)
HOURLY = replace(CRON, kind=ScheduleKind.EVERY, expression="1h", timezone="UTC", jitter_s=60)


def facts(spec: JobSpec, *, alive: bool = True) -> Explanation:
    job = Job(job_id=1, spec=spec, created_at=NOW, schedule_start=NOW)
    fires = list_fire_times(spec.schedule, 1, NOW, 1)[0] if spec.schedule else None
    return Explanation(job=job, fires=fires, alive=alive)


SPEC = JobSpec(name="docs", root=b"/srv/docs")


@pytest.mark.parametrize(
    ("explained", "sentence"),
    [
        (facts(SPEC), "docs finds the files named *.md below /srv/docs, and keeps their sizes and modification times."),
        (
            facts(replace(SPEC, selection=Selection(patterns=("a", "b", "c"), excludes=(".git",), track=Track.NAMES))),
            "docs finds the files named a, b or c below /srv/docs, except .git, and keeps only their names.",
        ),
        (
            facts(replace(SPEC, strategies=("pool", "incremental"), workers=2, timeout_s=600)),
            "A run scans with pool (2 workers) and incremental (reading all every 1d); each execution is stopped",
        ),
        (facts(SPEC), "It has no schedule, and runs only by `runner run docs`."),
        (
            facts(replace(SPEC, schedule=CRON)),
            "It fires at 02:30 on Monday through Friday in Europe/Berlin; next at Mon 2026-03-30 02:30:00 CEST.",
        ),
        (
            facts(replace(SPEC, schedule=replace(HOURLY, jitter_s=0)), alive=False),
            "next at Sat 2026-03-28 13:00:00 UTC; no daemon is alive, so nothing fires until `runner daemon` runs.",
        ),
        (
            facts(replace(SPEC, schedule=HOURLY, paused=True)),
            "each time delayed by a fixed part of 1m, but is paused: nothing fires until `runner resume docs`.",
        ),
        (
            facts(replace(SPEC, schedule=CRON, catchup=Catchup.NONE)),
            "Fire times that passed without a daemon are recorded as missed and not caught up. A fire time during",
        ),
        (
            facts(replace(SPEC, schedule=CRON, retries=1)),
            "A failed run is retried up to 1 time, 1m after each failure.",
        ),
        (
            facts(replace(SPEC, notify=(Notify(Event.SLOW, ("mail", "-s", "a b")),))),
            "On slow it runs the command mail -s 'a b'",
        ),
        (facts(SPEC), "Its runs are kept until `runner prune` deletes them."),
        (
            replace(facts(SPEC), retain_for="365d", retain_runs=1000, retain_failures=True),
            "keeps of its runs the newest 1,000, those of the last 365d and failed ones, and deletes the others.",
        ),
    ],
)
def test_a_job_is_explained_in_sentences(explained: Explanation, sentence: str) -> None:
    sentences = list(explain(explained))
    assert sentence in "\n".join(sentences)
    assert sentences == explanation_record(explained)["sentences"]
