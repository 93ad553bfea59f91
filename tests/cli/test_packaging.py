"""What the wheel, the sdist and an editable install carry."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CARRIED = {
    *(f"migrations/{path.relative_to(ROOT / 'migrations')}" for path in (ROOT / "migrations").rglob("*.py")),
    *(f"data/{path.name}" for path in (ROOT / "data").glob("*.toml")),
}


def build(kind: str, folder: Path) -> Path:
    """Build a distribution without the network, by the build backend that is installed."""
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, capture_output=True, check=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_carries_migrations_and_recipes_and_nothing_beside_the_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"runner/{path}" for path in CARRIED} <= names
    assert {"runner"} == {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert [] == [name for name in names if "__pycache__" in name]


def test_the_sdist_carries_what_it_takes_to_build_and_to_test(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert CARRIED | {"README.md", "LICENSE", "pyproject.toml", "tests/conftest.py", "runner/__main__.py"} <= names


def test_an_installed_wheel_finds_its_migrations_and_recipes(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    options = ["--quiet", "--no-deps", "--no-index", "--target", str(site)]
    install = [sys.executable, "-m", "pip", "install", *options, str(wheel)]
    subprocess.run(install, capture_output=True, check=True)
    script = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import runner; from runner.cli.main import main\n"
        f"assert runner.__file__.startswith({str(site)!r})\n"
        "main()\n"
    )
    for arguments in (["sample", "tree", "--recipe", "demo"], ["--db", "new.db", "run", "tree"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], cwd=tmp_path, capture_output=True, check=False
        )  # fmt: skip
        assert 0 == done.returncode, done.stderr.decode()
    assert (tmp_path / "new.db").exists()


def test_an_editable_install_copies_nothing(tmp_path: Path) -> None:
    # Built without pip, whose editable install would leave its traces in the checkout or in this environment.
    script = f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        assert [".pth"] == [Path(name).suffix or name for name in names]
        assert str(ROOT) == archive.read(names[0]).decode().strip()
