"""What a daemon with a thousand jobs costs while nothing is due, and its memory over a simulated day.

The first is a real process, whose CPU time is measured. The second is a simulated day in which every job fires each 10
to 60 minutes, and in which memory has to stay as it is.
"""

import gc
import logging
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import psutil

from runner.history.database import locate
from runner.history.jobs import add_job
from runner.history.runs import list_lateness
from runner.history.upgrade import open_database
from runner.model.jobs import JobSpec
from runner.schedules.parse import parse_schedule
from tests.benchmarks.progress import make_parser, reporting, write_head, write_row
from tests.benchmarks.simulation import World

_MOST_PERCENT = 1.0
# How much memory may grow from the first full hour to the last; what it holds grows with nothing.
_MOST_GROWTH = 0.05
_FIRST_LOOK_S = 15.0
_ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tehran", "UTC")


def main() -> None:
    """Measure both, print two tables, and fail if either is above its mark."""
    given = make_parser(__doc__, jobs=1000, seconds=60.0, hours=24).parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        percent = _idle(Path(folder), given.jobs, given.seconds)
        growth = _day(Path(folder), given.jobs, given.hours)
    sys.exit(1 if percent > _MOST_PERCENT or growth > _MOST_GROWTH else 0)


def _idle(folder: Path, jobs: int, seconds: float) -> float:
    """Measure an idle daemon; returns its CPU time in percent of a core."""
    path = str(folder / "idle.db")
    now = datetime.now(UTC)
    with closing(open_database(locate(path))) as database:
        for number in range(jobs):
            when = (
                {"every": f"{2 + number % 300}d"},
                {"cron": f"{number % 60} {number % 24} 29 2 *"},
                {"at": (now + timedelta(days=1 + number)).isoformat()},
            )[number % 3]
            schedule = parse_schedule(**when, timezone=_ZONES[number % len(_ZONES)], now=now)
            add_job(database, JobSpec(name=f"job-{number}", root=b"/", schedule=schedule), now)
    command = [sys.executable, "-m", "runner", "daemon"]
    daemon = subprocess.Popen(command, env={**os.environ, "RUNNER_DB": path}, stderr=subprocess.DEVNULL)
    try:
        with reporting() as tell:
            tell("the daemon starts")
            time.sleep(_FIRST_LOOK_S)
            process = psutil.Process(daemon.pid)
            before, began = process.cpu_times(), time.monotonic()
            tell(f"the daemon is idle for {seconds:.0f} s")
            time.sleep(seconds)
            after, lasted_s = process.cpu_times(), time.monotonic() - began
            memory_bytes, threads = process.memory_info().rss, process.num_threads()
    finally:
        daemon.terminate()
        daemon.wait()
    used_s = after.user + after.system - before.user - before.system
    percent = 100 * used_s / lasted_s
    write_head("jobs", "measured", "CPU time", "of a core", "mark", "memory", "threads", first="--:")
    shares = f"{percent:.2f} %", f"{_MOST_PERCENT:.0f} %"
    write_row(f"{jobs:,}", f"{lasted_s:.0f} s", f"{used_s:.2f} s", *shares, f"{memory_bytes / 1e6:.0f} MB", threads)
    sys.stdout.write("\n")
    return percent


def _day(folder: Path, jobs: int, hours: int) -> float:
    """Simulate firings, and sample memory every hour; returns its growth after the first hour as a share."""
    random = Random(0)  # noqa: S311  chance, not secrets
    hour = timedelta(hours=1)
    sampled: list[int] = []
    write_head("simulated hour", "runs in it", "memory", first="--:")
    with closing(open_database(locate(str(folder / "day.db")))) as database, reporting() as tell:
        world = World(
            database, datetime(2026, 6, 1, tzinfo=UTC), takes=lambda _job: timedelta(milliseconds=300), at_once=2
        )

        def sample() -> None:
            tell(f"simulated hour {len(sampled) + 1}")
            runs = len(list_lateness(database, world.now - hour, 10_000))
            gc.collect()
            sampled.append(psutil.Process().memory_info().rss)
            write_row(len(sampled), f"{runs:,}", f"{sampled[-1] / 1e6:.1f} MB")

        with world.entered():
            for number in range(jobs):
                schedule = parse_schedule(every=f"{random.randint(10, 60)}m", timezone="UTC", now=world.now)
                add_job(database, JobSpec(name=f"job-{number}", root=b"/", schedule=schedule), world.now)
            for number in range(1, hours + 1):
                world.at(world.now + number * hour, sample)
            world.live(hours * hour + timedelta(seconds=1))
    growth = sampled[-1] / sampled[0] - 1
    sys.stdout.write(f"\nGrowth after the first hour: {growth:+.1%} (mark {_MOST_GROWTH:.0%})\n")
    return growth


if __name__ == "__main__":
    main()
