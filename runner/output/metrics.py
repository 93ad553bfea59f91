"""The daemon's figures in Prometheus's text format, version 0.0.4."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import accumulate

from runner.model.metrics import Histogram, JobMetrics, Metrics
from runner.model.runs import Status

# How a run that was carried out may end; each is there from the start, so that its first time is seen as a rise.
_ENDED = (
    Status.SUCCEEDED,
    Status.PARTIAL,
    Status.FAILED,
    Status.TIMED_OUT,
    Status.CANCELLED,
    Status.INTERRUPTED,
)
# Samples as they stand behind a name: labels and a value.
_Samples = Iterable[tuple[str, float | None]]


def metrics_text(metrics: Metrics) -> str:
    """Write the figures of a daemon; what is not known has no sample.

    Source:
        https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    lines: list[str] = []

    def add(name: str, kind: str, meaning: str, samples: _Samples) -> None:
        lines.append(f"# HELP {name} {meaning}")
        lines.append(f"# TYPE {name} {kind}")
        lines.extend(f"{name}{labels} {_number(value)}" for labels, value in samples if value is not None)

    def single(name: str, meaning: str, value: float) -> None:
        add(name, "gauge", meaning, [("", value)])

    version = f'{{python="{_escape(metrics.python)}",version="{_escape(metrics.version)}"}}'
    single("runner_up", "Whether the daemon runs; 0 once it has stopped.", int(metrics.up))
    single(
        "runner_heartbeat_timestamp_seconds",
        "The last heartbeat of the daemon's scheduler, which has one every second.",
        metrics.alive_at.timestamp(),
    )
    single("runner_start_timestamp_seconds", "When the daemon started.", metrics.started_at.timestamp())
    add("runner_build_info", "gauge", "The versions of runner and Python.", [(version, 1)])
    single("runner_jobs", "Jobs.", len(metrics.jobs))
    single("runner_runs_running", "Running runs.", metrics.running)
    lines.extend(
        _histogram(
            "runner_lateness_seconds",
            "From the fire times of scheduled runs to their starts, since the daemon started.",
            metrics.lateness_s,
        )
    )
    labelled = [(f'job="{_escape(job.job)}"', job) for job in metrics.jobs]
    add(
        "runner_runs_total",
        "counter",
        "Finished runs, manual or scheduled, since the daemon started.",
        ((f'{{{label},status="{status}"}}', job.ended.get(status, 0)) for label, job in labelled for status in _ENDED),
    )
    for name, kind, meaning, value in _OF_JOBS:
        add(name, kind, meaning, ((f"{{{label}}}", value(job)) for label, job in labelled))
    add(
        "runner_last_run_duration_seconds",
        "gauge",
        "Wall time of each execution of the last saved run.",
        (
            (f'{{{label},strategy="{_escape(strategy)}"}}', wall_s)
            for label, job in labelled
            for strategy, wall_s in job.strategy_wall_s.items()
        ),
    )
    return "\n".join(lines) + "\n"


def _seconds(instant: datetime | None) -> float | None:
    return instant.timestamp() if instant is not None else None


_OF_JOBS: Sequence[tuple[str, str, str, Callable[[JobMetrics], float | None]]] = (
    (
        "runner_missed_fire_times_total",
        "counter",
        "Fire times missed while no daemon ran, recorded since the daemon started.",
        lambda job: job.missed,
    ),
    (
        "runner_skipped_fire_times_total",
        "counter",
        "Fire times skipped since the previous run was still running, since the daemon started.",
        lambda job: job.skipped,
    ),
    (
        "runner_next_fire_timestamp_seconds",
        "gauge",
        "The next fire time of the job; absent while it is paused or has no schedule.",
        lambda job: _seconds(job.next_at),
    ),
    (
        "runner_last_success_timestamp_seconds",
        "gauge",
        "End of the last successful run; a partial run is not one.",
        lambda job: _seconds(job.succeeded_at),
    ),
    (
        "runner_run_duration_seconds",
        "gauge",
        "From start to end of the last saved run.",
        lambda job: job.wall_s,
    ),
    ("runner_files", "gauge", "Entries found by the last saved run.", lambda job: job.files),
    (
        "runner_directories",
        "gauge",
        "Directories read by the last saved run.",
        lambda job: job.directories,
    ),
)


def _histogram(name: str, meaning: str, histogram: Histogram) -> list[str]:
    *within, count = accumulate(histogram.counts)
    bounds = [_number(bound) for bound in histogram.bounds]
    buckets = [*zip(bounds, within, strict=True), ("+Inf", count)]
    return [
        f"# HELP {name} {meaning}",
        f"# TYPE {name} histogram",
        *(f'{name}_bucket{{le="{bound}"}} {number}' for bound, number in buckets),
        f"{name}_sum {_number(histogram.total)}",
        f"{name}_count {count}",
    ]


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
