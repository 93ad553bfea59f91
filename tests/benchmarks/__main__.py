"""``python -m tests.benchmarks``: lists the benchmarks there are, by the first lines of their docstrings."""

import ast
import sys
from pathlib import Path

for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
    if (text := path.read_text()).endswith("    main()\n"):
        told = str(ast.get_docstring(ast.parse(text))).partition("\n")[0]
        sys.stdout.write(f"python -m tests.benchmarks.{path.stem:11} {told}\n")
