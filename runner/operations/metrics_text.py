"""The daemon's metrics in Prometheus's text format, version 0.0.4."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

_HISTOGRAM = "lateness_seconds"
# Names without the prefix, and meanings, in the order of the file. Counters end in _total; the others are gauges.
_METRICS = {
    "up": "Whether the daemon runs; 0 once it has stopped.",
    "heartbeat_timestamp_seconds": "The last heartbeat of the daemon's scheduler, which has one every second.",
    "start_timestamp_seconds": "When the daemon started.",
    "build_info": "The versions of runner and Python.",
    "jobs": "Jobs.",
    "runs_running": "Running runs.",
    _HISTOGRAM: "From the fire times of scheduled runs to their starts, since the daemon started.",
    "runs_total": "Finished runs, manual or scheduled, since the daemon started.",
    "missed_fire_times_total": "Fire times missed while no daemon ran, recorded since the daemon started.",
    "skipped_fire_times_total": "Fire times skipped as the previous run was still running, since the daemon started.",
    "next_fire_timestamp_seconds": "The next fire time of the job; absent while it is paused or has no schedule.",
    "last_success_timestamp_seconds": "End of the last successful run; a partial run is not one.",
    "run_duration_seconds": "From start to end of the last saved run.",
    "files": "Entries found by the last saved run.",
    "directories": "Directories read by the last saved run.",
    "last_run_duration_seconds": "Wall time of each execution of the last saved run.",
}

# What follows the name of a metric: a suffix, labels and a value; without a value there is no sample.
Sample = tuple[str, Mapping[str, str], float | None]


def metrics_text(samples: Mapping[str, Iterable[Sample]]) -> str:
    """Format samples by the names of their metrics; see https://prometheus.io/docs/instrumenting/exposition_formats."""
    lines: list[str] = []
    for name, meaning in _METRICS.items():
        kind = "counter" if name.endswith("_total") else "histogram" if name == _HISTOGRAM else "gauge"
        lines += [f"# HELP runner_{name} {meaning}", f"# TYPE runner_{name} {kind}"]
        lines += [
            f"runner_{name}{suffix}{_format_labels(labels)} {value!r}"
            for suffix, labels, value in samples.get(name, ())
            if value is not None
        ]
    return "\n".join(lines) + "\n"


def histogram(bounds: Sequence[float], counts: Sequence[int], total: float) -> list[Sample]:
    """Return the samples of a histogram from rising upper bounds, the counts up to each and above, and the sum."""
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
