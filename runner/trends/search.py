"""Search for the level shifts, slope changes and cycles that explain a series of timings better than noise alone."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, groupby
from operator import attrgetter, itemgetter, truediv
from statistics import NormalDist

from runner.trends.components import LEVEL, Component, Harmonic, LevelShift, SlopeChange
from runner.trends.cycles import best_cycle
from runner.trends.noise import COARSE_MODELS, RESOLUTION, WHITE, Noise, log_likelihood, neighbours
from runner.trends.regression import Designs, Fit, Series

# A level needs this many runs: one or two could be spikes. A slope needs more: a few runs on a slope are a step.
SHORTEST_LEVEL = 3
SHORTEST_SLOPE = 12

# What a component has to gain, in twice the log-likelihood. Simulated, so that at most 2 % of the series without a step
# have one; see tests/benchmarks/steps.py.
NEEDED_STEP = 10.0
NEEDED_SLOPE = 11.0
NEEDED_CYCLE = 18.0
NEEDED_PER_LOG_MEMORY = 2.5
NEEDED_WHEN_SHORT = 50.0
# Beside others, each component has many more places to choose from.
NEEDED_AMONG_MANY = 14.0
# Noise that is not normal easily gains more where values count instead of ranks.
NEEDED_UNRANKED = 30.0
# Where the noise is not equally strong everywhere, its strength has been estimated as well.
NEEDED_UNEVEN = 8.0

# Noise of a shorter memory hides nothing.
LONG_MEMORY = 1.5
# With a component that gains less than this share of what it needs, no search for others beside it begins.
PROMISING = 0.75
# With fewer runs for each coefficient, almost anything can be explained.
RUNS_PER_COMPONENT = 4
# Noise with a memory seems to be full of steps; no series is explained by more.
_MOST = 12
_MANY = 4
_MOST_CYCLES = 2
# Steps that explain twice as much as a cycle does are not looked for again beside it.
_HOPEFUL = 0.5
# An explanation that surpasses what it needs by this much less than the best one is almost as good.
_ALMOST = 8.0
# Explanations closer than this are equally good.
_TIE = 4.0
# A cycle that gains this much may be there; then the sizes of steps depend on it.
_NUISANCE = 6.0
_KINDS = (LevelShift, SlopeChange, Harmonic)
# A cycle whose frequency was only read off the periodogram may gain so much more.
_ROUGH = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A component that could be added.

    Attributes:
        gain: What it gains in twice the log-likelihood; the noise model is estimated anew with and without it.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What a series is the sum of, besides noise.

    Attributes:
        components: The level, then level shifts, slope changes and cycles in the order in which they were found.
        gains: What each level shift gains in twice the log-likelihood, by its first run.
        noise: The noise model.
        surplus: Sum of all gains minus what is needed.
    """

    components: tuple[Component, ...]
    gains: dict[int, float]
    noise: Noise
    surplus: float

    def has(self, kind: type[Component]) -> bool:
        """Return whether there is a component of this kind."""
        return any(isinstance(component, kind) for component in self.components[1:])

    def needed(self, more: Candidate) -> float:
        """Return what one more component has to gain."""
        return more.needed if len(self.components) == 1 else max(more.needed, NEEDED_AMONG_MANY)

    def extend(self, more: Candidate) -> "Explanation":
        """Return the explanation with one more component."""
        found = {one.index: more.gain for one in more.components if isinstance(one, LevelShift)}
        return Explanation(
            components=self.components + more.components,
            gains=self.gains | found,
            noise=more.noise,
            surplus=self.surplus + more.gain - self.needed(more),
        )


NOTHING = Explanation(components=(LEVEL,), gains={}, noise=WHITE, surplus=0.0)


