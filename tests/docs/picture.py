"""The picture of the README, made from the output of real commands: ``python -m tests.docs.picture``."""

import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parents[2] / "docs/picture.svg"
COMMANDS = ("schedule notes --every 1h", "run notes", "changes notes", "history")
_WIDTH = 88
SETTINGS = {"COLUMNS": str(_WIDTH), "FORCE_COLOR": "1", "TZ": "UTC"}


def draw(target: Path, directory: Path, call: Callable[[str], str], prepared_runs: int = 4) -> None:
    """Run the commands in a scratch directory by *call*, which returns their output, and save that as SVG."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    call("sample notes --recipe demo")
    for line in COMMANDS:
        console.print(Text.assemble(("$ ", "green"), (f"runner {line}", "bold")))
        console.print(Text.from_ansi(call(line).rstrip("\n").replace(f"{directory}/", "~/")), soft_wrap=True)
        console.print()
        if line.startswith("schedule"):
            _record_runs(directory, call, prepared_runs)
    # The font rules would load files from the network.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="runner"), flags=re.DOTALL)
    target.write_text(svg.replace("Fira Code, monospace", "monospace"))


def _record_runs(directory: Path, call: Callable[[str], str], number_of_runs: int) -> None:
    """Record some runs, and change the tree before the last one and for the next one."""
    notes = directory / "notes"
    for number in range(number_of_runs):
        if number == number_of_runs - 1:
            (notes / "reading-list.md").write_text("- The Art of Unix Programming\n")
        call("run notes")
    first, second, *_ = sorted(notes.rglob("*.md"))
    first.unlink()
    second.write_text("rewritten\n" * 40)
    (notes / "meeting.md").write_text("- agenda\n" * 30)


def main() -> None:
    """Draw the picture by real processes."""
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        environment = {**os.environ, **SETTINGS, "RUNNER_DB": f"{scratch}/runner.db", "XDG_CONFIG_HOME": scratch}

        def call(line: str) -> str:
            command = [sys.executable, "-m", "runner", *line.split()]
            done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, check=True, text=True)
            return done.stdout or done.stderr  # progress goes to stderr and would be shown frame by frame

        draw(PICTURE, Path(scratch), call)


if __name__ == "__main__":
    main()
