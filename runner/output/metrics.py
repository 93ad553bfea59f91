"""The daemon's figures in Prometheus's text format, version 0.0.4."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import accumulate

from runner.model.metrics import JobMetrics, Metrics
from runner.model.runs import Status

# How a run that was carried out may end; each is there from the start, so that its first time is seen as a rise.
_ENDED = [status for status in Status if status not in {Status.RUNNING, Status.MISSED, Status.SKIPPED}]
# What stands behind the name, such as labels, and a value.
_Samples = Iterable[tuple[str, float | None]]


def metrics_text(metrics: Metrics) -> str:
    """Write the figures of a daemon; what is not known has no sample.

    Source:
        https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    lines: list[str] = []
    for name, kind, meaning, samples in _families(metrics):
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{labels} {value!r}" for labels, value in samples if value is not None]
    return "\n".join(lines) + "\n"


def _families(metrics: Metrics) -> Iterator[tuple[str, str, str, _Samples]]:
    """Yield each figure with its name, kind, meaning and samples."""

    def gauge(name: str, meaning: str, value: float) -> tuple[str, str, str, _Samples]:
        return name, "gauge", meaning, [("", value)]

    yield gauge("runner_up", "Whether the daemon runs; 0 once it has stopped.", int(metrics.up))
    heartbeat = "The last heartbeat of the daemon's scheduler, which has one every second."
    yield gauge("runner_heartbeat_timestamp_seconds", heartbeat, metrics.alive_at.timestamp())
    yield gauge("runner_start_timestamp_seconds", "When the daemon started.", metrics.started_at.timestamp())
    versions = _labels(python=metrics.python, version=metrics.version)
    yield "runner_build_info", "gauge", "The versions of runner and Python.", [(versions, 1)]
    yield gauge("runner_jobs", "Jobs.", len(metrics.jobs))
    yield gauge("runner_runs_running", "Running runs.", metrics.running)
    late = "From the fire times of scheduled runs to their starts, since the daemon started."
    yield "runner_lateness_seconds", "histogram", late, _lateness(metrics)
    for name, kind, meaning, value in _OF_JOBS:
        yield name, kind, meaning, [(_labels(job=job.job), value(job)) for job in metrics.jobs]
    ended = (
        (_labels(job=job.job, status=status), job.ended.get(status, 0)) for job in metrics.jobs for status in _ENDED
    )
    yield "runner_runs_total", "counter", "Finished runs, manual or scheduled, since the daemon started.", ended
    walls = (
        (_labels(job=job.job, strategy=strategy), wall_s)
        for job in metrics.jobs
        for strategy, wall_s in job.strategy_wall_s.items()
    )
    yield "runner_last_run_duration_seconds", "gauge", "Wall time of each execution of the last saved run.", walls


def _lateness(metrics: Metrics) -> Iterator[tuple[str, float]]:
    *within, count = accumulate(metrics.lateness_s.counts)
    bounds = [*map(repr, metrics.lateness_s.bounds), "+Inf"]
    yield from ((f"_bucket{_labels(le=bound)}", number) for bound, number in zip(bounds, [*within, count], strict=True))
    yield "_sum", metrics.lateness_s.total
    yield "_count", count


def _seconds(instant: datetime | None) -> float | None:
    return instant.timestamp() if instant is not None else None


_NEXT = "The next fire time of the job; absent while it is paused or has no schedule."
_MISSED = "Fire times missed while no daemon ran, recorded since the daemon started."
_SKIPPED = "Fire times skipped since the previous run was still running, since the daemon started."
_SUCCESS = "End of the last successful run; a partial run is not one."
_OF_JOBS: list[tuple[str, str, str, Callable[[JobMetrics], float | None]]] = [
    ("runner_missed_fire_times_total", "counter", _MISSED, lambda job: job.missed),
    ("runner_skipped_fire_times_total", "counter", _SKIPPED, lambda job: job.skipped),
    ("runner_next_fire_timestamp_seconds", "gauge", _NEXT, lambda job: _seconds(job.next_at)),
    ("runner_last_success_timestamp_seconds", "gauge", _SUCCESS, lambda job: _seconds(job.succeeded_at)),
    ("runner_run_duration_seconds", "gauge", "From start to end of the last saved run.", lambda job: job.wall_s),
    ("runner_files", "gauge", "Entries found by the last saved run.", lambda job: job.files),
    ("runner_directories", "gauge", "Directories read by the last saved run.", lambda job: job.directories),
]


def _labels(**labels: str) -> str:
    pairs = ",".join(f'{name}="{_escape(label)}"' for name, label in labels.items())
    return f"{{{pairs}}}"


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
