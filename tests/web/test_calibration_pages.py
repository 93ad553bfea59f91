from pathlib import Path

from browsing import served
from conftest import Program

from runner.history.database import Database


def test_no_calibrations_yet(place: str, database: Database) -> None:
    assert str(database.location)
    with served(place) as client:
        assert "No calibrations yet" in client.get("/calibrations").text
        assert [] == client.get("/calibrations.json").json()
        assert 404 == client.get("/calibrations/1").status_code
        assert 404 == client.get("/calibrations/x").status_code


def test_calibration_equals_the_command(place: str, program: Program, tree: Path) -> None:
    hostile = tree.rename(tree.parent / "<b>\u202e")
    shown = program.json("calibrate", hostile, "--rounds", "4", "--workers", "1", "--db", place)
    with served(place) as client:
        assert shown == client.get("/calibrations/1.json").json()
        [listed] = client.get("/calibrations.json").json()
        assert (1, 4, False, shown["root"]) == tuple(
            listed[key] for key in ("calibration", "rounds", "running", "root")
        )
        pages = [client.get(address).text for address in ("/calibrations", "/calibrations/1")]
        assert all("&lt;b&gt;\\u202e" in page and "<b>" not in page for page in pages)
        assert "pool of 1" in pages[1]
        assert "noise: repeated sequential runs differ" in pages[1]
