"""The trees that are scanned: each changes at random and can be taken away."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.benchmarks import fault_system as system


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """A job under test: its name, its interval and further flags."""

    name: str
    every_s: int
    choices: tuple[str, ...]


JOBS = (
    Watched(name="often", every_s=1, choices=("--workers", "2")),
    Watched(name="other", every_s=2, choices=("--strategy", "sequential", "--catchup", "none")),
    Watched(name="large", every_s=2, choices=("--strategy", "pool", "--workers", "2", "--timeout", "6s")),
    Watched(name="known", every_s=1, choices=("-s", "sequential", "-s", "incremental", "--catchup", "all")),
)


class Trees:
    """A tree for each job, each a mount of its own where that is permitted."""

    def __init__(self, folder: Path, random: Random, *, mounts: bool) -> None:
        self._folder = folder
        self._random = random
        self._mounts = mounts

    def root(self, job: str) -> Path:
        return self._folder / "trees" / job

    def plant(self) -> None:
        """Write the trees."""
        for job in JOBS:
            source = self._folder / "sources" / job.name
            large = job.name == "large"
            for number in range(40 if large else 12):
                folder = source / f"part-{number}"
                folder.mkdir(parents=True)
                for file in range(60 if large else 3):
                    # Names so long that what a worker gives back does not fit into a pipe.
                    (folder / (f"{file}-{'long' * 25}.md" if large else f"{file}.md")).write_text(f"{file}\n")
                for below in range(40 if large else 20):
                    (folder / f"below-{below}").mkdir()
            self.root(job.name).parent.mkdir(exist_ok=True)
            if self._mounts:
                self.root(job.name).mkdir()
                self.mount(job.name)
            else:
                source.rename(self.root(job.name))

    def mount(self, job: str) -> None:
        """Attach the tree of a job where it belongs."""
        system.mount("--bind", self._folder / "sources" / job, self.root(job))

    def unmount(self, job: str) -> None:
        """Remove the mount of the tree of a job, even while others read it."""
        system.unmount(self.root(job))

    def change(self, job: str, count: int = 1) -> None:
        """Update the tree of a job at random, *count* times."""
        root = self.root(job)
        parts = sorted(path for path in root.iterdir() if path.is_dir())
        for _ in range(count):
            folder = self._random.choice(parts)
            match self._random.randrange(5):
                case 0 | 1:
                    (folder / f"new-{self._random.randrange(10**6)}.md").write_text("new\n")
                case 2:
                    self._some_file(folder).write_text("x" * self._random.randrange(999))
                case 3:
                    self._some_file(folder).unlink(missing_ok=True)
                case _:
                    below = folder / f"below-{self._random.randrange(20)}"
                    with suppress(OSError):  # it was moved before
                        below.rename(folder / f"moved-{self._random.randrange(10**6)}")

    def _some_file(self, folder: Path) -> Path:
        files = sorted(folder.glob("*.md"))
        return self._random.choice(files) if files else folder / "only.md"
