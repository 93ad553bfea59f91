"""The daemon's metrics in Prometheus's text format, version 0.0.4."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

# Type and meaning of each metric, in the order of the file.
_METRICS = {
    "runner_up": ("gauge", "Whether the daemon runs; 0 once it has stopped."),
    "runner_heartbeat_timestamp_seconds": (
        "gauge",
        "The last heartbeat of the daemon's scheduler, which has one every second.",
    ),
    "runner_start_timestamp_seconds": ("gauge", "When the daemon started."),
    "runner_build_info": ("gauge", "The versions of runner and Python."),
    "runner_jobs": ("gauge", "Jobs."),
    "runner_runs_running": ("gauge", "Running runs."),
    "runner_lateness_seconds": (
        "histogram",
        "From the fire times of scheduled runs to their starts, since the daemon started.",
    ),
    "runner_runs_total": ("counter", "Finished runs, manual or scheduled, since the daemon started."),
    "runner_missed_fire_times_total": (
        "counter",
        "Fire times missed while no daemon ran, recorded since the daemon started.",
    ),
    "runner_skipped_fire_times_total": (
        "counter",
        "Fire times skipped since the previous run was still running, since the daemon started.",
    ),
    "runner_next_fire_timestamp_seconds": (
        "gauge",
        "The next fire time of the job; absent while it is paused or has no schedule.",
    ),
    "runner_last_success_timestamp_seconds": ("gauge", "End of the last successful run; a partial run is not one."),
    "runner_run_duration_seconds": ("gauge", "From start to end of the last saved run."),
    "runner_files": ("gauge", "Entries found by the last saved run."),
    "runner_directories": ("gauge", "Directories read by the last saved run."),
    "runner_last_run_duration_seconds": ("gauge", "Wall time of each execution of the last saved run."),
}

# What follows the name of a metric: a suffix, labels and a value; without a value there is no sample.
Sample = tuple[str, Mapping[str, str], float | None]


def metrics_text(samples: Mapping[str, Iterable[Sample]]) -> str:
    """Format samples by the names of their metrics.

    Source:
        https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    lines: list[str] = []
    for name, (kind, meaning) in _METRICS.items():
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
        lines += [
            f"{name}{suffix}{_format_labels(labels)} {value!r}"
            for suffix, labels, value in samples.get(name, ())
            if value is not None
        ]
    return "\n".join(lines) + "\n"


def histogram(bounds: Sequence[float], counts: Sequence[int], total: float) -> list[Sample]:
    """Return the samples of a histogram.

    Args:
        bounds: The upper bounds of its ranges, themselves included; rising.
        counts: The number of values in each; one more than bounds, for the values above them all.
        total: The sum of all values.
    """
    *within, count = accumulate(counts)
    buckets = [*zip(map(repr, bounds), within, strict=True), ("+Inf", count)]
    return [
        *(("_bucket", {"le": bound}, number) for bound, number in buckets),
        ("_sum", {}, total),
        ("_count", {}, count),
    ]


def _format_labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    escaped = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    return "{" + ",".join(f'{name}="{value.translate(escaped)}"' for name, value in labels.items()) + "}"
