"""A world in which daemons live by a clock that only the simulation moves, and in which runs take simulated time.

The daemon is the real one, with its loop, its timetable under APScheduler, its workers and its database. These
things are put in place of others: the clock; the scheduler's own thread, which is asked what is due whenever it would
have woken; the threads of the workers and the queues at which threads wait, where time passes; and the scan itself.
"""

import heapq
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import greenlet
import time_machine
from apscheduler.schedulers.base import BaseScheduler
from sqlalchemy import func, select

from runner.daemon import clock, dispatcher, firing_runner, heartbeat, lock, scheduler, shutdown, workers
from runner.daemon import daemon as daemon_loop
from runner.daemon.guard import guarded
from runner.daemon.settings import DaemonSettings
from runner.execution import locks, recovery
from runner.history.database import Database
from runner.history.recording import RunOutcome, begin_run, finish_run
from runner.history.tables import firings
from runner.measure.environment import describe_process
from runner.measure.observer import RunObserver
from runner.model.jobs import Job
from runner.model.runs import Environment, Firing, Owner, Status

_SECOND_US = 1_000_000
_GRACE = timedelta(seconds=5)
# No process has such a number.
_FIRST_PID = 2**30
_HERE = Environment(
    host="here", system="Linux", machine="x86_64", python="CPython", cpus=2, start_method="fork", workers=2,
    filesystem="tmpfs", runner_version="0",
)  # fmt: skip


class Killed(BaseException):
    """The daemon was killed."""


@dataclass(frozen=True, slots=True)
class Life:
    """One daemon's time, by the clock: from when it took over the jobs until it was told to stop, or was killed."""

    began_at: datetime
    ended_at: datetime


