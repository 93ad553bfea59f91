"""Plots as SVG: elements, scales and the reduction of long series."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count, takewhile

from markupsafe import Markup, escape

# The space in which a plot is drawn, and the place of the labels at its left.
WIDTH, HEIGHT, GUTTER = 1_000, 240, 64
_DAY_S = 86_400
# On a logarithmic scale that reaches from a value to less than its multiple by this, ticks are evenly spaced.
_WIDE = 8
# Dots of one column that are further from each other, in pixels, are not joined.
_APART = 6
# So many dots have room to be larger.
_FEW = 250
_STEPS = (
    *((seconds, "%H:%M:%S") for seconds in (1, 5, 15)),
    *((60 * minutes, "%H:%M") for minutes in (1, 5, 15, 30, 60, 120, 180, 360, 720)),
    *((_DAY_S * days, "") for days in (1, 2, 7, 14)),
)


def element(tag: str, *children: str, **attributes: object) -> Markup:
    """Return an element; text and attributes are escaped, attributes that are None are left out.

    A trailing underscore is removed from the name of an attribute, and others become hyphens, as in ``class_`` and
    ``text_anchor``. Numbers are written with one decimal at most.
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    inner = "".join(map(escape, children))
    return drawn(f"<{tag}{given}>{inner}</{tag}>" if inner else f"<{tag}{given}/>")


def drawn(markup: str) -> Markup:
    """Return markup of numbers, known words and escaped texts, of which large pictures are put together faster."""
    return Markup(markup)  # noqa: S704  never data as it is


def picture(width: float, height: float, label: str, children: Iterable[str], **attributes: object) -> Markup:
    """Return an SVG image that is described by a label."""
    box = f"0 0 {_text(width)} {_text(height)}"
    return element(
        "svg", *children, viewBox=box, width=width, height=height, role="img", aria_label=label, **attributes
    )


