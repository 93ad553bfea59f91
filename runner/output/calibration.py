"""The results of a calibration, as a record and as tables."""

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from statistics import median

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model.calibration import Calibration, Condition, Measurement, Question
from runner.model.runs import Cache
from runner.model.units import format_count, format_seconds
from runner.output.cells import NOTHING
from runner.output.grid import Cell, Column, Grid
from runner.output.records import Record, encode, exact, plain
from runner.output.text import printable
from runner.trends.compare import Interval, NotEnoughRuns, ratio_interval
from runner.trends.scaling import NoBreakEven, Rung, break_even, serial_fraction, speed_up

MEASUREMENT_KEYS = (
    *("calibration", "round", "position", "question", "strategy", "workers", "start_method", "path", "wall_s"),
    *("startup_s", "user_s", "system_s", "max_rss_bytes", "cache", "files", "directories", "entries", "path_base64"),
)


def measurement_record(calibration: Calibration, one: Measurement) -> Record:
    """Return one measurement as it is listed."""
    condition = {field.name: getattr(one.condition, field.name) for field in fields(one.condition)}
    values = {**condition, "path_base64": exact(one.condition.path)[1]}
    return encode(one, MEASUREMENT_KEYS, calibration=calibration.calibration_id, **values)


def calibration_record(calibration: Calibration) -> Record:
    """Return a calibration as one document: the measurements and their statistics.

    ``speed_up`` is relative to sequential, ``efficiency`` is speed-up by workers; an interval is a list of its two
    bounds, 95 %.
    """
    by_condition = _by_condition(calibration)
    sequential = next((each for condition, each in by_condition.items() if _is_baseline(condition)), [])
    root, root_base64 = exact(calibration.root)
    last = calibration.measurements[-1] if calibration.measurements else None
    size = sequential[-1] if sequential else last
    return {
        "calibration": calibration.calibration_id,
        "root": root,
        "started_at": plain(calibration.started_at),
        "finished_at": plain(calibration.finished_at),
        "rounds": last.round if last else 0,
        "files": size and size.files,
        "directories": size and size.directories,
        "entries": size and size.entries,
        "cold": sum(one.cache is Cache.COLD for one in calibration.measurements),
        "noise": _noise(by_condition, sequential),
        "scaling": [
            _compared(condition, measured, sequential)
            for condition, measured in by_condition.items()
            if condition.question is Question.WORKERS
        ],
        "start_methods": [
            _compared(condition, measured, sequential)
            for condition, measured in by_condition.items()
            if _compares_start_methods(condition, calibration)
        ],
        **_sizes(calibration, by_condition),
        "root_base64": root_base64,
    }


def _by_condition(calibration: Calibration) -> dict[Condition, list[Measurement]]:
    """Group the measurements by condition, in the order of rounds."""
    order = [*Question]
    conditions = {one.condition for one in calibration.measurements}
    by_condition: dict[Condition, list[Measurement]] = {
        condition: []
        for condition in sorted(
            conditions,
            key=lambda each: (order.index(each.question), each.path, each.strategy != "sequential", each.workers),
        )
    }
    for one in sorted(calibration.measurements, key=lambda one: one.round):
        by_condition[one.condition].append(one)
    return by_condition


def _is_baseline(condition: Condition) -> bool:
    return condition.question is Question.WORKERS and condition.strategy == "sequential"


def _compares_start_methods(condition: Condition, calibration: Calibration) -> bool:
    """Return whether it is the pool with a start method; the usual one is among the numbers of workers."""
    usual = condition.question is Question.WORKERS and condition.strategy == "pool"
    return condition.question is Question.START_METHOD or (
        usual and condition.workers == calibration.environment.workers
    )


def _noise(by_condition: dict[Condition, list[Measurement]], sequential: Sequence[Measurement]) -> Record | None:
    again = [one for condition, each in by_condition.items() if condition.question is Question.NOISE for one in each]
    try:
        ratio = ratio_interval(_walls(sequential), _walls(again))
    except NotEnoughRuns:
        return None
    return {
        "ratio": ratio.estimate,
        "interval": [ratio.low, ratio.high],
        "floor": max(ratio.high, 1 / ratio.low) - 1,
    }


