"""The best component to add to the components of a series."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby
from operator import attrgetter, itemgetter, sub
from statistics import NormalDist

from runner.trends.components import Change, Component, Harmonic, LevelShift, SlopeChange
from runner.trends.cycles import best_cycle
from runner.trends.noise import COARSE_MODELS, RESOLUTION, WHITE, Noise, log_likelihood, neighbours
from runner.trends.regression import Fit, Series

# A level needs this many runs: one or two could be spikes. A slope needs more: a few runs on a slope are a step.
SHORTEST_LEVEL = 3
SHORTEST_SLOPE = 12
# What a component has to gain, in twice the log-likelihood. Simulated, so that at most 2 % of the series without a step
# have one; see tests/benchmarks/steps.py.
NEEDED: dict[type[Change], float] = {LevelShift: 10.0, SlopeChange: 11.0}
NEEDED_CYCLE = 18.0
NEEDED_PER_LOG_MEMORY = 4.0
NEEDED_WHEN_SHORT = 50.0
# No series has more cycles.
_MOST_CYCLES = 2
# A cycle that gains this much may be there; then the sizes of steps depend on it.
WORTH_A_LOOK = 6.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A component that could be added.

    Attributes:
        gain: What it gains in twice the log-likelihood; the noise model is estimated again with and without it.
        needed: What chance seldom gains.
        components: The component; two for a cycle.
        noise: The noise model that suits the series best with it.
    """

    gain: float
    needed: float
    components: tuple[Component, ...]
    noise: Noise

    @property
    def surplus(self) -> float:
        """Gain minus what is needed."""
        return self.gain - self.needed


def needed_for_change(kind: type[Change], noise: Noise, n: int) -> float:
    """Return twice the log-likelihood that a step or a slope change has to gain."""
    return NEEDED[kind] + NEEDED_PER_LOG_MEMORY * math.log(noise.memory) + NEEDED_WHEN_SHORT / n


def needed_for_cycle(n: int) -> float:
    """Return twice the log-likelihood that a cycle has to gain."""
    return NEEDED_CYCLE + NEEDED_WHEN_SHORT / n


