"""``python -m tests.benchmarks NAME``: runs a benchmark; without a name lists them by their docstrings' first lines."""

import ast
import runpy
import sys
from pathlib import Path

if len(sys.argv) > 1:
    runpy.run_module(f"tests.benchmarks.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
else:
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        if (text := path.read_text()).endswith("    main()\n"):
            told = str(ast.get_docstring(ast.parse(text))).partition("\n")[0]
            sys.stdout.write(f"python -m tests.benchmarks {path.stem:11} {told}\n")
