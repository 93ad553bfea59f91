"""The splitting of the strategy dask, which the simulated cluster runs as it is."""

import math
from random import Random

import pytest

from runner.strategies.dask.splitting import MAX_S, MIN_S, Slice, Splitting
from tests.benchmarks.cluster_model import Costs, simulate

COSTS = Costs(files_per_s=100_000, scheduler_s=0.001, driver_s=0.0005)


@pytest.mark.parametrize("workers", [1, 2, 7, 100])
@pytest.mark.parametrize("directories", [1, 2, 1_000, 30_000])
def test_every_directory_is_read_once_by_few_slices(workers: int, directories: int) -> None:
    result = simulate(directories, workers, COSTS)
    assert directories == result.directories
    assert result.slices <= 2 + 40 * workers + directories // 10


def test_workers_that_stop_or_are_killed_lose_nothing() -> None:
    random = Random(1)  # noqa: S311  chance, not secrets
    fates: dict[tuple[str, int], tuple[str, Slice]] = {}  # with the slice, whose id would be given to another

    def fate(worker: str, slice_: Slice) -> str:
        if worker == "worker 0":
            return "stopped"
        # A single directory that ends its workers again and again would be a problem.
        chosen = random.choice(["killed", *([""] * 20)]) if len(slice_.paths) > 1 else ""
        return fates.setdefault((worker, id(slice_)), (chosen, slice_))[0]

    result = simulate(3_000, 5, COSTS, fate=fate)
    assert (3_000, 0) == (result.directories, result.problems)


def test_a_stopped_worker_delays_by_ten_slices_at_most() -> None:
    undisturbed = simulate(30_000, 8, COSTS)
    stopped = simulate(30_000, 8, COSTS, fate=lambda worker, _slice: "stopped" if worker == "worker 3" else "")
    assert 30_000 == stopped.directories
    assert stopped.wall_s <= undisturbed.wall_s * 8 / 7 + max(1.0, 10 * undisturbed.wall_s / 8)


def test_slices_grow_while_nobody_is_hungry() -> None:
    splitting = Splitting()
    splitting.set_workers(["one"])
    paths, lengths = [b"a", b"b", b"c"], []
    for step in range(60):
        [(_, slice_)] = splitting.issue(float(step))
        lengths.append(slice_.length_s)
        splitting.release("one")
        assert splitting.finish(slice_, paths, step + 0.5)
    assert MIN_S == lengths[0]
    assert MAX_S == lengths[-1]


def test_the_first_answer_wins_and_a_late_one_frees_its_worker() -> None:
    splitting = Splitting()
    splitting.set_workers(["one", "two"])
    [(first, slice_)] = splitting.issue(0.0)
    assert [] == list(splitting.issue(0.9))
    assert pytest.approx(0.1) == splitting.next_s(0.9)
    [(second, again)] = splitting.issue(1.0)
    assert (slice_, {"one", "two"}) == (again, {first, second})
    assert math.isinf(splitting.next_s(1.0))  # nobody is idle
    splitting.release(second)
    assert splitting.finish(slice_, [], 1.1)
    assert splitting.is_done()
    splitting.release(first)
    assert not splitting.finish(slice_, [b"late"], 1.2)
    assert splitting.is_done()


def test_a_worker_that_is_gone_gets_nothing() -> None:
    splitting = Splitting()
    splitting.set_workers(["one"])
    [(_, slice_)] = splitting.issue(0.0)
    splitting.set_workers(["two"])
    splitting.release("one")
    assert splitting.finish(slice_, [b"a"], 0.1)
    assert ["two"] == [worker for worker, _ in splitting.issue(0.1)]


def test_a_deadly_directory_is_found_by_halves() -> None:
    splitting = Splitting()
    splitting.set_workers(["one"])
    deadly, issued = [], 0
    [(_, root)] = splitting.issue(0.0)
    splitting.release("one")
    splitting.finish(root, [b"%d" % number for number in range(64)], 0.1)
    while not splitting.is_done():
        for worker, slice_ in splitting.issue(0.2):
            issued += 1
            splitting.release(worker)
            if b"17" in slice_.paths:
                deadly.append(splitting.bisect(slice_))
            else:
                splitting.finish(slice_, [], 0.3)
    assert [b"17"] == [path for path in deadly if path is not None]
    assert issued <= 16
