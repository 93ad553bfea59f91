"""The results of a calibration, as a record and as tables."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from statistics import median

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model.calibration import Calibration, CalibrationSummary, Condition, Measurement, Question
from runner.model.runs import Cache
from runner.model.units import format_count
from runner.output import cells
from runner.output.cells import Cell, Column
from runner.output.grid import Grid, titled
from runner.output.records import Record, bounds, encode, exact
from runner.output.text import printable
from runner.trends.compare import Interval, NotEnoughRuns, ratio_interval
from runner.trends.scaling import NoBreakEven, Rung, break_even, serial_fraction

MEASUREMENT_KEYS = (
    *("calibration", "round", "position", "question", "strategy", "workers", "start_method", "path", "wall_s"),
    *("startup_s", "user_s", "system_s", "max_rss_bytes", "cache", "files", "directories", "entries", "path_base64"),
)
_CALIBRATION_KEYS = ("calibration", "root", "started_at", "finished_at")
_Measured = dict[Condition, list[Measurement]]


def measurement_record(calibration: Calibration, one: Measurement) -> Record:
    """Return one measurement as it is listed."""
    values = asdict(one.condition) | {"path_base64": exact(one.condition.path)[1]}
    return encode(one, MEASUREMENT_KEYS, calibration=calibration.calibration_id, **values)


def calibration_record(calibration: Calibration) -> Record:
    """Return a calibration as one document: the measurements and their statistics.

    ``speed_up`` is relative to sequential, ``efficiency`` is speed-up by workers; an interval is a list of its two
    bounds, 95 %.
    """
    usual = calibration.environment.workers
    measured = _by_condition(calibration.measurements)
    sequential = next((each for condition, each in measured.items() if _is_baseline(condition)), [])
    last = calibration.measurements[-1] if calibration.measurements else None
    size = sequential[-1] if sequential else last
    again = [one for condition, each in measured.items() if condition.question is Question.NOISE for one in each]
    noise = _ratio(sequential, again)
    return {
        **encode(calibration, _CALIBRATION_KEYS, calibration=calibration.calibration_id),
        "rounds": last.round if last else 0,
        "files": size and size.files,
        "directories": size and size.directories,
        "entries": size and size.entries,
        "cold": sum(one.cache is Cache.COLD for one in calibration.measurements),
        "noise": noise
        and {"ratio": noise.estimate, "interval": bounds(noise), "floor": max(noise.high, 1 / noise.low) - 1},
        "scaling": [
            _compared(condition, each, sequential)
            for condition, each in measured.items()
            if condition.question is Question.WORKERS
        ],
        "start_methods": [
            _compared(condition, each, sequential)
            for condition, each in measured.items()
            # The usual method is among the numbers of workers.
            if condition.question is Question.START_METHOD
            or (condition.question is Question.WORKERS and (condition.strategy, condition.workers) == ("pool", usual))
        ],
        **_sizes(measured, usual),
        "root_base64": exact(calibration.root)[1],
    }


def calibration_summary(summary: CalibrationSummary) -> Record:
    """Return one calibration as it is listed."""
    return encode(summary, (*_CALIBRATION_KEYS, "rounds", "running", "root_base64"), calibration=summary.calibration_id)


def _by_condition(measurements: Sequence[Measurement]) -> _Measured:
    """Group measurements by condition, in the order of rounds."""
    order = [*Question]

    def rank(one: Measurement) -> tuple[object, ...]:
        each = one.condition
        method = each.start_method or ""
        return order.index(each.question), each.path, each.strategy != "sequential", each.workers, method, one.round

    measured: _Measured = {}
    for one in sorted(measurements, key=rank):
        measured.setdefault(one.condition, []).append(one)
    return measured


def _is_baseline(condition: Condition) -> bool:
    return condition.question is Question.WORKERS and condition.strategy == "sequential"


def _compared(condition: Condition, measured: Sequence[Measurement], sequential: Sequence[Measurement]) -> Record:
    speed_up = None if _is_baseline(condition) else _ratio(measured, sequential)
    return {
        "strategy": condition.strategy,
        "workers": condition.workers,
        "start_method": condition.start_method,
        "wall_s": median(one.wall_s for one in measured),
        "startup_s": median(one.startup_s for one in measured),
        "scanning_s": median(one.wall_s - one.startup_s for one in measured),
        "cpu_s": median(one.user_s + one.system_s for one in measured),
        "speed_up": speed_up and speed_up.estimate,
        "interval": bounds(speed_up),
        "efficiency": speed_up and speed_up.estimate / condition.workers,
        "serial_fraction": speed_up and serial_fraction(speed_up.estimate, condition.workers),
    }


def _ratio(baseline: Sequence[Measurement], other: Sequence[Measurement]) -> Interval | None:
    """Return the wall time of *other* by that of the baseline; None with too few measurements."""
    try:
        return ratio_interval(_walls(baseline), _walls(other))
    except NotEnoughRuns:
        return None


def _sizes(measured: _Measured, usual: int) -> Record:
    """Return the results by size, largest first, and the break-even size or the reason for its absence."""
    of_trees = {Question.WORKERS, Question.SIZE}
    alone, pools = (
        {
            condition.path: each
            for condition, each in measured.items()
            if (condition.strategy, condition.workers) == way and condition.question in of_trees
        }
        for way in (("sequential", 1), ("pool", usual))
    )
    sizes, rungs = [], []
    for path in sorted(alone.keys() & pools.keys(), key=lambda path: -alone[path][-1].entries):
        one, pool = alone[path], pools[path]
        rungs.append(Rung(entries=one[-1].entries, sequential_s=_walls(one), pool_s=_walls(pool)))
        speed_up = _ratio(pool, one)
        size = {
            "path": exact(path)[0],
            "entries": one[-1].entries,
            "sequential_s": median(_walls(one)),
            "pool_s": median(_walls(pool)),
            "speed_up": speed_up and speed_up.estimate,
            "path_base64": exact(path)[1],
        }
        sizes.append(size)
    try:
        found, message = break_even(rungs), None
    except NoBreakEven as error:
        found, message = None, str(error)
    return {
        "sizes": sizes,
        "break_even_entries": found and round(found.estimate),
        # A bound above all measured sizes is unknown.
        "break_even_interval": found
        and [None if bound == float("inf") else round(bound) for bound in (found.low, found.high)],
        "break_even_message": message,
    }


def _walls(measured: Sequence[Measurement]) -> list[float]:
    return [one.wall_s for one in measured]


def calibration_view(calibration: Calibration) -> RenderableType:
    """Render a calibration."""
    record = calibration_record(calibration)
    parts: list[RenderableType] = [Text(line.text, line.style) for line in calibration_lines(record)]
    if record["rounds"]:
        for title, table in calibration_tables(record, calibration.environment.workers):
            parts += titled(title, table)
        parts.append(Text(break_even_sentence(record)))
        parts += [Text(line) for line in _cluster_sentences(record)]
    return Group(*parts)


def calibration_lines(record: Record) -> list[Cell]:
    """Return what the record of a calibration says about all tables."""
    if not record["rounds"]:
        return [Cell("nothing was measured", "dim")]
    rounds = format_count(record["rounds"], "round")
    lines = [
        Cell(
            f"{shown_path(record['root'], record['root_base64'])}: {format_count(record['files'], 'file')} in "
            f"{format_count(record['directories'], 'directory', 'directories')}, "
            f"{format_count(record['entries'], 'entry', 'entries')}; "
            f"{rounds}, medians"
        ),
        Cell(
            f"noise: repeated sequential runs differ by up to {record['noise']['floor']:.1%}; "
            f"smaller differences are not detectable in {rounds}"
            if record["noise"]
            else "noise: unknown with fewer than 4 rounds"
        ),
    ]
    if record["cold"]:
        cold = format_count(record["cold"], "execution")
        lines.append(Cell(f"{cold} had a cold cache; the results mix cold and warm", "yellow"))
    lines.append(Cell("speed-up: median ratio of single executions, with its 95 % interval", "dim"))
    if any(_is_slower(row) for row in [*record["scaling"], *record["start_methods"]]):
        lines.append(Cell("serial fraction: for a slower pool, the share of its start-up in its wall time", "dim"))
    return lines


def calibration_tables(record: Record, workers: int) -> list[tuple[str, Grid]]:
    """Return the tables of the record of a calibration with their titles."""
    return [
        ("workers", _compared_table(record["scaling"], _worker_label)),
        (
            f"start methods, pool of {workers}",
            _compared_table(record["start_methods"], lambda row: row["start_method"]),
        ),
        (f"sizes, pool of {workers}", _sizes_table(record["sizes"])),
    ]


def shown_path(path: str, path_base64: str | None) -> str:
    """Show a path of a record; the text of one that is not UTF-8 is printable already."""
    return (path if path_base64 else printable(path)) or "."


def break_even_sentence(record: Record) -> str:
    """Describe from which size the pool is faster."""
    if record["break_even_entries"] is None:
        return f"no break-even: {record['break_even_message']}"
    low, high = record["break_even_interval"]
    upper = "beyond the measured sizes" if high is None else f"{high:,}"
    size = format_count(record["break_even_entries"], "entry", "entries")
    return f"the pool is faster from about {size} on (95 % interval {low:,} to {upper})"


def _cluster_sentences(record: Record) -> Iterator[str]:
    """Yield whether the strategy dask pays, if it was measured."""
    best = min((row for row in record["scaling"] if row["strategy"] != "dask"), key=lambda row: row["wall_s"])
    for row in record["scaling"]:
        if row["strategy"] == "dask":
            factor, share = row["wall_s"] / best["wall_s"], row["startup_s"] / row["wall_s"]
            times = f"{_worker_label(row)} takes {factor:.2f} times as long as {_worker_label(best)}"
            if factor < 1:
                yield f"the cluster pays: {times}"
            else:
                yield (
                    f"the cluster does not pay: {times}, of that {share:.0%} for its start; "
                    "it pays for trees of millions of files, read by several machines"
                )


def _worker_label(row: Record) -> str:
    of = "" if row["strategy"] == "sequential" else f" of {row['workers']}"
    return f"{row['strategy']}{of}"


def _compared_table(rows: Sequence[Record], label: Callable[[Record], str]) -> Grid:
    columns = [
        Column("", label),
        Column("wall", "wall_s", right=True),
        Column("start-up", "startup_s", right=True, priority=2),
        Column("scanning", "scanning_s", right=True, priority=1),
        Column("CPU", "cpu_s", right=True, priority=1),
        _SPEED_UP,
        Column("95 % interval", _interval, right=True, priority=2),
        Column("efficiency", lambda row: cells.number(row["efficiency"], ".0%"), right=True, priority=2),
        Column("serial fraction", _serial, right=True, priority=2),
    ]
    return Grid(rows=rows, columns=columns, split=True)


_SPEED_UP = Column("speed-up", lambda row: cells.number(row["speed_up"], ".2f"), right=True)


def _sizes_table(rows: Sequence[Record]) -> Grid:
    columns = [
        Column("entries", "entries", right=True),
        Column("sequential", "sequential_s", right=True),
        Column("pool", "pool_s", right=True),
        _SPEED_UP,
        Column("directory", lambda row: shown_path(row["path"], row["path_base64"]), least=12),
    ]
    return Grid(rows=rows, columns=columns)


def _serial(row: Record) -> Cell:
    """Format the serial fraction, or the share of the start-up if the pool was slower."""
    if _is_slower(row):
        return Cell(f"start-up {row['startup_s'] / row['wall_s']:.0%}")
    return cells.number(row["serial_fraction"], ".2f")


def _is_slower(row: Record) -> bool:
    return row["speed_up"] is not None and row["speed_up"] < 1


def _interval(row: Record) -> Cell:
    return Cell("{:.2f} to {:.2f}".format(*row["interval"])) if row["interval"] else cells.NOTHING
