"""A calibration: what it says, as a record and as tables."""

import base64
import os
from collections.abc import Sequence
from statistics import median
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model.calibration import Calibration, Condition, Measurement, Question
from runner.model.runs import Cache
from runner.model.units import format_count, format_instant, format_seconds
from runner.output.grid import Cell, Column, Grid
from runner.output.records import Record, exact
from runner.output.tables import NOTHING
from runner.output.text import printable
from runner.trends.compare import Interval, NotEnoughRuns, ratio_interval
from runner.trends.scaling import NoBreakEven, Rung, break_even, serial_fraction, speed_up

MEASUREMENT_KEYS = (
    *("calibration", "round", "position", "question", "strategy", "workers", "start_method", "path", "wall_s"),
    *("startup_s", "user_s", "system_s", "max_rss_bytes", "cache", "files", "directories", "entries", "path_base64"),
)


def measurement_record(calibration: Calibration, one: Measurement) -> Record:
    """Give one measurement as it is listed."""
    condition = one.condition
    path, path_base64 = exact(condition.path)
    return {
        "calibration": calibration.calibration_id,
        "round": one.round,
        "position": one.position,
        "question": condition.question.value,
        "strategy": condition.strategy,
        "workers": condition.workers,
        "start_method": condition.start_method,
        "path": path,
        "wall_s": one.wall_s,
        "startup_s": one.startup_s,
        "user_s": one.user_s,
        "system_s": one.system_s,
        "max_rss_bytes": one.max_rss_bytes,
        "cache": one.cache.value,
        "files": one.files,
        "directories": one.directories,
        "entries": one.entries,
        "path_base64": path_base64,
    }


