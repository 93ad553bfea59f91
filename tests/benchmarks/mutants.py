"""Whether the tests notice when the code is changed.

Mutants are drawn at random from some packages: a comparison, an operator, a number, a condition, an argument or a
statement is changed or dropped. For each, the tests of its package run until the first failure. Mutants that survive
are listed with the changed line, to be read: some are equivalent, the others show a missing test.
"""

import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from itertools import islice
from pathlib import Path

from tests.benchmarks.progress import make_parser, write_head, write_row

ROOT = Path(__file__).parents[2]
_PACKAGES = ("execution", "history", "jobs", "scan", "schedules", "trends")
_SWAPPED: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,  # not the reverse: | joins types in annotations
}
_Change = Callable[[], None]


def main() -> None:
    """Draw the mutants, run the tests, and print what survives."""
    parser = make_parser(__doc__, seed=1)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--package", action="append", choices=_PACKAGES)
    parser.add_argument("--limit", type=int, default=600, metavar="SECONDS", help="of the tests of one mutant")
    given = parser.parse_args()
    packages = tuple(given.package or _PACKAGES)
    sites = [site for package in packages for path in _modules(package) for site in _sites(package, path)]
    drawn = random.Random(given.seed).sample(sites, min(given.count, len(sites)))  # noqa: S311  no secret
    results: Counter[tuple[str, bool]] = Counter()
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        tree = Path(scratch, "tree")
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache"))
        for package in packages:
            if not _passes(tree, package, given.limit):
                raise SystemExit(f"the tests of {package} fail without a mutant")
        for number, (package, path, place) in enumerate(drawn, 1):
            dead = _is_killed(tree, package, path, place, given.limit)
            results[package, dead] += 1
            sys.stderr.write(f"{number}/{len(drawn)} {'killed' if dead else 'SURVIVED'}\n")
    write_head("package", "mutants", "killed", "survived", "share killed")
    for package in packages:
        killed, survived = results[package, True], results[package, False]
        write_row(package, killed + survived, killed, survived, f"{killed / max(1, killed + survived):.0%}")


def _modules(package: str) -> list[Path]:
    return [path.relative_to(ROOT) for path in sorted((ROOT / "runner" / package).glob("*.py"))]


def _sites(package: str, path: Path) -> list[tuple[str, Path, int]]:
    return [(package, path, place) for place, _ in enumerate(_changes(ast.parse((ROOT / path).read_text())))]


def _is_killed(tree: Path, package: str, path: Path, place: int, limit_s: int) -> bool:
    target, original = tree / path, (ROOT / path).read_text()
    module = ast.parse(original)
    before = ast.unparse(module).splitlines()
    next(islice(_changes(module), place, None))()
    mutated = ast.unparse(ast.fix_missing_locations(module))
    target.write_text(mutated)
    try:
        if not _passes(tree, package, limit_s):
            return True
    finally:
        target.write_text(original)
    changed = [(old, new) for old, new in zip(before, mutated.splitlines(), strict=False) if old != new]
    old, new = changed[0] if changed else ("", "")
    sys.stdout.write(f"survived: {path}\n  - {old.strip()}\n  + {new.strip()}\n")
    sys.stdout.flush()
    return False


def _passes(tree: Path, package: str, limit_s: int) -> bool:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/{package}"]
    try:
        environment = {**os.environ, "PYTHONPATH": str(tree)}  # also of the programs that the tests start
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:  # an endless loop is noticed
        return False
    return done.returncode == 0


def _changes(module: ast.Module) -> Iterator[_Change]:
    """Yield for each place of a module a function that changes it."""
    for node in ast.walk(module):
        yield from _changed_expressions(node)
        if isinstance(node, ast.FunctionDef | ast.For | ast.While | ast.With | ast.If):
            for index, statement in enumerate(node.body):
                call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
                if call or isinstance(statement, ast.AugAssign):
                    yield partial(node.body.__setitem__, index, ast.Pass())


def _changed_expressions(node: ast.AST) -> Iterator[_Change]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _SWAPPED:
            yield partial(setattr, node, "ops", [_SWAPPED[type(operator)]()])
        case ast.BoolOp(op=operation) | ast.BinOp(op=operation) if type(operation) in _SWAPPED:
            yield partial(setattr, node, "op", _SWAPPED[type(operation)]())
        case ast.Constant(value=bool(truth)):
            yield partial(setattr, node, "value", not truth)
        case ast.Constant(value=int(number) | float(number)):
            yield partial(setattr, node, "value", number + 1)
        case ast.If() | ast.IfExp():
            yield partial(setattr, node, "test", ast.UnaryOp(ast.Not(), deepcopy(node.test)))
        case ast.Call(args=[_, _, *_] as arguments):
            yield partial(setattr, node, "args", arguments[:-1])
        case ast.Call(keywords=[_, *_] as keywords):
            yield partial(setattr, node, "keywords", keywords[:-1])


if __name__ == "__main__":
    main()