def explain(values: Sequence[float], scales: Sequence[float]) -> tuple[Explanation, list[Explanation]]:
    """Find the components that together gain most over what they need.

    Several searches compete, because a component may only show once what hides it is known: a step beside a cycle, the
    steps of a staircase.

    Args:
        values: Natural logarithms of wall times in run order, free of spikes; shape (n,).
        scales: How much the runs around each scatter, in any unit; shape (n,).

    Returns:
        The best explanation, and others that are almost as good.
    """
    search = _Search(values, scales)
    plain = search.steps_in_white_noise(NEEDED_AMONG_MANY)
    survey = search.survey(plain)
    even = min(scales) == max(scales)
    if (
        even
        and survey.noise.memory < LONG_MEMORY
        and survey.best(_KINDS).surplus < 0
        and not search.may_be_cycles(plain)
    ):
        return plain, search.alternatives(plain, [])
    with_step, with_slope, with_cycle = map(NOTHING.extend, search.survey(NOTHING).all())
    with_both = with_step.extend(search.survey(with_step).cycle()) if with_step.surplus > 0 else with_cycle
    one_by_one = search.one_by_one(_KINDS, plain)
    found = [plain, one_by_one, with_step, with_slope, with_cycle, with_both]
    start = max(with_cycle, with_both, key=search.compare)
    if search.judge(start) > max(0.0, _HOPEFUL * search.judge(plain)):
        found.append(search.one_by_one(_KINDS, start))
    if one_by_one.has(SlopeChange):
        found.append(search.one_by_one((LevelShift, Harmonic)))
    # What half a cycle explains as well as a step is no step, even where it is no plain cycle either.
    reached = max(map(search.compare, found)) - _TIE
    good = [one for one in found if search.judge(one) > (0.0 if even else NEEDED_UNEVEN)]
    best = max(good, key=search.compare, default=NOTHING)
    if best is NOTHING or search.compare(best) < reached:
        return NOTHING, []
    return best, search.alternatives(best, found)


