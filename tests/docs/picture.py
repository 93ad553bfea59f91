"""The picture of the README, made from the output of real commands: ``python -m tests.docs.picture``."""

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parents[2] / "docs/picture.svg"
COMMANDS = (
    "runner schedule notes --every 1h",
    "runner run notes",
    "runner changes notes",
    "runner history",
)
_WIDTH = 88
_PREPARED_RUNS = 4


def draw(target: Path) -> None:
    """Run the commands in a scratch directory and save their output as SVG."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        directory = Path(scratch)
        _call(directory, "runner sample notes --recipe demo")
        for line in COMMANDS:
            console.print(Text.assemble(("$ ", "green"), (line, "bold")))
            shown = _call(directory, line).replace(f"{directory}/", "~/")
            console.print(Text.from_ansi(shown), soft_wrap=True)
            console.print()
            if line.startswith("runner schedule"):
                _record_runs(directory)
    target.write_text(_without_remote_fonts(console.export_svg(title="runner")))


def _record_runs(directory: Path) -> None:
    """Record some runs, and change the tree before the last one and for the next one."""
    notes = directory / "notes"
    for number in range(_PREPARED_RUNS):
        if number == _PREPARED_RUNS - 1:
            (notes / "reading-list.md").write_text("- The Art of Unix Programming\n")
        _call(directory, "runner run notes")
    first, second, *_ = sorted(notes.rglob("*.md"))
    first.unlink()
    second.write_text("rewritten\n" * 40)
    (notes / "meeting.md").write_text("- agenda\n" * 30)


def _call(directory: Path, line: str) -> str:
    environment = {
        **os.environ,
        "COLUMNS": str(_WIDTH),
        "FORCE_COLOR": "1",
        "RUNNER_DB": str(directory / "runner.db"),
        "TZ": "UTC",
        "XDG_CONFIG_HOME": str(directory),
    }
    command = [sys.executable, "-m", *shlex.split(line)]
    done = subprocess.run(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True, text=True
    )
    return done.stdout.rstrip("\n")


def _without_remote_fonts(svg: str) -> str:
    """Remove the font rules that would load files from the network."""
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")


if __name__ == "__main__":
    draw(PICTURE)