def _compared(condition: Condition, measured: Sequence[Measurement], sequential: Sequence[Measurement]) -> Record:
    estimate = None if _is_baseline(condition) else _speed_up(sequential, measured)
    wall_s, startup_s = (median(getattr(one, key) for one in measured) for key in ("wall_s", "startup_s"))
    return {
        "strategy": condition.strategy,
        "workers": condition.workers,
        "start_method": condition.start_method,
        "wall_s": wall_s,
        "startup_s": startup_s,
        "scanning_s": median(one.wall_s - one.startup_s for one in measured),
        "cpu_s": median(one.user_s + one.system_s for one in measured),
        "speed_up": estimate and estimate.estimate,
        "interval": estimate and [estimate.low, estimate.high],
        "efficiency": estimate and estimate.estimate / condition.workers,
        "serial_fraction": estimate and serial_fraction(estimate.estimate, condition.workers),
    }


def _speed_up(sequential: Sequence[Measurement], measured: Sequence[Measurement]) -> Interval | None:
    try:
        return speed_up(_walls(sequential), _walls(measured))
    except NotEnoughRuns:
        return None


def _sizes(calibration: Calibration, by_condition: dict[Condition, list[Measurement]]) -> Record:
    """Return the results by size, largest first, and the break-even size or the reason for its absence."""
    pools = {
        condition.path: each
        for condition, each in by_condition.items()
        if condition.strategy == "pool"
        and condition.workers == calibration.environment.workers
        and condition.question in {Question.WORKERS, Question.SIZE}
    }
    alone = {
        condition.path: each
        for condition, each in by_condition.items()
        if condition.strategy == "sequential" and condition.question in {Question.WORKERS, Question.SIZE}
    }
    paths = sorted(alone.keys() & pools.keys(), key=lambda path: -alone[path][-1].entries)
    rungs = [
        Rung(entries=alone[path][-1].entries, sequential_s=_walls(alone[path]), pool_s=_walls(pools[path]))
        for path in paths
    ]
    found: Interval | None = None
    said = None
    try:
        found = break_even(rungs)
    except NoBreakEven as error:
        said = str(error)
    return {
        "sizes": [
            {
                "path": exact(path)[0],
                "entries": rung.entries,
                "sequential_s": median(rung.sequential_s),
                "pool_s": median(rung.pool_s),
                "speed_up": (gain := _speed_up(alone[path], pools[path])) and gain.estimate,
                "path_base64": exact(path)[1],
            }
            for path, rung in zip(paths, rungs, strict=True)
        ],
        "break_even_entries": found and round(found.estimate),
        "break_even_interval": found and [_bound(found.low), _bound(found.high)],
        "break_even_message": said,
    }


def _bound(size: float) -> int | None:
    """Return a bound as a whole number; None if it is above all measured sizes."""
    return None if size == float("inf") else round(size)


def _walls(measured: Sequence[Measurement]) -> list[float]:
    return [one.wall_s for one in measured]


def calibration_view(calibration: Calibration) -> RenderableType:
    """Render a calibration."""
    record = calibration_record(calibration)
    workers = calibration.environment.workers
    if not record["rounds"]:
        return Text("nothing was measured", style="dim")
    head = (
        f"{printable(calibration.root)}: {format_count(record['files'], 'file')} in "
        f"{format_count(record['directories'], 'folder')}, {format_count(record['entries'], 'entry', 'entries')}; "
        f"{format_count(record['rounds'], 'round')}, medians"
    )
    parts: list[RenderableType] = [Text(head), Text(_noise_sentence(record["noise"], record["rounds"]))]
    if record["cold"]:
        parts.append(
            Text(
                f"{format_count(record['cold'], 'execution')} had a cold cache; the results mix cold and warm",
                style="yellow",
            )
        )
    parts.append(Text("speed-up: median ratio of single executions, with its 95 % interval", style="dim"))
    if any(_is_slower(row) for row in [*record["scaling"], *record["start_methods"]]):
        parts.append(
            Text("serial fraction: for a slower pool, the share of its start-up in its wall time", style="dim")
        )
    parts += [_title("workers"), _compared_table(record["scaling"], label=_worker_label)]
    parts += [_title(f"start methods, pool of {workers}")]
    parts += [_compared_table(record["start_methods"], label=lambda row: str(row["start_method"]))]
    parts += [_title(f"sizes, pool of {workers}"), _sizes_table(record["sizes"]), Text(_break_even_sentence(record))]
    return Group(*parts)