class _Search:
    """Ways to find the components of a series."""

    def __init__(self, values: Sequence[float], scales: Sequence[float]) -> None:
        self._values = values
        self._scales = scales
        self._designs = Designs(len(values))
        self._series = Series(values, self._designs)
        self._surveys: dict[tuple[Component, ...], Survey] = {}
        self._best_fits: dict[tuple[Component, ...], Fit] = {}

    def steps_in_white_noise(self, needed: float, *, ranked: bool = True) -> Explanation:
        """Find steps as if the noise had no memory; keep them if they explain more than noise that has."""
        found = NOTHING
        while len(found.components) < min(_MOST, len(self._values) / RUNS_PER_COMPONENT):
            survey = self._look(found.components, WHITE, (WHITE,), ranked=ranked)
            more = survey.step()
            if more.gain < needed:
                more = survey.interlude()
            if more.gain < needed * len(more.components):
                break
            found = found.extend(more)
            if len(found.components) > _MANY and self.judge(found) <= 0:
                return NOTHING
        if found is NOTHING and ranked:  # the ranks of a few runs hardly tell how far apart two levels lie
            return self.steps_in_white_noise(NEEDED_UNRANKED, ranked=False)
        if found is NOTHING or self.judge(found) <= 0:
            return NOTHING
        if len(found.components) > 2:
            found = self._confirm(found, (WHITE,), needed, ranked=ranked)
        found = replace(found, noise=self._best_fit(found.components).design.noise)
        return found if self.judge(found) > 0 else NOTHING

    def judge(self, found: Explanation, for_cycle: float | None = None) -> float:
        """Compute by how much the gain of all components together exceeds what they need.

        Args:
            found: The components.
            for_cycle: What a cycle needs; by default what chance seldom gains.
        """
        n = len(self._values)
        best = self._best_fit(found.components)
        kinds = Counter(map(type, found.components[1:]))
        changes = kinds[LevelShift] + kinds[SlopeChange]
        alone = (needed_for_step if kinds[LevelShift] else needed_for_slope)(best.design.noise, n)
        needed = alone if len(found.components) == 2 else changes * max(alone, NEEDED_AMONG_MANY)
        needed += kinds[Harmonic] / 2 * (needed_for_cycle(n) if for_cycle is None else for_cycle)
        return best.likelihood - self._best_fit((LEVEL,)).likelihood - needed

    def compare(self, found: Explanation) -> float:
        """Return the same, with a cycle that needs less than a step does."""
        noise = self._best_fit(found.components).design.noise
        return self.judge(found, 0.7 * needed_for_step(noise, len(self._values)))

    def alternatives(self, best: Explanation, found: Iterable[Explanation]) -> list[Explanation]:
        """List explanations with steps that are almost as good as the best one."""
        if not best.has(LevelShift):
            return []
        reached = self.compare(best)
        others = [one for one in found if one is not best and self.compare(one) > reached - _ALMOST]
        if not best.has(Harmonic):
            more = self.survey(best).cycle()
            if more.gain > _NUISANCE:
                others.append(best.extend(more))
        return others

    def survey(self, so_far: Explanation) -> "Survey":
        """Look for one more component, whatever the noise."""
        if so_far.components not in self._surveys:
            self._surveys[so_far.components] = self._look(so_far.components, so_far.noise)
        return self._surveys[so_far.components]

    def _look(
        self, components: tuple[Component, ...], noise: Noise, models: tuple[Noise, ...] = (), *, ranked: bool = True
    ) -> "Survey":
        residuals = self._series.fit(components, noise).residuals(self._values)
        even = list(map(truediv, residuals, self._scales))
        return Survey(Series(normal_scores(even) if ranked else even, self._designs), components, noise, models)

    def may_be_cycles(self, plain: Explanation) -> bool:
        """Return whether a cycle beside the first few of many steps might explain as much as all of them."""
        for count in range(1, min(4, len(plain.components))):
            known = self._series.fit(plain.components[:count], WHITE)
            reached, _ = best_cycle(self._series, known, math.inf)
            fewer = (len(plain.components) - count) * NEEDED_AMONG_MANY
            if reached + fewer - NEEDED_CYCLE > self._best_fit(plain.components).likelihood - _ROUGH:
                return True
        return False

    def _best_fit(self, components: tuple[Component, ...]) -> Fit:
        if components not in self._best_fits:
            self._best_fits[components] = self._series.best_fit(components)
        return self._best_fits[components]

    def one_by_one(self, kinds: Collection[type[Component]], start: Explanation = NOTHING) -> Explanation:
        """Add the component that gains most, again and again, whatever the noise."""
        best = now = start
        while len(self._values) >= RUNS_PER_COMPONENT * len(now.components):
            survey = self.survey(now)
            more = survey.best(kinds)
            later = now.extend(more)
            if later.surplus > best.surplus:
                best = later
            elif now is not best or more.gain < PROMISING * now.needed(more):
                break
            now = later
        return best if best is start or len(best.components) <= 2 else self._confirm(best, (best.noise,))

    def _confirm(
        self, found: Explanation, models: tuple[Noise, ...], least: float = 0.0, *, ranked: bool = True
    ) -> Explanation:
        """Place each level shift and slope change anew beside all others, and drop those that gain too little."""
        for component in found.components[1:]:
            if isinstance(component, Harmonic):
                continue
            others = tuple(other for other in found.components if other != component)
            survey = self._look(others, found.noise, models, ranked=ranked)
            again = survey.step() if isinstance(component, LevelShift) else survey.slope()
            gains = {index: gain for index, gain in found.gains.items() if LevelShift(index) in others}
            rest = replace(found, components=others, gains=gains)
            found = (
                replace(rest.extend(again), surplus=found.surplus) if again.surplus > 0 and again.gain > least else rest
            )
        return found


def needed_for_step(noise: Noise, n: int) -> float:
    """Return twice the log-likelihood that a step has to gain."""
    return NEEDED_STEP + NEEDED_PER_LOG_MEMORY * math.log(noise.memory) + NEEDED_WHEN_SHORT / n


