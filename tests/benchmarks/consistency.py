"""Answers during changes: every answer of every command equals that of some single state of the database.

Processes ask without a pause while runs are recorded, jobs are edited and removed, and old runs are pruned. After each
change the same questions are asked while nothing else is written, which gives the answers that are right. The database
is the one that is named, an empty history such as a postgresql:// URL; else a file.
"""

import io
import json
import random
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from runner.cli.main import main as run_program
from runner.history.backend import Backend
from runner.history.calibrations import begin_calibration, finish_calibration, record_round
from runner.history.database import Database, locate
from runner.history.jobs import add_job, change_job, get_job, remove_job
from runner.history.prune import Retention, prune
from runner.history.upgrade import open_database
from runner.measure.environment import describe_environment, describe_process
from runner.model.calibration import Condition, Measurement, Question
from runner.model.jobs import Job, JobSpec, Schedule, ScheduleKind, Selection
from runner.model.runs import Cache
from runner.scan.snapshot import PLACE, STAMPS, Part
from tests.benchmarks.histories import save_run
from tests.benchmarks.progress import make_parser
from tests.benchmarks.snapshots import stored

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as PipeConnection

# So seldom that what comes next is the same throughout.
_YEARLY = Schedule(
    kind=ScheduleKind.CRON, expression="0 0 1 1 *", timezone="UTC", interval_origin=datetime(2020, 1, 1, tzinfo=UTC)
)
_BEGINNING = "2020-01-01T00:00:00Z"
QUESTIONS = (
    *(("history",), ("history", "docs"), ("show", "7")),
    *(("files", "docs"), ("files", "docs", "--by-folder"), ("changes", "docs")),
    ("changes", "docs", "--since", _BEGINNING),
    ("changes", "docs", "--since", _BEGINNING, "--by-folder"),
    *(("jobs",), ("jobs", "export"), ("status",), ("trends", "docs"), ("regressions",), ("next", "docs")),
    *(("calibrate", "/", "--last"), ("db", "check"), ("prune", "--keep", "3", "--dry-run")),
)
_WITH_FORMAT = {"history", "show", "files", "changes", "jobs", "next", "status", "trends", "regressions", "calibrate"}


@dataclass(kw_only=True, slots=True)
class Outcome:
    """How many changes were made and answers given, and the answers of no single state, each with its question."""

    changes: int = 0
    answers: int = 0
    mixed: list[tuple[str, str]] = field(default_factory=list)


def answer(place: str, question: tuple[str, ...]) -> str:
    """Return what a command writes, and its exit code."""
    written = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(stream, "utf-8", write_through=True) for stream in written)
    form = ("--format", "json") if question[0] in _WITH_FORMAT and not {"export", "--format"} & {*question} else ()
    sys.argv = ["runner", *question, "--db", place, *form]
    code: object = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            run_program()
        except SystemExit as ended:
            code = ended.code
    return json.dumps([code, *(stream.getvalue().decode() for stream in written)])


def _ask(place: str, wanted: "PipeConnection[Any, Any]") -> None:
    """Ask the questions that come, each for as long as is said, and give all answers; None is the end."""
    while (order := wanted.recv()) is not None:
        question, seconds = order
        until = time.monotonic() + seconds
        answers = []
        while time.monotonic() < until:
            answers.append(answer(place, question))
        wanted.send(answers)


