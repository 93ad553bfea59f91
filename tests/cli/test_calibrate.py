import csv
import io
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import Program

from runner.history.calibrations import begin_calibration
from runner.measure.environment import describe_environment, describe_process
from runner.model.jobs import Selection


@pytest.fixture
def program(tmp_path: Path, place: str) -> Program:
    """Give the real program with an empty history, of each kind of database."""
    return Program(folder=tmp_path, environment={**os.environ, "RUNNER_DB": place})


@pytest.fixture
def tree(program: Program) -> Path:
    root = program.folder / "tree"
    for number in range(12):
        (root / str(number)).mkdir(parents=True)
        for name in range(60):
            (root / str(number) / f"{name}.md").touch()
    return root


def test_a_calibration_is_shown_kept_and_shown_again(program: Program, tree: Path) -> None:
    shown = program.out("calibrate", tree, "--rounds", "4", "--workers", "1")
    flat = " ".join(shown.split())
    assert "720 files in 13 directories, 732 entries; 4 rounds, medians" in flat
    assert re.search(r"noise: repeated sequential runs differ by up to [0-9.]+%; smaller differences", flat)
    for part in ("workers", "pool of 2", "start methods, pool of 1", "forkserver", "sizes"):
        assert part in flat
    assert "no break-even: the subtrees span too little" in flat
    assert shown == program.out("calibrate", tree, "--last")

    answer = program.json("calibrate", tree, "--last")
    low, high = answer["noise"]["interval"]
    assert 0 < low <= answer["noise"]["ratio"] <= high
    assert answer["noise"]["floor"] == pytest.approx(max(high, 1 / low) - 1)
    alone, *pools = answer["scaling"]
    assert ("sequential", None) == (alone["strategy"], alone["speed_up"])
    assert [1, 2] == [pool["workers"] for pool in pools]
    for pool in pools:
        assert pool["efficiency"] == pytest.approx(pool["speed_up"] / pool["workers"])
        assert pool["interval"][0] <= pool["speed_up"] <= pool["interval"][1]
    assert {"fork", "forkserver", "spawn"} == {row["start_method"] for row in answer["start_methods"]}
    assert (None, None) == (answer["break_even_entries"], answer["break_even_interval"])

    slower = [row for row in [*pools, *answer["start_methods"]] if row["speed_up"] < 1]
    assert len(slower) == len(re.findall("start-up [0-9]+%", flat))
    assert bool(slower) is ("serial fraction: for a slower pool, the share of its start-up" in flat)

    lines = [json.loads(line) for line in program.out("calibrate", tree, "--last", "--format", "jsonl").splitlines()]
    rows = list(csv.DictReader(io.StringIO(program.out("calibrate", tree, "--last", "--format", "csv"))))
    assert [str(line["wall_s"]) for line in lines] == [row["wall_s"] for row in rows]
    assert {1, 2, 3, 4} == {line["round"] for line in lines}


def test_status_tells_of_a_calibration_that_goes_on(program: Program, tree: Path) -> None:
    root = os.fsencode(tree)
    environment = describe_environment(root, workers=1, start_method="fork")
    with program.opened() as database:
        begin_calibration(
            database, root, Selection(), started_at=datetime.now(UTC), environment=environment, owner=describe_process()
        )
    answer = program.quick("status", "--format", "json")
    assert (1, [str(tree)]) == (answer.returncode, json.loads(answer.stdout)["calibrated"])
    assert f"a calibration of {tree}" in " ".join(program.quick("status").stdout.decode().split())


def test_a_log_is_told_how_far_a_calibration_is(program: Program, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.cli.foreground.LOG_INTERVAL_S", 0)
    answer = program.quick("calibrate", tree, "--rounds", "1", "--workers", "1").stderr.decode().splitlines()
    numbers = [int(line.split(" of ")[0]) for line in answer[1:]]
    assert list(range(1, len(numbers) + 1)) == numbers
    assert len(numbers) > 3
    assert {f"of {len(numbers) + 1}:"} == {" ".join(line.split()[1:3]) for line in answer[1:]}


def test_with_few_rounds_there_are_medians_but_no_intervals(program: Program, tree: Path) -> None:
    shown = program.out("calibrate", tree, "--rounds", "1", "--workers", "1")
    assert "noise: unknown with fewer than 4 rounds" in shown
    answer = program.json("calibrate", tree, "--last")
    assert None is answer["noise"] is answer["scaling"][1]["speed_up"]


def test_only_a_tree_that_was_calibrated_has_a_last_time(program: Program, tree: Path) -> None:
    assert "was never calibrated; leave out --last" in program.refused("calibrate", tree, "--last")
    for flags in ("--rounds 2", "--workers 1", "--pattern *", "--match-case", "--track stat"):
        said = program.refused("calibrate", tree, "--last", *flags.split())
        assert "leave out the options that say how to measure" in said