@dataclass(eq=False)
class World:
    """Time, what happens in it, and at most one daemon."""

    database: Database
    # What the clock shows at first; aware UTC.
    start: datetime
    # How long a run of a job takes, and how it ends.
    takes: Callable[[Job], timedelta] = lambda _job: timedelta(seconds=1)
    ends: Callable[[Job], Status] = lambda _job: Status.SUCCEEDED
    # How many workers a daemon has.
    at_once: int = 1
    # By how much at most the scheduler's thread wakes too late.
    late: timedelta = timedelta(milliseconds=20)
    # Whether rounds of the daemon's loop in which nothing could happen are left out.
    leaps: bool = True
    seed: int = 0
    lives: list[Life] = field(default_factory=list)
    # From when to when, by the clock, a daemon was held up.
    held: list[tuple[datetime, datetime]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311  chance, not secrets
        # What a clock that nobody sets shows, and by how much the clock is ahead of it.
        self._passed_us = 0
        self._ahead = timedelta()
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self._look_us: int | None = None
        self._scheduler: Any = None
        self._daemon: Any = None
        self._owner = describe_process()
        self._happened = False
        self._dead = False
        self._threads = _Threads(self)
        self._clock: Any = None

    @property
    def now(self) -> datetime:
        return self.start + timedelta(microseconds=self._passed_us) + self._ahead

    @contextmanager
    def entered(self) -> Iterator["World"]:
        """Enter the world: this process reads its time from here on."""
        world = self

        class Scheduler(scheduler._Scheduler):
            """One whose thread is the world."""

            def start(self, *arguments: Any, **options: Any) -> None:
                world._scheduler = self
                BaseScheduler.start(self, *arguments, **options)

            def wakeup(self) -> None:
                world._look_us = world._passed_us

            def shutdown(self, *arguments: Any, **options: Any) -> None:
                world._look_us = None
                BaseScheduler.shutdown(self, *arguments, **options)

        clocks = SimpleNamespace(monotonic=self._monotonic, time=self._time, sleep=self._sleep)
        threads = SimpleNamespace(Thread=self._threads.make, Lock=threading.Lock)
        places: list[tuple[Any, str, Any]] = [
            *((module, "time", clocks) for module in (clock, daemon_loop, heartbeat, shutdown)),
            (daemon_loop, "queue", SimpleNamespace(SimpleQueue=lambda: _Inbox(world), Empty=queue.Empty)),
            (daemon_loop, "listen", lambda *_: None),
            (daemon_loop, "prune_daily", lambda *_: None),
            (daemon_loop, "guarded", self._guarded),
            (heartbeat, "guarded", self._guarded),
            (dispatcher, "guarded", self._guarded),
            (firing_runner, "fire", self._fire),
            (daemon_loop, "describe_process", lambda: self._owner),
            (scheduler, "time", clocks),
            (scheduler, "_Scheduler", Scheduler),
            (workers, "threading", threads),
            (workers, "queue", SimpleNamespace(SimpleQueue=lambda: _Waiting(world))),
            (locks, "time", clocks),
            (recovery, "is_alive", self._is_alive),
            (lock, "is_alive", self._is_alive),
        ]
        patches = [patch.object(*place) for place in places]
        for one in patches:
            one.start()
        try:
            with time_machine.travel(self.start, tick=False) as self._clock:
                yield self
        finally:
            for one in reversed(patches):
                one.stop()

    def after(self, delay: timedelta, action: Callable[[], None]) -> None:
        """Schedule a call for when so much time has passed, however the clock is set until then."""
        due_us = self._passed_us + max(0, delay // timedelta(microseconds=1))
        heapq.heappush(self._events, (due_us, next(self._numbers), action))

    def at(self, instant: datetime, action: Callable[[], None]) -> None:
        """Schedule a call for when the clock will show an instant, unless it is set until then."""
        self.after(instant - self.now, action)

    def set_clock(self, by: timedelta) -> None:
        """Set the clock forward or back; forward is also what a machine does that wakes from sleep."""
        before = self.now
        self._ahead += by
        self._happened = True
        self._move(self._passed_us)
        if by > timedelta():
            self.held.append((before, self.now))

    def hold_up(self, for_: timedelta) -> None:
        """Advance the time in which no process gets anything to do."""
        before = self.now
        self._happened = True
        self._move(self._passed_us + for_ // timedelta(microseconds=1))
        self.held.append((before, self.now))

    def live(self, lasting: timedelta, *, killed: bool = False) -> None:
        """Run a daemon for a time, and end by SIGTERM or by SIGKILL."""
        self._owner = Owner(host=self._owner.host, boot="simulated", pid=_FIRST_PID + len(self.lives), started_s=0.0)
        self._dead, self._happened = False, True
        began_at, ended_at = self.now, self.now
        daemon = daemon_loop.Daemon(
            self.database,
            lambda: DaemonSettings(start_method=_HERE.start_method, at_once=self.at_once),
            lambda *_: {},
        )
        self._daemon = daemon

        def end() -> None:
            nonlocal ended_at
            ended_at = self.now
            if killed:
                raise Killed
            daemon._on_signal(signal.SIGTERM)
            self.after(_GRACE, self._threads.wake_all)

        self.after(lasting, end)
        try:
            daemon.run()
        except Killed:
            pass
        finally:
            self._daemon = None
            self.lives.append(Life(began_at, ended_at))

    def rest(self, lasting: timedelta) -> None:
        """Advance the time without a daemon."""
        until_us = self._passed_us + lasting // timedelta(microseconds=1)
        while self._events and self._events[0][0] <= until_us:
            self._do_next()
        self._move(until_us)

    def wait(self, items: deque[Any], timeout: float | None) -> Any:
        """Wait in place of the daemon's loop: let time pass until there is an item for it, or raise queue.Empty."""
        deadline_us = self._passed_us + round((timeout or 0.0) * _SECOND_US)
        try:
            while True:
                self._settle()
                if items:
                    self._happened = True
                    return items.popleft()
                next_us = self._next_us()
                if next_us is not None and next_us <= deadline_us:
                    self._step(next_us)
                    continue
                self._move(deadline_us + self._leap_us(next_us, deadline_us))
                self._happened = False
                raise queue.Empty
        except Killed:
            self._bury()
            raise

    def pass_until(self, done: Callable[[], bool]) -> None:
        """Advance the time until something is so, while the daemon's loop no longer turns."""
        self._settle()
        while not done():
            next_us = self._next_us()
            assert next_us is not None, "nothing happens any more"
            self._step(next_us)
            self._settle()

    def _step(self, next_us: int) -> None:
        if self._events and self._events[0][0] == next_us:
            self._do_next()
        else:
            self._move(next_us)

    def _do_next(self) -> None:
        due_us, _, action = heapq.heappop(self._events)
        self._move(max(due_us, self._passed_us))
        self._happened = True
        action()

    def _leap_us(self, next_us: int | None, deadline_us: int) -> int:
        """Return how many whole rounds pass without anything to do."""
        if not self.leaps or self._happened or next_us is None:
            return 0
        until_us = next_us
        with self.database.read() as connection:  # for which the daemon's loop itself waits
            waiting = select(func.min(firings.c.not_before)).where(firings.c.not_before > self.now)
            retry_at = connection.execute(waiting).scalar()
        if retry_at is not None:
            until_us = min(next_us, self._passed_us + (retry_at - self.now) // timedelta(microseconds=1))
        return (max(until_us, deadline_us) - deadline_us) // _SECOND_US * _SECOND_US

    def _next_us(self) -> int | None:
        coming = [event[0] for event in self._events[:1]]
        coming += [self._look_us] if self._look_us is not None else []
        return max(self._passed_us, min(coming)) if coming else None

    def _settle(self) -> None:
        """Run everything that can run at this very moment."""
        while True:
            if self._look_us is not None and self._look_us <= self._passed_us:
                wait_s = self._scheduler._process_jobs()
                late_us = self._random.randrange(self.late // timedelta(microseconds=1) + 1)
                self._look_us = None if wait_s is None else self._passed_us + int(wait_s * _SECOND_US) + 1 + late_us
            elif not self._threads.let_one_on():
                return

    def _move(self, passed_us: int) -> None:
        self._passed_us = passed_us
        self._clock.move_to(self.now)

    def _monotonic(self) -> float:
        return self._passed_us / _SECOND_US

    def _time(self) -> float:
        return self.now.timestamp()

    def _sleep(self, seconds: float) -> None:
        """Sleep in a worker's thread."""
        self.after(timedelta(seconds=seconds), self._threads.sleep())
        self._threads.stay()

    def _is_alive(self, owner: Owner) -> bool:
        return owner == self._owner and not self._dead

    def _bury(self) -> None:
        """Discard everything written from now on by a daemon that was killed."""
        self._dead = True
        self._threads.end()

    def _guarded(self, action: Callable[[], object], job: Job | None = None) -> None:
        if not self._dead:
            guarded(action, job)

    def _fire(
        self, database: Database, job: Job, firing: Firing | None, *, at_once: int, observer: RunObserver, **_: Any,
    ) -> int:  # fmt: skip
        """Run as ``fire`` does, only that nothing is scanned."""

        def begin() -> int:
            return begin_run(
                database, job, firing, clock=lambda: self.now, environment=_HERE, owner=self._owner, at_once=at_once,
            )  # fmt: skip

        run_id = locks.wait_for_slot(database, begin, observer, what=job.spec.name, job_id=job.job_id)
        observer.on_strategy(job.spec.strategies[0], 1)
        began_us = self._passed_us
        until_us = began_us + self.takes(job) // timedelta(microseconds=1)
        while self._passed_us < until_us and observer.stop() is None:
            self._sleep((until_us - self._passed_us) / _SECOND_US)
        status = self.ends(job) if self._passed_us >= until_us else observer.stop() or Status.INTERRUPTED
        wall_s = (self._passed_us - began_us) / _SECOND_US
        finish_run(database, run_id, RunOutcome(status=status, finished_at=datetime.now(UTC), wall_s=wall_s))
        return run_id


class _Inbox:
    """The queue at which the daemon's loop waits."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._items: deque[Any] = deque()
        self.put = self._items.append

    def get(self, timeout: float | None = None) -> Any:
        return self._world.wait(self._items, timeout)


class _Waiting:
    """The queue at which the workers wait."""

    def __init__(self, world: World) -> None:
        self._threads = world._threads
        self._threads.waiting = deque()
        self.put = self._threads.waiting.append

    def get(self) -> Any:
        self._threads.idle.append(greenlet.getcurrent())
        self._threads.stay()
        return self._threads.waiting.popleft()


class _Threads:
    """The workers, of which one goes on at a time, while the world stands still."""

    def __init__(self, world: World) -> None:
        self._world = world
        # What there is for those that are idle, the longest waiting first.
        self.waiting: deque[Any] = deque()
        self.idle: deque[greenlet.greenlet] = deque()
        self._asleep: dict[greenlet.greenlet, None] = {}

    def make(self, target: Callable[[], None], name: str, *, daemon: bool = False) -> "_Thread":  # noqa: ARG002
        """Make a thread; none outlives the world, whatever kind it is."""
        return _Thread(self._world, target, name)

    def stay(self) -> None:
        """Run the world until the thread that calls this is woken."""
        world = greenlet.getcurrent().parent
        assert world is not None, "only a worker stays"
        world.switch()

    def sleep(self) -> Callable[[], None]:
        """Return what wakes the thread that calls this, should it sleep then."""
        sleeper = greenlet.getcurrent()
        self._asleep[sleeper] = None
        return lambda: self._wake(sleeper)

    def _wake(self, sleeper: greenlet.greenlet) -> None:
        if sleeper in self._asleep:  # or it was woken for another reason
            del self._asleep[sleeper]
            sleeper.switch()

    def wake_all(self) -> None:
        for sleeper in list(self._asleep):
            self._wake(sleeper)

    def let_one_on(self) -> bool:
        """Make an idle thread take what there is for it; returns whether there was."""
        if not self.waiting or not self.idle:
            return False
        self.idle.popleft().switch()
        return True

    def end(self) -> None:
        for thread in [*self.idle, *self._asleep]:
            thread.throw()
        self.idle.clear()
        self._asleep.clear()


class _Thread:
    """A worker's thread: a greenlet, as threads that take turns would spend their time waiting for each other."""

    def __init__(self, world: World, target: Callable[[], None], name: str) -> None:
        self.name = name
        self._world = world
        self._greenlet = greenlet.greenlet(target)

    def start(self) -> None:
        self._greenlet.switch()

    def is_alive(self) -> bool:
        return not self._greenlet.dead

    def join(self, _timeout: float | None = None) -> None:
        """Wait until it has ended, however long that takes: nobody gives a simulated daemon a second signal."""
        self._world.pass_until(lambda: self._greenlet.dead)
