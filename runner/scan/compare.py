"""Comparison of what several strategies found."""

from __future__ import annotations

from runner.scan.snapshot import found_names, join_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.scan.snapshot import Snapshot


def differing_paths(snapshots: Mapping[str, Snapshot]) -> dict[bytes, tuple[str, ...]]:
    """Return the paths that not every strategy found, each with the names of the strategies that found it."""
    digests = [snapshot.digests() for snapshot in snapshots.values()]
    differing = {path for path in set().union(*digests) if len({one.get(path) for one in digests}) > 1}
    found_by: dict[bytes, tuple[str, ...]] = {}
    for strategy, snapshot in snapshots.items() if differing else ():
        for directory, names, _ in snapshot.findings():
            if directory in differing:
                for name in found_names(names):
                    path = join_path(directory, name)
                    found_by[path] = (*found_by.get(path, ()), strategy)
    return {path: strategies for path, strategies in found_by.items() if len(strategies) < len(snapshots)}
