import os
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.model.errors import ScanError
from runner.scan.compare import differing_paths
from runner.scan.snapshot import (
    PLACE,
    STAMPS,
    UNKNOWN,
    Part,
    Snapshot,
    clamp,
    dump,
    found_names,
    pack_stats,
    unpack_stats,
)
from tests.benchmarks.snapshots import stored

# A directory's path, the names found in it, and how many entries it has.
Directory = tuple[bytes, list[bytes], int]


def listing(path: bytes, *names: bytes, entries: int = 0) -> Directory:
    return path, list(names), entries


def snapshot(*directories: Directory, problems: Sequence[tuple[bytes, int, str]] = (), stats: bytes = b"") -> Snapshot:
    part = Part()
    part.problems = list(problems)
    for path, names, entries in directories:
        part.names.append(path)
        part.found.append(b"\0".join(names))
        part.stats.append(stats)
        part.places += PLACE.pack(-1, entries)
        part.stamps += STAMPS.pack(1, 1, 0, 0)
    return stored([part])


def test_a_snapshot_counts_what_was_found_and_what_was_listed() -> None:
    whole = snapshot(listing(b"", entries=3), listing(b"a", b"x", entries=1), listing(b"b", b"x", b"y", entries=9))
    assert (3, 13) == (whole.files, whole.entries)
    assert (0, 0) == (snapshot().files, snapshot().entries)
    assert [] == list(snapshot(problems=[(b"x", 13, "no")]).findings())


def test_a_directory_without_findings_has_no_names() -> None:
    assert ([], [b"a", b"b"]) == (found_names(b""), found_names(b"a\0b"))


def test_an_unknown_size_comes_back_as_none() -> None:
    packed = array("q", [5, 7, UNKNOWN, UNKNOWN]).tobytes()
    assert [(5, 7), (None, None)] == list(unpack_stats(packed))


@given(st.lists(st.none() | st.tuples(st.integers(0, 2**63 - 1), st.integers(-(2**90), 2**90)), max_size=5))
@example([None, (2**63 - 1, -(2**63)), (0, 2**63), (0, -1)])
@example([(1, 2), None])
def test_stats_are_packed_without_loss(stats: list[tuple[int, int] | None]) -> None:
    assert [stat or (None, None) for stat in stats] == list(unpack_stats(pack_stats(stats)))


@given(st.integers(-(2**70), 2**70))
def test_a_clamped_time_fits_and_is_never_taken_for_unknown(time_ns: int) -> None:
    clamped = clamp(time_ns)
    assert UNKNOWN < clamped < 2**63
    assert clamped == time_ns or abs(time_ns) >= 2**63 - 1


def test_snapshots_that_agree_do_not_differ() -> None:
    one = snapshot(listing(b"", b"x"), listing(b"empty", entries=4))
    other = snapshot(listing(b"", b"x"))
    assert {} == differing_paths({"sequential": one, "pool": other})


def test_differing_paths_name_the_strategies_that_found_them() -> None:
    differing = differing_paths(
        {
            "sequential": snapshot(listing(b"", b"both", b"one"), listing(b"a", b"x")),
            "pool": snapshot(listing(b"", b"both"), listing(b"b", b"y")),
        }
    )
    assert {b"one": ("sequential",), b"a/x": ("sequential",), b"b/y": ("pool",)} == differing


def test_another_size_is_another_digest_but_no_difference() -> None:
    one, other = snapshot(listing(b"", b"x")), snapshot(listing(b"", b"x"), stats=pack_stats([(1, 2)]))
    assert one.digests().keys() == other.digests().keys()
    assert one.digest != other.digest
    assert {} == differing_paths({"sequential": one, "pool": other})


def test_the_digest_covers_problems_and_not_the_order() -> None:
    here, there, problem = listing(b"", b"x"), listing(b"a", b"x"), (b"b", 13, "no")
    assert snapshot(here, there).digest == snapshot(there, here).digest
    assert 4 == len({each.digest for each in (
        snapshot(here), snapshot(there), snapshot(here, there), snapshot(here, problems=[problem])
    )})  # fmt: skip


def test_parts_whose_pieces_come_mixed_are_read_apart() -> None:
    found = stored()
    pieces = {source: Part() for source in (1, 2)}
    for names in (b"x", b"y"):
        for source, piece in pieces.items():
            piece.names.append(b"%d" % source + names)
            piece.found.append(names)
            piece.stats.append(b"")
            piece.places += PLACE.pack(piece.first_row - 1, 1)  # the second directory is below the first
            found.append(piece.encode(), piece.count(), source=source)
            pieces[source] = piece.following()
    assert [(b"1x", b"x"), (b"1x/1y", b"y"), (b"2x", b"x"), (b"2x/2y", b"y")] == [one[:2] for one in found.findings()]
    assert (4, 4, 4) == found.counts


def test_a_truncated_file_is_an_error_and_never_a_smaller_snapshot() -> None:
    found = snapshot(listing(b"", b"x", b"y"))
    assert 1 == len(list(found.findings()))
    os.truncate(f"/proc/self/fd/{found._file.fileno()}", sum(found.sizes) - 1)
    with pytest.raises(ScanError, match="can't be read back: its temporary file was truncated"):
        list(found.findings())


def test_what_marshal_refuses_is_a_lack_of_memory() -> None:
    """Without memory it calls plain data unmarshallable."""
    assert dump((1, b"x", None))
    with pytest.raises(MemoryError):
        dump((object(),))