def _text(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps the values from *low* to *high* onto the pixels from *start* to *end*; values outside onto the ends."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False
    _low: float = field(init=False, repr=False)
    _factor: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Prepare the sums, since a plot has thousands of points."""
        low, high = (math.log(self.low), math.log(self.high)) if self.logarithmic else (self.low, self.high)
        object.__setattr__(self, "_low", low)
        object.__setattr__(self, "_factor", (self.end - self.start) / (high - low) if high > low else 0.0)

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        if value <= self.low:
            return self.start if self._factor else (self.start + self.end) / 2
        if value >= self.high:
            return self.end
        return self.start + self._factor * ((math.log(value) if self.logarithmic else value) - self._low)


def fit_scale(values: Iterable[float], start: float, end: float, *, logarithmic: bool = False) -> Scale:
    """Return a scale for all values with some room at both ends; a linear one if a logarithm does not exist.

    Args:
        values: The values to show; at least one.
        start: The pixel of the lowest value.
        end: The pixel of the highest value.
        logarithmic: Whether equal distances are equal ratios.
    """
    low, high = _ends(values)
    if logarithmic and low > 0:
        room = max(1.02, (high / low) ** 0.06)
        return Scale(low / room, high * room, start, end, logarithmic=True)
    distance = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    return Scale(low - distance if low < 0 or low > distance else 0.0, high + distance, start, end)


def _ends(values: Iterable[float]) -> tuple[float, float]:
    given = sorted(values)
    return given[0], given[-1]


def nice_ticks(scale: Scale, most: int = 6) -> list[float]:
    """Return round values on a scale: multiples of 1, 2 or 5 times a power of ten, at most *most*."""
    if scale.logarithmic and scale.high / scale.low > _WIDE:
        decades = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
        finer, coarse = ([step * 10.0**decade for decade in decades for step in steps] for steps in ((1, 2, 5), (1,)))
        finer, coarse = ([tick for tick in each if scale.low <= tick <= scale.high] for each in (finer, coarse))
        return finer if len(finer) <= most else coarse[:: -(-len(coarse) // most)]
    raw = (scale.high - scale.low) / most
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(scale.low / step)
    return [number * step for number in range(first, math.floor(scale.high / step) + 1)]


def time_ticks(start: datetime, end: datetime, most: int = 8) -> list[tuple[datetime, str]]:
    """Return round local times from *start* to *end*, with short labels, about *most*."""
    distance_s = (end - start).total_seconds()
    fitting = ((step, pattern) for step, pattern in _STEPS if distance_s <= step * most)
    step, pattern = next(fitting, (0, ""))
    times = _steps_from(start, step) if step else _months_from(start, distance_s, most)
    ticks = takewhile(lambda at: at <= end, times)
    return [(at, _label(at, pattern, monthly=not step)) for at in ticks if at >= start]


def _steps_from(start: datetime, step_s: int) -> Iterator[datetime]:
    midnight = start.astimezone().replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    days = max(1, step_s // _DAY_S)
    midnight -= timedelta(days=midnight.toordinal() % days)  # so that a moved window keeps its ticks
    # Local times are added up without their zone, so that days begin at midnight across clock changes.
    return ((midnight + timedelta(seconds=number * step_s)).astimezone() for number in count())


def _months_from(start: datetime, distance_s: float, most: int) -> Iterator[datetime]:
    months = next((each for each in (1, 2, 3, 6, 12, 24, 60, 120) if distance_s <= each * 28 * _DAY_S * most), 1_200)
    first = start.astimezone().year * 12 // months * months
    return (datetime(month // 12, month % 12 + 1, 1).astimezone() for month in count(first, months))


def _label(at: datetime, pattern: str, *, monthly: bool) -> str:
    if monthly:
        return f"{at:%b %Y}"
    return f"{at:%b} {at.day}" if (at.hour, at.minute, at.second) == (0, 0, 0) else f"{at:{pattern}}"


def thin(points: Iterable[tuple[float, float]]) -> list[tuple[int, float, float]]:
    """Reduce points, in pixels, to the lowest and the highest of each pixel column, from left to right."""
    columns: dict[int, tuple[float, float]] = {}
    for x, y in points:
        column = round(x)
        low, high = columns.get(column, (y, y))
        columns[column] = min(low, y), max(high, y)
    return [(column, *columns[column]) for column in sorted(columns)]


def dots(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """Draw points as dots, those close together in one pixel column as one stroke, so that its extremes are kept.

    Their style has round or square line caps.
    """
    columns: dict[int, set[int]] = {}
    for x, y in points:
        columns.setdefault(round(x), set()).add(round(y))
    # A stroke of length zero is not printed if its caps are square.
    drawn = [f"M{x} {low}v{high - low or '.01'}" for x in sorted(columns) for low, high in _strokes(sorted(columns[x]))]
    few = " few" if len(drawn) <= _FEW else ""
    return element("path", class_=f"dots{few} {class_}", d="".join(drawn))


def _strokes(pixels: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = end = pixels[0]
    for pixel in pixels:
        if pixel > end + _APART:
            yield start, end
            start = pixel
        end = pixel
    yield start, end


def line(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """Draw a line through points, reduced likewise."""
    ends = (f"{x} {low:.0f}" if low == high else f"{x} {low:.0f}V{high:.0f}" for x, low, high in thin(points))
    return element("path", class_=class_, d="M" + "L".join(ends))


def segment(x: float, y: float, to_x: float, to_y: float, class_: str) -> Markup:
    """Draw a straight line."""
    return element("path", class_=class_, d=f"M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}")


def band(x: float, to_x: float, ends: tuple[float, float], to_ends: tuple[float, float], class_: str) -> Markup:
    """Draw an interval as an area between two pixel columns, with the upper and lower bounds in each."""
    (y, low), (to_y, to_low) = ends, to_ends
    return element("path", class_=class_, d=f"M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}V{to_low:.1f}L{x:.1f} {low:.1f}Z")


@dataclass(frozen=True, slots=True)
class Flag:
    """A mark of fixed shape at the top or side of a plot: its pixels, what it means, and its path around 0, 0."""

    x: float
    y: float
    class_: str
    title: str
    shape: str


def plot(
    label: str,
    marks: Iterable[str],
    x_ticks: Iterable[tuple[float, str]],
    y_ticks: Iterable[tuple[float, str]],
    *,
    height: int = HEIGHT,
    flags: Iterable[Flag] = (),
    names: Iterable[tuple[float, str, str]] = (),
) -> Markup:
    """Return a plot that is as wide as its place while its text keeps its size.

    Args:
        label: What it shows, for readers who do not see it.
        marks: Elements in a space of ``WIDTH`` times *height* pixels, which are stretched to the real width.
        x_ticks: Pixels and labels.
        y_ticks: The same from the top.
        height: Of the area in pixels.
        flags: Marks that are not stretched.
        names: Pixels from the top, text and class of labels at the right end.
    """
    x_ticks, y_ticks = list(x_ticks), list(y_ticks)
    rules = "".join(f"M0 {y:.1f}H{WIDTH}" for y, _ in y_ticks)
    ends = "".join(f"M{x:.1f} {height}v-5" for x, _ in x_ticks)
    stretched = element(
        *("svg", element("path", class_="grid", d=rules), element("path", class_="tick", d=ends), *marks),
        viewBox=f"0 0 {WIDTH} {height}", preserveAspectRatio="none", width="100%", height=height,
    )  # fmt: skip
    above = [
        element(
            "svg",
            element("path", element("title", flag.title), d=flag.shape, class_=flag.class_),
            x=_share(flag.x),
            y=flag.y,
        )
        for flag in flags
    ]
    said = [element("text", text, x="100%", y=y, class_=f"name {class_}") for y, text, class_ in names]
    area = element(
        *("svg", stretched, *above, *said, *_x_labels(x_ticks, height)),
        class_="area", width="100%", height=height + 22, role="img", aria_label=label,
    )  # fmt: skip
    shown = [element("text", text, x=GUTTER - 8, y=min(max(y, 8.0), height - 3.0) + 4) for y, text in y_ticks]
    gutter = element("svg", *shown, class_="gutter", width=GUTTER, height=height + 22, aria_hidden="true")
    return element("div", gutter, area, class_="plot")


def _x_labels(ticks: Sequence[tuple[float, str]], height: int) -> Iterator[Markup]:
    for number, (x, text) in enumerate(ticks):
        side = "start" if x < WIDTH * 0.04 else "end" if x > WIDTH * 0.96 else "middle"
        # A narrow screen has room for every second one.
        yield element("text", text, x=_share(x), y=height + 17, class_=f"{side} wide" if number % 2 else side)


def _share(x: float) -> str:
    return f"{x / WIDTH:.2%}"