def stress(place: str, seconds: float, askers: int = 2) -> Outcome:
    """Update an empty history while processes ask it, one question after the other, for so many seconds in all."""
    asked: tuple[str, ...] = QUESTIONS[0]
    right: set[str] = set()
    outcome = Outcome()

    def note() -> None:
        outcome.changes += 1
        right.add(answer(place, asked))

    open_database(locate(place)).close()
    database = _Noted(locate(place), note)
    numbers = random.Random(14)  # noqa: S311  chance, not secrets
    job = add_job(database, JobSpec(name="docs", root=b"/srv/docs", schedule=_YEARLY), datetime.now(UTC))
    record(database, job, numbers)
    context = get_context("spawn")
    pipes = [context.Pipe() for _ in range(askers)]
    processes = [context.Process(target=_ask, args=(place, theirs)) for _, theirs in pipes]
    for process in processes:
        process.start()
    for asked in QUESTIONS:
        right.clear()
        note()
        for own, _ in pipes:
            own.send((asked, seconds / len(QUESTIONS)))
        while not all(own.poll() for own, _ in pipes):
            change(database, numbers)
        given = [one for own, _ in pipes for one in own.recv()]
        outcome.answers += len(given)
        outcome.mixed += [(" ".join(asked), one) for one in given if one not in right]
    for (own, _), process in zip(pipes, processes, strict=True):
        own.send(None)
        process.join()
    database.close()
    return outcome


class _Noted(Database):
    """A database that calls *changed* after each change."""

    def __init__(self, location: Backend, changed: Callable[[], None]) -> None:
        super().__init__(location)
        self._changed = changed

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with super().write() as connection:
            yield connection
        self._changed()


def record(database: Database, job: Job, numbers: random.Random) -> None:
    """Record a run that finds other files than the one before."""
    found = {f"{number}.md".encode(): (numbers.randrange(99), 1) for number in range(numbers.randrange(20, 60))}
    part = Part()
    part.names.append(b"")
    part.found.append(b"\0".join(sorted(found)))
    part.stats.append(array("q", chain(*(found[name] for name in sorted(found)))).tobytes())
    part.places += PLACE.pack(-1, len(found))
    part.stamps += STAMPS.pack(1, 2, 3, 4)
    save_run(database, job, stored([part]), numbers.uniform(1, 2))


def _calibrate(database: Database, numbers: random.Random) -> None:
    """Record a calibration of two rounds."""
    here = describe_environment(None, workers=1, start_method="fork")
    now, owner = datetime.now(UTC), describe_process()
    calibration = begin_calibration(database, b"/", Selection(), started_at=now, environment=here, owner=owner)
    alike: dict[str, Any] = dict.fromkeys(("user_s", "system_s", "files", "directories", "entries", "max_rss_bytes"), 1)
    for round_ in (1, 2):
        measured = [
            Measurement(
                condition=Condition(question=question, strategy="sequential", workers=1, start_method=None, path=b""),
                round=round_,
                position=position,
                wall_s=numbers.uniform(1, 2),
                startup_s=0.0,
                cache=Cache.WARM,
                **alike,
            )
            for position, question in enumerate((Question.WORKERS, Question.NOISE), start=1)
        ]
        record_round(database, calibration, measured)
    finish_calibration(database, calibration, datetime.now(UTC))


def change(database: Database, numbers: random.Random) -> None:
    """Update everything that an answer can consist of: jobs, runs, files."""
    now = datetime.now(UTC)
    job = get_job(database, "docs")
    record(database, job, numbers)
    day = f"0 0 {numbers.randrange(1, 29)} 1 *"
    spec = replace(job.spec, workers=numbers.randrange(1, 60), schedule=replace(_YEARLY, expression=day))
    job = change_job(database, job, spec, now)
    _calibrate(database, numbers)
    prune(database, Retention(newest=3))
    if numbers.random() < 1 / 4:
        remove_job(database, job, now)
        record(database, add_job(database, job.spec, now), numbers)


def main() -> None:
    """Ask for a while, and fail if an answer was of no single state."""
    given = make_parser(__doc__, seconds=60.0, db=str).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = stress(given.db or f"{folder}/history.db", given.seconds)
    wrong = f"{len(outcome.mixed)} of no single state"
    sys.stdout.write(f"{outcome.answers} answers during {outcome.changes} changes; {wrong}\n")
    for question, text in outcome.mixed[:5]:
        sys.stdout.write(f"runner {question}: {text[:500]}\n")
    sys.exit(bool(outcome.mixed))


if __name__ == "__main__":
    main()
