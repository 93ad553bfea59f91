"""The driver: it checks the workers, issues slices to them and collects what they found, on one event loop."""

from __future__ import annotations

import asyncio
import errno
import gc
import marshal
import resource
import time
from contextlib import asynccontextmanager
from typing import Any

import distributed

from runner.model.errors import ScanError, reason_of
from runner.scan.snapshot import dump
from runner.scan.walk import Walker
from runner.strategies.base import NOTHING_USED, Scan
from runner.strategies.dask import unreachable
from runner.strategies.dask.local import LocalCluster
from runner.strategies.dask.reading import (
    describe_worker,
    encode_scan,
    find_identities,
    foreign,
    read_slice,
    several_threads,
    software,
)
from runner.strategies.dask.splitting import Splitting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runner.scan.snapshot import Snapshot
    from runner.scan.walk import Report
    from runner.strategies.base import Cluster, ScanRequest, Usage
    from runner.strategies.dask.splitting import Slice

# Limits for the scheduler to answer, for all workers to describe themselves, and for one to come back.
_CONNECT_S, _DESCRIBE_S, _WORKER_S = 1.0, 1.5, 30.0
# Interval of looking for workers that came or went, and for those that start.
_POLL_S, _START_POLL_S = 1.0, 0.01

_engine: Any = distributed  # only a part of it has types


def scan(request: ScanRequest, snapshot: Snapshot, report: Report) -> Scan:
    """Scan a tree on the cluster of the request; see :class:`~runner.strategies.base.Strategy`."""
    # The engine creates cycles, but none of its modules is garbage.
    gc.freeze()
    gc.enable()
    began_s = time.perf_counter()
    local = None
    walker = Walker(request.root, request.selection)
    try:
        local = LocalCluster(request.workers, request.cluster) if request.cluster.scheduler == "local" else None
        driver = _Driver(request, snapshot, report, walker)
        asyncio.run(driver.run(local))
        walker.check_root()
    except BaseException:
        if local is not None:
            local.end()
        raise
    finally:
        walker.close()
    return Scan(
        startup_s=driver.started_s - began_s,
        end=local.end if local is not None else lambda: None,
        workers=len(driver.used),
        # Those of a local cluster are collected.
        remote=NOTHING_USED if local is not None else driver.usage(),
        detail=driver.describe(),
    )


@asynccontextmanager
async def _connected(address: str, cluster: Cluster) -> AsyncIterator[Any]:
    """Connect to a scheduler; raise ScanError if it does not answer, or is gone later."""
    security = None
    if address.startswith("tls://"):
        files = {"tls_ca_file": cluster.tls_ca, "tls_client_cert": cluster.tls_cert, "tls_client_key": cluster.tls_key}
        security = _engine.Security(**files, require_encryption=True)
    try:
        # Not the default client of the process, which the engine's functions take if none is named.
        client = _engine.Client(address, asynchronous=True, set_as_default=False, security=security)
        # Its own timeout is no limit for a scheduler that is stopped.
        await asyncio.wait_for(client, _CONNECT_S)
    except (OSError, ValueError) as error:
        reason = f"no answer within {_CONNECT_S:g} s" if isinstance(error, TimeoutError) else reason_of(error)
        raise ScanError(unreachable(address, reason)) from error
    try:
        yield client
    except (OSError, _engine.client.FutureCancelledError, asyncio.CancelledError) as error:
        raise ScanError(f"the Dask scheduler {address} ended during the scan; start it, and run again") from error
    finally:
        await client.close(timeout=1)