class Survey:
    """The best candidate of each kind to add to the components of a series.

    Args:
        series: Normal scores of the residuals, so that noise of any distribution has the weight of normal noise.
        components: The components so far.
        noise: The noise model so far.
        models: The only noise models to try; all by default.
        kinds: The kinds of changes to look for.
    """

    def __init__(
        self,
        series: Series,
        components: tuple[Component, ...],
        noise: Noise,
        models: tuple[Noise, ...] = (),
        kinds: Collection[type[Change]] = NEEDED,
    ) -> None:
        self._series = series
        self._n = n = len(series.values)
        self._components = components
        shortest: dict[type[Change], int] = {LevelShift: SHORTEST_LEVEL, SlopeChange: SHORTEST_SLOPE}
        self._blocked = {
            kind: blocked(n, (one.index for one in components if isinstance(one, kind)), shortest[kind])
            for kind in kinds
        }
        self._cycle: Candidate | None = None
        # Without one more component, and with one of each kind: the likelihood, the first run, and the fit.
        self._best: dict[type[Component] | None, tuple[float, int, Fit]] = {}
        self._tried: set[Noise] = set()
        self._try(models or (COARSE_MODELS if len(components) == 1 else (WHITE, *neighbours(noise))))
        if not models:
            self._try([one for _, _, found in self._best.values() for one in neighbours(found.design.noise)])
        self._without, _, self._fit = self._best[None]
        self.noise = self._fit.design.noise

    def _try(self, models: Iterable[Noise]) -> None:
        for noise in models:
            if noise in self._tried:
                continue
            self._tried.add(noise)
            found = self._series.fit(self._components, noise)
            gains = {kind: highest(found.gains(kind), places) for kind, places in self._blocked.items()}
            for kind, (gain, index) in [(None, (0.0, 0)), *gains.items()]:
                here = (log_likelihood(found.squares - gain, self._n, noise), index, found)
                self._best[kind] = max(self._best.get(kind, here), here, key=itemgetter(0))

    def best(self, kinds: Collection[type[Component]]) -> Candidate:
        """Return the best candidate of these kinds."""
        return max(map(self.find, kinds), key=attrgetter("surplus"))

    def find(self, kind: type[Component]) -> Candidate:
        """Return the best level shift, slope change or cycle."""
        if kind is Harmonic:
            return self._find_cycle()
        reached, index, found = self._best[kind]
        change = LevelShift(index) if kind is LevelShift else SlopeChange(index)
        needed = needed_for_change(type(change), found.design.noise, self._n)
        return self._candidate(reached, needed, (change,), found)

    def _find_cycle(self) -> Candidate:
        if self._cycle is None and sum(isinstance(one, Harmonic) for one in self._components) >= 2 * _MOST_CYCLES:
            self._cycle = self._candidate(-math.inf, needed_for_cycle(self._n), (), self._fit)
        if self._cycle is None:
            reached, found = best_cycle(self._series, self._fit, self._without + WORTH_A_LOOK)
            components = found.design.components[-2:] if found else ()
            self._cycle = self._candidate(reached, needed_for_cycle(self._n), components, found or self._fit)
        return self._cycle

    def _candidate(self, reached: float, needed: float, components: tuple[Component, ...], found: Fit) -> Candidate:
        noise = found.design.noise
        return Candidate(gain=reached - self._without, needed=needed, components=components, noise=noise)

    def interlude(self) -> Candidate:
        """Return the best pair of steps between which the level is another one, roughly and in white noise."""
        n, stride = self._n, max(1, self._n // 64)
        sums = [0.0, *accumulate(self._fit.innovations())][SHORTEST_LEVEL:-SHORTEST_LEVEL:stride]
        gain, first, second = 0.0, 0, 0
        for apart in range(math.ceil(SHORTEST_LEVEL / stride), len(sums)):
            runs = apart * stride
            sizes = list(map(abs, map(sub, sums[apart:], sums)))
            size = max(sizes)
            here = size**2 / (runs * (1 - runs / n))
            if here > gain:
                second = len(sums) - 1 - sizes[::-1].index(size)
                gain, first = here, second - apart
        indices = (SHORTEST_LEVEL + place * stride for place in (first, second))
        reached = log_likelihood(self._fit.squares - gain, n, WHITE)
        return self._candidate(
            reached, 2 * needed_for_change(LevelShift, WHITE, n), tuple(map(LevelShift, indices)), self._fit
        )


def blocked(n: int, indices: Iterable[int], shortest: int) -> list[int]:
    """List the places, counted from the end, that are too close to the end or to known changes."""
    bars = [0, *(n - index for index in indices)]
    places = {bar + apart - 1 for bar in bars for apart in range(1 - shortest, shortest)}
    return [n - 1, *(place for place in places if 0 <= place < n)]


def highest(gains: list[float], blocked: Iterable[int]) -> tuple[float, int]:
    """Return the highest gain, and the run with which its component begins."""
    for place in blocked:
        gains[place] = 0.0
    best = max(gains)
    return best, len(gains) - 1 - gains.index(best) if best else len(gains) // 2


@lru_cache(maxsize=8)
def _expected_scores(n: int) -> tuple[float, ...]:
    normal = NormalDist()
    return tuple(normal.inv_cdf((rank - 0.375) / (n + 0.25)) for rank in range(1, n + 1))


def normal_scores(values: Sequence[float]) -> list[float]:
    """Replace each value by the expected value of a normal one of its rank; equal values share the mean.

    Source:
        Blom, Statistical Estimates and Transformed Beta-Variables (1958).
    """
    n = len(values)
    expected = _expected_scores(n)
    rounded = [round(value / RESOLUTION) for value in values]
    ordered = sorted(rounded)
    scores = dict(zip(ordered, expected, strict=True))
    if len(scores) < n:
        for value, group in groupby(zip(ordered, expected, strict=True), itemgetter(0)):
            tied = [score for _, score in group]
            scores[value] = sum(tied) / len(tied)
    return [scores[value] for value in rounded]