def _noise_sentence(noise: Record | None, rounds: int) -> str:
    if noise is None:
        return "noise: unknown with fewer than 4 rounds"
    return (
        f"noise: repeated sequential runs differ by up to {noise['floor']:.1%}; "
        f"smaller differences are not detectable in {format_count(rounds, 'round')}"
    )


def _break_even_sentence(record: Record) -> str:
    if record["break_even_entries"] is None:
        return f"no break-even: {record['break_even_message']}"
    low, high = record["break_even_interval"]
    upper = "beyond the measured sizes" if high is None else f"{high:,}"
    size = format_count(record["break_even_entries"], "entry", "entries")
    return f"the pool is faster from about {size} on (95 % interval {low:,} to {upper})"


def _worker_label(row: Record) -> str:
    return "sequential" if row["strategy"] == "sequential" else f"pool of {row['workers']}"


def _compared_table(rows: Sequence[Record], label: Callable[[Record], str]) -> Grid:
    columns = [
        Column("", lambda row: Cell(label(row))),
        _seconds("wall", "wall_s"),
        _seconds("start-up", "startup_s", priority=2),
        _seconds("scanning", "scanning_s", priority=1),
        _seconds("CPU", "cpu_s", priority=1),
        Column("speed-up", lambda row: _number(row["speed_up"], ".2f"), right=True),
        Column("95 % interval", lambda row: _interval(row["interval"]), right=True, priority=2),
        Column("efficiency", lambda row: _number(row["efficiency"], ".0%"), right=True, priority=2),
        Column("serial fraction", _serial, right=True, priority=2),
    ]
    return Grid(rows=rows, columns=columns, split=True)


def _sizes_table(rows: Sequence[Record]) -> Grid:
    columns = [
        Column("entries", lambda row: Cell(f"{row['entries']:,}"), right=True),
        _seconds("sequential", "sequential_s"),
        _seconds("pool", "pool_s"),
        Column("speed-up", lambda row: _number(row["speed_up"], ".2f"), right=True),
        Column("folder", lambda row: Cell(printable(_path(row) or b".")), least=12),
    ]
    return Grid(rows=rows, columns=columns)


def _path(row: Record) -> bytes:
    """Return the path of a record as bytes."""
    return base64.b64decode(row["path_base64"]) if row["path_base64"] else os.fsencode(row["path"])


def _seconds(header: str, key: str, priority: int = 0) -> Column:
    return Column(header, lambda row: Cell(format_seconds(row[key])), right=True, priority=priority)


def _number(value: float | None, spec: str) -> Cell:
    return NOTHING if value is None else Cell(format(value, spec))


def _serial(row: Record) -> Cell:
    """Format the serial fraction, or the share of the start-up if the pool was slower."""
    if _is_slower(row):
        return Cell(f"start-up {row['startup_s'] / row['wall_s']:.0%}")
    return _number(row["serial_fraction"], ".2f")


def _is_slower(row: Record) -> bool:
    return row["speed_up"] is not None and row["speed_up"] < 1


def _interval(bounds: Sequence[float] | None) -> Cell:
    return NOTHING if bounds is None else Cell(f"{bounds[0]:.2f} to {bounds[1]:.2f}")


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")