class _Driver:
    """One scan: its workers, what is in flight, and what was found.

    Attributes:
        used: The usage of each worker, when it was first seen and after its last slice.
        started_s: When the first slice was issued.
    """

    def __init__(self, request: ScanRequest, snapshot: Snapshot, report: Report, walker: Walker) -> None:
        self._request = request
        self._snapshot = snapshot
        self._report = report
        self._walker = walker
        self._identities = find_identities(request.root, request.selection)
        self._scan = encode_scan(request.root, request.selection, self._identities)
        self._splitting = Splitting()
        self._running: dict[asyncio.Task[bytes], tuple[str, Slice]] = {}
        self._pieces = 0
        self._read_cpu_s = 0.0
        self._lost = 0
        self._scheduler = self._own_cpu_s = 0.0
        self.used: dict[str, tuple[Usage, Usage]] = {}
        self.started_s = 0.0

    async def run(self, local: LocalCluster | None) -> None:
        """Scan the tree by a local cluster, or else the one of the request."""
        address = local.address() if local is not None else self._request.cluster.scheduler
        async with _connected(address, self._request.cluster) as client:
            while local is not None and len(await client.scheduler.ncores()) < self._request.workers:
                local.check()
                await asyncio.sleep(_START_POLL_S)
            await self._check(client)
            scheduler_s, own_s = await _scheduler_cpu_s(client), time.process_time()
            self.started_s = time.perf_counter()
            await self._read(client)
            self._scheduler = await _scheduler_cpu_s(client) - scheduler_s
            self._own_cpu_s = time.process_time() - own_s

    async def _check(self, client: Any) -> None:
        """Check that every worker sees the same root, with the same software and one thread."""
        try:
            answers = await asyncio.wait_for(client.run(describe_worker, self._scan, on_error="return"), _DESCRIBE_S)
        except TimeoutError as error:
            silent = f"not all workers of the cluster answer within {_DESCRIBE_S:g} s"
            raise ScanError(f"{silent}; end those that are stopped or overloaded") from error
        if not answers:
            raise ScanError("the cluster has no worker; start one with `dask worker ADDRESS --nthreads 1`")
        for address, answer in answers.items():
            self._check_worker(address, answer)
        self._splitting.set_workers(answers)

    def _check_worker(self, address: str, answer: Any) -> None:
        runner, python = software()
        cure = f"install runner {runner} for Python {python} there"
        if isinstance(answer, Exception):
            raise ScanError(f"the worker {address} can't scan: {reason_of(answer)}; {cure}")
        found, threads, there, used = answer
        if found != (runner, python):
            raise ScanError(f"the worker {address} has runner {found[0]} for Python {found[1]}; {cure}")
        if threads != 1:
            raise ScanError(several_threads(address))
        for path in sorted(self._identities.keys() | there.keys()):
            if self._identities.get(path) != there.get(path):
                raise ScanError(foreign(address, self._request.root, path))
        self.used[address] = used, used

    def _now_s(self) -> float:
        return time.perf_counter() - self.started_s

    async def _read(self, client: Any) -> None:
        """Submit slices until everything was read."""
        splitting, look_s, seen_s = self._splitting, _POLL_S, 0.0
        try:
            while not splitting.is_done():
                for worker, slice_ in splitting.issue(self._now_s()):
                    task = asyncio.ensure_future(_submit(client, self._scan, worker, slice_))
                    self._running[task] = worker, slice_
                wait_s = min(_POLL_S, splitting.next_s(self._now_s()))
                if self._running:
                    done, _ = await asyncio.wait(self._running, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        self._finish(task)
                else:
                    await asyncio.sleep(_POLL_S)
                if self._now_s() >= look_s:
                    workers = await client.scheduler.ncores()
                    splitting.set_workers(workers)
                    look_s = self._now_s() + _POLL_S
                    seen_s = self._now_s() if workers else seen_s
                    if self._now_s() - seen_s > _WORKER_S:
                        raise ScanError(f"the cluster has had no worker for {_WORKER_S:g} s; start some, and run again")
        finally:
            self._lost += len(self._running)
            for task in self._running:
                task.cancel()

    def _finish(self, task: asyncio.Task[bytes]) -> None:
        """Accept the answer of a worker."""
        worker, slice_ = self._running.pop(task)
        self._splitting.release(worker)
        try:
            answer = task.result()
        except _engine.KilledWorker:
            path = self._splitting.bisect(slice_)
            if path is not None:
                self._snapshot.problems.append((path, errno.EIO, "it ended every worker that read it; see their logs"))
            return
        fields = marshal.loads(answer)  # noqa: S302  from runner
        if len(fields) == 2:
            self._walker.check_root()  # workers notice that it is another one, but not why
            reason, defect = fields
            raise RuntimeError(f"{reason}, in a worker: {defect}") if defect else ScanError(reason)
        reader, before, after, cpu_s, piece, problems, counts, left = fields
        self.used[reader] = self.used.get(reader, (before, before))[0], after
        self._read_cpu_s += cpu_s
        self._lost += reader != worker
        if self._splitting.finish(slice_, left, self._now_s()):
            self._pieces += 1
            self._snapshot.append(piece, counts, problems, source=self._pieces)
            self._report(*counts)

    def usage(self) -> Usage:
        """Return what the workers and the scheduler used."""
        pairs = self.used.values()
        user_s, system_s, blocks = (sum(after[field] - before[field] for before, after in pairs) for field in (0, 1, 3))
        return user_s + self._scheduler, system_s, max(after[2] for _, after in pairs), int(blocks)

    def describe(self) -> str:
        """Describe in one line which CPU time was spent where, after the start."""
        workers_s = sum(sum(after[:2]) - sum(before[:2]) for before, after in self.used.values())
        shares = {
            "reading": self._read_cpu_s,
            "other work of the workers": max(0.0, workers_s - self._read_cpu_s),
            "the scheduler": self._scheduler,
            "the driver": self._own_cpu_s,
        }
        spent = ", ".join(f"{name} {cpu_s:.2f} s" for name, cpu_s in shares.items())
        lost = f"; that of {self._lost} lost slices is unknown" if self._lost else ""
        return f"CPU time after the start: {spent}{lost}"


async def _scheduler_cpu_s(client: Any) -> float:
    used = await client.run_on_scheduler(resource.getrusage, resource.RUSAGE_SELF)
    return float(used.ru_utime + used.ru_stime)


async def _submit(client: Any, scan: bytes, worker: str, slice_: Slice) -> bytes:
    """Submit a slice to a worker, or another one if that is gone; return the answer."""
    arguments = (scan, dump(slice_.paths), slice_.length_s, slice_.descend)
    answer: bytes = await client.submit(read_slice, *arguments, workers=[worker], allow_other_workers=True, pure=False)
    return answer
