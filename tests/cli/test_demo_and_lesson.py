"""What is there to try runner out: the sample, the lesson and the demo."""

import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from conftest import Program, find_markdown


def test_the_demo_shows_timed_firings_their_history_and_a_verdict(program: Program) -> None:
    done = program.call("demo", "--firings", "4")
    shown = done.stdout.decode()
    assert 0 == done.returncode, done.stderr.decode()
    for line in (
        "$ runner sample",
        "$ runner schedule ./directories --every 2s",
        "$ runner daemon",
        "$ runner history",
    ):
        assert line in shown
    assert "+1 −1 ~1" in shown or "+1 -1 ~1" in shown
    assert "Verdict" in shown
    assert [] == [path.name for path in program.folder.iterdir() if "demo" in path.name]
    assert not program.database.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_the_demo_shows_a_year_as_web_pages(program: Program, number: int, code: int) -> None:
    program.environment["TMPDIR"] = str(program.folder)
    with program.start("demo", "--web", stderr=subprocess.PIPE) as served:
        assert served.stderr
        assert b"inventing" in served.stderr.readline()
        address = served.stderr.readline().decode().split()[1]
        page = httpx.get(f"{address}runs").text
        assert "notes" in page
        assert "Invented data" in page
        served.send_signal(number)
        assert code == served.wait(20), served.stderr.read()
    assert [] == list(program.folder.iterdir())


def test_the_lesson_measures_both_experiments_in_both_ways(program: Program) -> None:
    program.out("sample", "directories", "--recipe", "demo")
    records = program.json("lesson", "directories", "--rounds", "1", "--workers", "2")
    assert [("squares", "sequential"), ("squares", "pool"), ("markdown", "sequential"), ("markdown", "pool")] == [
        (record["experiment"], record["way"]) for record in records
    ]
    markdown = len(find_markdown(program.folder / "directories"))
    assert [328_350, 328_350, markdown, markdown] == [record["result"] for record in records]
    for record in records:
        assert record["wall_s"] > 0
        assert (record["way"] == "pool") is (record["workers_user_s"] + record["workers_system_s"] > 0)
    shown = " ".join(program.out("lesson", "directories", "--rounds", "1").split())
    assert 2 == shown.count(" won: ")
    assert 2 == shown.count("the pool's parent shows only")


def test_a_sample_is_the_same_each_time(program: Program) -> None:
    contents = []
    for name in ("one", "two"):
        assert "" == program.out("sample", name, "--recipe", "demo")
        root = program.folder / name
        contents.append({path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()})
    assert contents[0] == contents[1]
    assert Path(".DS_Store") in contents[0]