def needed_for_slope(noise: Noise, n: int) -> float:
    """Return twice the log-likelihood that a slope change has to gain."""
    return NEEDED_SLOPE + NEEDED_PER_LOG_MEMORY * math.log(noise.memory) + NEEDED_WHEN_SHORT / n


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
    """

    def __init__(
        self, series: Series, components: tuple[Component, ...], noise: Noise, models: tuple[Noise, ...] = ()
    ) -> None:
        self._series = series
        self._n = n = len(series.values)
        self._components = components
        self._no_steps = _blocked(n, (one.index for one in components if isinstance(one, LevelShift)), SHORTEST_LEVEL)
        self._no_slopes = _blocked(n, (one.index for one in components if isinstance(one, SlopeChange)), SHORTEST_SLOPE)
        self._cycle: Candidate | None = None
        # Without one more component, with a step, with a slope: the likelihood, the first run, and the fit.
        self._best: list[tuple[float, int, Fit]] = []
        self._tried: set[Noise] = set()
        self._try(models or (COARSE_MODELS if len(components) == 1 else (WHITE, *neighbours(noise))))
        if not models:
            self._try([one for _, _, found in self._best for one in neighbours(found.design.noise)])
        self._without, _, self._fit = self._best[0]
        self.noise = self._fit.design.noise

    def _try(self, models: Iterable[Noise]) -> None:
        for noise in models:
            if noise in self._tried:
                continue
            self._tried.add(noise)
            found = self._series.fit(self._components, noise)
            step_gains, slope_gains = found.gains()
            tries = ((0.0, 0), _highest(step_gains, self._no_steps), _highest(slope_gains, self._no_slopes))
            here = [(log_likelihood(found.squares - gain, self._n, noise), index, found) for gain, index in tries]
            self._best = [max(pair, key=itemgetter(0)) for pair in zip(self._best or here, here, strict=True)]

    def best(self, kinds: Collection[type[Component]]) -> Candidate:
        """Return the best candidate of these kinds."""
        finders = {LevelShift: self.step, SlopeChange: self.slope, Harmonic: self.cycle}
        return max((finders[kind]() for kind in kinds), key=attrgetter("surplus"))

    def all(self) -> tuple[Candidate, Candidate, Candidate]:
        """Return the best level shift, slope change and cycle."""
        return self.step(), self.slope(), self.cycle()

    def step(self) -> Candidate:
        """Return the best level shift."""
        reached, index, found = self._best[1]
        needed = needed_for_step(found.design.noise, self._n)
        return self._candidate(reached, needed, (LevelShift(index),), found)

    def slope(self) -> Candidate:
        """Return the best slope change."""
        reached, index, found = self._best[2]
        needed = needed_for_slope(found.design.noise, self._n)
        return self._candidate(reached, needed, (SlopeChange(index),), found)

    def cycle(self) -> Candidate:
        """Return the best cycle."""
        if self._cycle is None and sum(isinstance(one, Harmonic) for one in self._components) >= 2 * _MOST_CYCLES:
            self._cycle = self._candidate(-math.inf, needed_for_cycle(self._n), (), self._fit)
        if self._cycle is None:
            reached, found = best_cycle(self._series, self._fit, self._without + _NUISANCE)
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
            size, start = max(
                (abs(after - before), start)
                for start, (before, after) in enumerate(zip(sums, sums[apart:], strict=False))
            )
            here = size**2 / (runs * (1 - runs / n))
            if here > gain:
                gain, first, second = here, start, start + apart
        indices = (SHORTEST_LEVEL + place * stride for place in (first, second))
        reached = log_likelihood(self._fit.squares - gain, n, WHITE)
        return self._candidate(reached, 2 * needed_for_step(WHITE, n), tuple(map(LevelShift, indices)), self._fit)


def _blocked(n: int, indices: Iterable[int], shortest: int) -> list[int]:
    """List the places, counted from the end, that are too close to the end or to known changes."""
    bars = [0, *(n - index for index in indices)]
    places = {bar + apart - 1 for bar in bars for apart in range(1 - shortest, shortest)}
    return [n - 1, *(place for place in places if 0 <= place < n)]


def _highest(gains: list[float], blocked: Iterable[int]) -> tuple[float, int]:
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
    order = sorted(range(n), key=rounded.__getitem__)
    scores = [0.0] * n
    for place, score in zip(order, expected, strict=True):
        scores[place] = score
    if len(set(rounded)) < n:
        for _, group in groupby(order, rounded.__getitem__):
            tied = list(group)
            mean = sum(scores[place] for place in tied) / len(tied)
            for place in tied:
                scores[place] = mean
    return scores