def calibration_record(calibration: Calibration) -> Record:
    """Give a calibration as one document: what was measured, and what it says.

    ``speed_up`` is how many times as fast as sequential, ``efficiency`` that by workers; an interval is a list of its
    two bounds, 95 %.
    """
    by_condition = _by_condition(calibration)
    sequential = next((each for condition, each in by_condition.items() if _is_baseline(condition)), [])
    root, root_base64 = exact(calibration.root)
    last = calibration.measurements[-1] if calibration.measurements else None
    size = sequential[-1] if sequential else last
    return {
        "calibration": calibration.calibration_id,
        "root": root,
        "started_at": format_instant(calibration.started_at),
        "finished_at": None if calibration.finished_at is None else format_instant(calibration.finished_at),
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
    """Give each condition its measurements in the order of rounds, conditions in their own order."""
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
    """Whether it is the pool by one of the start methods; the usual one is among the numbers of workers."""
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
    """Give the ladder of sizes, largest first, and the break-even size or why there is none."""
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
    """Give a bound as a whole number; None where it lies above all that was measured."""
    return None if size == float("inf") else round(size)


def _walls(measured: Sequence[Measurement]) -> list[float]:
    return [one.wall_s for one in measured]


def calibration_view(calibration: Calibration) -> RenderableType:
    """Lay out what a calibration says."""
    record = calibration_record(calibration)
    workers = calibration.environment.workers
    if not record["rounds"]:
        return Text("nothing was measured", style="dim")
    head = (
        f"{printable(calibration.root)}: {format_count(record['files'], 'file')} in "
        f"{format_count(record['directories'], 'folder')}, {format_count(record['entries'], 'entry', 'entries')}; "
        f"{format_count(record['rounds'], 'round')}, medians"
    )
    parts: list[RenderableType] = [Text(head), Text(_noise_sentence(record["noise"]))]
    if record["cold"]:
        parts.append(
            Text(
                f"{format_count(record['cold'], 'execution')} found the cache cold; the figures mix two kinds",
                style="yellow",
            )
        )
    parts.append(
        Text("speed-up: the median of all ratios between single executions, with its 95 % interval", style="dim")
    )
    if any(_is_slower(row) for row in [*record["scaling"], *record["start_methods"]]):
        parts.append(
            Text("serial fraction: of a pool that was slower, the part of its time that its start-up took", style="dim")
        )
    parts += [_title("workers"), _compared_table(record["scaling"], label=_worker_label)]
    parts += [_title(f"start methods, pool of {workers}")]
    parts += [_compared_table(record["start_methods"], label=lambda row: str(row["start_method"]))]
    parts += [_title(f"sizes, pool of {workers}"), _sizes_table(record["sizes"]), Text(_break_even_sentence(record))]
    return Group(*parts)


def _noise_sentence(noise: Record | None) -> str:
    if noise is None:
        return "noise: too few rounds to tell; 4 are enough"
    low, high = noise["interval"]
    return (
        f"noise: sequential took {noise['ratio']:.3f} times as long as itself (95 % interval {low:.3f} to {high:.3f}), "
        f"so that these rounds can't tell differences under {noise['floor']:.1%}; more rounds can"
    )


def _break_even_sentence(record: Record) -> str:
    if record["break_even_entries"] is None:
        return f"no break-even: {record['break_even_message']}"
    low, high = record["break_even_interval"]
    upper = "beyond what was measured" if high is None else f"{high:,}"
    size = format_count(record["break_even_entries"], "entry", "entries")
    return f"the pool is worth it from about {size} (95 % interval {low:,} to {upper})"


def _worker_label(row: Record) -> str:
    return "sequential" if row["strategy"] == "sequential" else f"pool of {row['workers']}"


def _compared_table(rows: Sequence[Record], label: Any) -> Grid:
    columns = {
        "label": Column(cells=[Cell(label(row)) for row in rows]),
        "wall": _seconds(rows, "wall", "wall_s"),
        "start-up": _seconds(rows, "start-up", "startup_s"),
        "scanning": _seconds(rows, "scanning", "scanning_s"),
        "cpu": _seconds(rows, "CPU", "cpu_s"),
        "speed-up": Column(header="speed-up", cells=[_number(row["speed_up"], ".2f") for row in rows], right=True),
        "interval": Column(header="95 % interval", cells=[_interval(row["interval"]) for row in rows], right=True),
        "efficiency": Column(
            header="efficiency", cells=[_number(row["efficiency"], ".0%") for row in rows], right=True
        ),
        "serial": Column(header="serial fraction", cells=[_serial(row) for row in rows], right=True),
    }
    full = [*columns]
    return Grid(
        columns=columns,
        layouts=[full, [key for key in full if key not in {"scanning", "cpu"}], ["label", "wall", "speed-up"]],
        split=True,
    )


def _sizes_table(rows: Sequence[Record]) -> Grid:
    columns = {
        "entries": Column(header="entries", cells=[Cell(f"{row['entries']:,}") for row in rows], right=True),
        "sequential": _seconds(rows, "sequential", "sequential_s"),
        "pool": _seconds(rows, "pool", "pool_s"),
        "speed-up": Column(
            header="speed-up",
            cells=[_number(row["speed_up"], ".2f") for row in rows],
            right=True,
        ),
        "folder": Column(header="folder", cells=[Cell(printable(_path(row) or b".")) for row in rows], least=12),
    }
    return Grid(columns=columns, layouts=[[*columns]])


def _path(row: Record) -> bytes:
    """Give a record's path as the kernel has it."""
    return base64.b64decode(row["path_base64"]) if row["path_base64"] else os.fsencode(row["path"])


def _seconds(rows: Sequence[Record], title: str, key: str) -> Column:
    return Column(header=title, cells=[Cell(format_seconds(row[key])) for row in rows], right=True)


def _number(value: float | None, spec: str) -> Cell:
    return NOTHING if value is None else Cell(format(value, spec))


def _serial(row: Record) -> Cell:
    """Give the serial fraction; where the pool was slower, how much of its time it took to start instead."""
    if _is_slower(row):
        return Cell(f"start-up {row['startup_s'] / row['wall_s']:.0%}")
    return _number(row["serial_fraction"], ".2f")


def _is_slower(row: Record) -> bool:
    return row["speed_up"] is not None and row["speed_up"] < 1


def _interval(bounds: Sequence[float] | None) -> Cell:
    return NOTHING if bounds is None else Cell(f"{bounds[0]:.2f} to {bounds[1]:.2f}")


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")
