"""The dask strategy on a real cluster: what it refuses, and what it survives."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from runner.measure.trial import ScanTask, TrialResult
from runner.measure.trials import Progress, carry_out
from runner.model.jobs import Selection
from runner.model.runs import Status
from runner.strategies.base import Cluster, ScanRequest
from tests.benchmarks.dask_cluster import RealCluster

# Makes each directory take 4 ms, and one of them end its worker; SEEMS is the version that a worker claims to have.
PRELOAD = """
import os, signal, time
from runner.scan.pending import Pending
from runner.strategies.dask import reading

def open_slowly(self, parent, name, open=Pending.open):
    time.sleep(0.004)
    if name == b"poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return open(self, parent, name)

if Pending.open.__name__ != "open_slowly":  # a worker imports this twice
    Pending.open = open_slowly
if "SEEMS" in os.environ:
    reading.software = lambda: (os.environ["SEEMS"], "3.11")
"""
DIRECTORIES = 400


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A cluster whose scheduler blames a task for the first worker that it ends."""
    directory = tmp_path_factory.mktemp("cluster")
    with RealCluster(directory, preload=PRELOAD, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        for number in range(DIRECTORIES):
            below = Path(directory, str(number % 7), str(number % 50), str(number))
            below.mkdir(parents=True)
            (below / "x.md").touch()
        yield Path(directory)


def scan(
    root: Path,
    cluster: Cluster,
    strategy: str = "dask",
    *,
    stop: Callable[[], Status | None] = lambda: None,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> TrialResult:
    request = ScanRequest(
        root=os.fsencode(root), selection=Selection(), workers=2, start_method="fork", cluster=cluster
    )
    task = ScanTask(strategy=strategy, request=request)
    return carry_out(task, timeout_s=60, stop=stop, on_progress=on_progress)


def once_read(action: Callable[[], object]) -> Callable[[Progress], None]:
    """Return an observer that acts once, as soon as something was read."""
    left = [action]

    def observe(progress: Progress) -> None:
        if progress.directories and left:
            left.pop()()

    return observe


def expect_failure(outcome: TrialResult, *texts: str) -> None:
    assert (Status.FAILED, None, None) == (outcome.status, outcome.value, outcome.defect)
    assert outcome.message is not None
    assert "\n" not in outcome.message
    assert [] == [text for text in texts if text not in outcome.message], outcome.message


def expect_found(outcome: TrialResult, root: Path) -> None:
    assert (None, None) == (outcome.message, outcome.defect)
    assert scan(root, Cluster(), "sequential").value.digest == outcome.value.digest


def test_it_counts_cpu_time_and_memory_of_workers(real: RealCluster, tree: Path) -> None:
    outcome = scan(tree, real.cluster)
    expect_found(outcome, tree)
    assert 2 == outcome.workers
    assert 0 < outcome.workers_user_s + outcome.workers_system_s < 2 * outcome.wall_s
    assert outcome.max_rss_bytes > 30_000_000
    assert 0 < outcome.startup_s < outcome.wall_s
    assert outcome.detail.startswith("CPU time after the start: reading ")
    assert "lost" not in outcome.detail


@pytest.mark.parametrize(
    ("how", "texts"),
    [
        ({"threads": 2}, ["has several threads", "start it with --nthreads 1"]),
        ({"SEEMS": "0.0.9"}, ["has runner 0.0.9", "install runner"]),
    ],
)
def test_a_wrong_worker_is_refused(real: RealCluster, tree: Path, how: dict[str, str], texts: list[str]) -> None:
    worker = add_worker(real, **how)
    try:
        expect_failure(scan(tree, real.cluster), *texts)
    finally:
        real.end_worker(worker)


def add_worker(real: RealCluster, *wrapper: str, **how: Any) -> subprocess.Popen[bytes]:
    """Add a worker and wait until it is known."""
    before = real.known()
    worker = real.add_worker(*wrapper, **how)
    real.wait_for_workers(before + 1)
    return worker


def add_worker_with_mount(real: RealCluster, where: Path) -> subprocess.Popen[bytes]:
    """Add a worker to which a directory looks like an empty mount point."""
    script = 'mount -t tmpfs none "$0" && exec "$@"'
    return add_worker(real, "unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(where))


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting is not permitted here")


@needs_root
@pytest.mark.parametrize("below", ["", "3"])
def test_a_foreign_mount_of_a_worker_is_refused(real: RealCluster, tree: Path, below: str) -> None:
    worker = add_worker_with_mount(real, tree / below)
    try:
        outcome = scan(tree, real.cluster)
    finally:
        real.end_worker(worker)
    expect_failure(outcome, str(tree / below), "is another directory on the worker", "mount it")


@needs_root
def test_a_mount_that_vanishes_from_a_worker_fails_the_scan(real: RealCluster, tree: Path) -> None:
    script = 'mount --bind "$0" "$0" && exec "$@"'
    worker = add_worker(real, "unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(tree))
    hide = ["nsenter", "--target", str(worker.pid), "--mount", "mount", "-t", "tmpfs", "none", str(tree)]
    try:
        outcome = scan(tree, real.cluster, on_progress=once_read(lambda: subprocess.run(hide, check=True)))
    finally:
        real.end_worker(worker)
    expect_failure(outcome, str(tree), "is another directory on the worker")


def test_a_killed_worker_loses_nothing(real: RealCluster, tree: Path) -> None:
    worker = add_worker(real)
    outcome = scan(tree, real.cluster, on_progress=once_read(worker.kill))
    worker.wait()
    real.workers.remove(worker)
    expect_found(outcome, tree)
    assert "lost slice" in outcome.detail


def test_a_stopped_worker_delays_the_scan_little(real: RealCluster, tree: Path) -> None:
    worker = add_worker(real)
    try:
        outcome = scan(tree, real.cluster, on_progress=once_read(lambda: worker.send_signal(signal.SIGSTOP)))
    finally:
        worker.send_signal(signal.SIGCONT)
        real.end_worker(worker)
    expect_found(outcome, tree)
    assert "lost slice" in outcome.detail


def test_a_directory_that_ends_its_workers_is_a_problem(real: RealCluster, tmp_path: Path) -> None:
    for name in ("good", "poison", "fine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.md").touch()
    for _ in range(3):
        add_worker(real)
    outcome = scan(tmp_path, real.cluster)
    assert outcome.message is None
    assert [b"poison"] == [path for path, _, _ in outcome.value.problems]
    assert {b"good", b"fine"} == {path for path, _, _ in outcome.value.findings()}
    for worker in list(real.workers):
        if worker.poll() is not None:
            real.workers.remove(worker)


def test_a_scheduler_by_tls_that_dies_fails_the_scan(tree: Path, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-days", "2"]
    subprocess.run([*request, "-keyout", key, "-out", cert], check=True, capture_output=True)
    files = {"tls_ca": str(cert), "tls_cert": str(cert), "tls_key": str(key)}
    options = ("--tls-ca-file", str(cert), "--tls-cert", str(cert), "--tls-key", str(key))
    with RealCluster(tmp_path, 1, options, preload=PRELOAD) as tls:
        cluster = Cluster(tls.address, **files)
        assert tls.address.startswith("tls://")
        expect_failure(scan(tree, Cluster(tls.address, **files | {"tls_key": str(tmp_path)})), "can't be reached")
        expect_failure(scan(tree, cluster, on_progress=once_read(tls.scheduler.kill)), "ended during the scan")
        expect_failure(scan(tree, cluster), "can't be reached", "Connection refused", "start it")


def test_a_scheduler_that_does_not_answer_fails_the_scan(real: RealCluster, tree: Path) -> None:
    real.scheduler.send_signal(signal.SIGSTOP)
    try:
        outcome = scan(tree, real.cluster)
    finally:
        real.scheduler.send_signal(signal.SIGCONT)
    expect_failure(outcome, "can't be reached", "start it")


def test_a_local_cluster_listens_on_loopback_and_ends_with_its_trial(tree: Path) -> None:
    members: set[psutil.Process] = set()
    addresses: set[str] = set()

    def look() -> Status | None:
        [trial] = [child for child in psutil.Process().children() if os.getpgid(child.pid) == child.pid]
        members.update([trial, *trial.children(recursive=True)])
        connections: list[Any] = []
        for member in members:
            with suppress(psutil.NoSuchProcess):  # some only start others
                connections += member.net_connections("tcp")
        listening = [connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN]
        addresses.update(listening)
        return Status.CANCELLED if len(listening) >= 6 else None

    outcome = scan(tree, Cluster(), stop=look)
    assert outcome.status in {Status.CANCELLED, Status.SUCCEEDED}  # it may be quicker than the look
    assert {"127.0.0.1"} == addresses
    assert len(members) >= 4
    _, alive = psutil.wait_procs(members, 1)
    assert [] == [member for member in alive if member.status() != psutil.STATUS_ZOMBIE]
