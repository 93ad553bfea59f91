"""The metrics file, read by Prometheus's own parsers."""

import shutil
import subprocess
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runner.model.metrics import Histogram, JobMetrics, Metrics
from runner.model.runs import Status
from runner.output.metrics import metrics_text

NOW = datetime(2026, 11, 22, 10, 0, 0, 250_000, tzinfo=UTC)
ODD = 'o"d\\d {x="1"} ä🦊'


def example(*jobs: JobMetrics) -> Metrics:
    return Metrics(
        up=True,
        started_at=NOW,
        alive_at=NOW,
        version="0.1.0",
        python="3.11.7",
        running=1,
        lateness_s=Histogram(bounds=(0.1, 1.0), counts=(3, 2, 1), total=9.5),
        jobs=jobs,
    )


FULL = JobMetrics(
    job=ODD,
    ended={Status.SUCCEEDED: 5, Status.TIMED_OUT: 1},
    missed=4,
    skipped=2,
    next_at=NOW,
    succeeded_at=NOW,
    wall_s=0.5,
    strategy_wall_s={"sequential": 0.2, "pool": 1e-05},
    files=7,
    directories=5,
)
EMPTY = JobMetrics(job="empty", ended={}, strategy_wall_s={})


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Parse what is written; each sample by its name and the values of its labels in the order of their names."""
    found = {}
    for family in text_string_to_metric_families(metrics_text(metrics)):
        assert family.documentation
        assert family.type in {"gauge", "counter", "histogram"}
        for sample in family.samples:
            key = (sample.name, *(sample.labels[label] for label in sorted(sample.labels)))
            assert key not in found
            found[key] = sample.value
    return found


def test_every_figure_is_read_as_it_was() -> None:
    found = samples(example(FULL))
    assert 1 == found["runner_up",]
    assert NOW.timestamp() == found["runner_heartbeat_timestamp_seconds",]
    assert 1 == found["runner_build_info", "3.11.7", "0.1.0"]
    assert [1, 1] == [found["runner_jobs",], found["runner_runs_running",]]
    assert [3, 5, 6] == [found["runner_lateness_seconds_bucket", bound] for bound in ("0.1", "1.0", "+Inf")]
    assert [9.5, 6] == [found[f"runner_lateness_seconds_{name}",] for name in ("sum", "count")]
    assert [5, 1, 0] == [found["runner_runs_total", ODD, status] for status in ("succeeded", "timed_out", "failed")]
    assert [4, 2] == [found[f"runner_{name}_fire_times_total", ODD] for name in ("missed", "skipped")]
    assert NOW.timestamp() == found["runner_next_fire_timestamp_seconds", ODD]
    assert NOW.timestamp() == found["runner_last_success_timestamp_seconds", ODD]
    assert [0.5, 7, 5] == [found[f"runner_{name}", ODD] for name in ("run_duration_seconds", "files", "directories")]
    assert [0.2, 1e-05] == [found["runner_last_run_duration_seconds", ODD, name] for name in ("sequential", "pool")]


def test_what_is_not_known_has_no_sample_but_counts_begin_at_nothing() -> None:
    of_job = {key: value for key, value in samples(example(EMPTY)).items() if "empty" in key}
    assert {0} == set(of_job.values())
    assert {"runner_runs_total", "runner_missed_fire_times_total", "runner_skipped_fire_times_total"} == {
        key[0] for key in of_job
    }


@pytest.mark.parametrize("jobs", [(), (FULL, EMPTY)])
def test_promtool_has_nothing_to_say(jobs: tuple[JobMetrics, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("Prometheus's promtool is not installed")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=metrics_text(example(*jobs)).encode(), capture_output=True, check=False
    )
    assert (0, b"") == (done.returncode, done.stdout + done.stderr)
