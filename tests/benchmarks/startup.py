"""The CPU time of short commands beside that of importing their libraries, interleaved."""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

# Typer's help is rendered by what it imports of Rich; `import rich` alone imports next to nothing.
_IMPORTS = {"Typer and Rich": "typer, typer.rich_utils", "SQLAlchemy, Typer and Rich": "sqlalchemy, typer, rich"}
_COMPLETION = {"_RUNNER_COMPLETE": "complete_bash", "COMP_WORDS": "runner history --st", "COMP_CWORD": "2"}
# By the name of a command its arguments, its variables, its libraries, and the target of the ratio.
_COMMANDS: dict[str, tuple[list[str], Mapping[str, str], str, float]] = {
    "runner --help": (["--help"], {}, "Typer and Rich", 1.6),
    "completion of an option": ([], _COMPLETION, "Typer and Rich", 1.6),
    "runner history": (["history"], {}, "SQLAlchemy, Typer and Rich", 1.25),
}


def measure_cpu_s(command: list[str], environment: Mapping[str, str]) -> float:
    """Return the CPU time of a process, of user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        environment = {**os.environ, "RUNNER_DB": str(Path(scratch, "runner.db"))}
        runner = [sys.executable, "-m", "runner"]
        subprocess.run([*runner, "run", scratch], env=environment, stdout=subprocess.DEVNULL, check=True)
        times_s: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, modules in _IMPORTS.items():
                times_s.setdefault(name, []).append(
                    measure_cpu_s([sys.executable, "-c", f"import {modules}"], environment)
                )
            for name, (arguments, variables, _, _) in _COMMANDS.items():
                times_s.setdefault(name, []).append(measure_cpu_s([*runner, *arguments], {**environment, **variables}))
    for name, (_, _, libraries, target) in _COMMANDS.items():
        taken, base = median(times_s[name]), median(times_s[libraries])
        sys.stdout.write(f"{name:24} {taken:.3f} s, {taken / base:.2f} of importing {libraries} (target {target})\n")


if __name__ == "__main__":
    main()
