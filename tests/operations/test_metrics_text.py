"""The metrics file, read by Prometheus's own parsers."""

import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runner.operations.metrics_text import Sample, histogram, metrics_text

ODD = 'o"d\\d {x="1"} ä🦊\n'
SAMPLES: dict[str, list[Sample]] = {
    "up": [("", {}, 1)],
    "build_info": [("", {"python": "3.11.7", "version": "0.1.0"}, 1)],
    "lateness_seconds": histogram((0.1, 1.0), (3, 2, 1), 9.5),
    "runs_total": [("", {"job": ODD, "status": "failed"}, 5)],
    "last_success_timestamp_seconds": [("", {"job": ODD}, 1.5), ("", {"job": "unknown"}, None)],
    "last_run_duration_seconds": [("", {"job": ODD, "strategy": "pool"}, 1e-05)],
}


def test_every_sample_is_read_unchanged() -> None:
    families = list(text_string_to_metric_families(metrics_text(SAMPLES)))
    assert all(family.documentation and family.type in {"gauge", "counter", "histogram"} for family in families)
    expected = {
        (f"runner_{name}{suffix}", *sorted(labels.items())): value
        for name, samples in SAMPLES.items()
        for suffix, labels, value in samples
        if value is not None
    }
    found = [
        ((sample.name, *sorted(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
    ]
    assert len(expected) == len(found)
    assert expected == dict(found)
    assert [3, 5, 6] == [value for (name, *_), value in found if name == "runner_lateness_seconds_bucket"]


@pytest.mark.parametrize("samples", [{}, SAMPLES])
def test_promtool_finds_no_fault(samples: dict[str, list[Sample]]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("Prometheus's promtool is not installed")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=metrics_text(samples).encode(), capture_output=True, check=False
    )
    assert (0, b"") == (done.returncode, done.stdout + done.stderr)
