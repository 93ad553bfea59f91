"""Search for the level shifts, slope changes and cycles that explain a series of timings better than noise alone."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import truediv

from runner.trends.components import LEVEL, Change, Component, Harmonic, LevelShift, SlopeChange, cycle
from runner.trends.cycles import LONGEST_PERIOD, SHORTEST_PERIOD, best_cycle, climb
from runner.trends.noise import WHITE, Noise
from runner.trends.regression import Fit, Series, cycle_design
from runner.trends.survey import (
    NEEDED,
    NEEDED_CYCLE,
    SHORTEST_LEVEL,
    WORTH_A_LOOK,
    Candidate,
    Survey,
    blocked,
    highest,
    needed_for_change,
    needed_for_cycle,
    normal_scores,
)

# Beside others, each component has many more places to choose from.
NEEDED_AMONG_MANY = 14.0
# A step that nothing else accompanies needs this much more, so that at most 2 % of the series without a step have one.
NEEDED_ALONE = 2.5
# Noise that is not normal easily gains more where values count instead of ranks.
NEEDED_UNRANKED = 30.0
# Where the noise is not equally strong everywhere, its strength has been estimated as well.
NEEDED_UNEVEN = 8.0
# Noise of a shorter memory hides nothing.
LONG_MEMORY = 1.5
# With a component that gains less than this share of what it needs, no search for others beside it begins.
PROMISING = 0.85
# With fewer runs for each coefficient, almost anything can be explained.
RUNS_PER_COMPONENT = 4
# Noise with a memory seems to be full of steps; no series is explained by more.
_MOST = 12
_MANY = 5
# Steps that explain twice as much as a cycle does are not looked for again beside it.
_HOPEFUL = 0.5
# An explanation that surpasses what it needs by this much less than the best one is almost as good.
_ALMOST = 8.0
# Explanations closer than this are equally good.
_TIE = 4.0
# What includes a step has to surpass cycles without one by this much.
_CLEARLY = 3.0
# Where the noise has a longer memory than this, a cycle needs no less than elsewhere.
_SHORT_MEMORY = 2.5
# Only a cycle that comes back less often than this in a series can hide a step.
_FEW_CYCLES = 6.0
# A cycle whose frequency was only read off the periodogram may gain so much more.
_ROUGH = 10.0
_KINDS = (LevelShift, SlopeChange, Harmonic)


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


def explain(series: Series, scales: Sequence[float]) -> tuple[Explanation, list[Explanation]]:
    """Find the components that together gain most over what they need.

    Several searches compete, because a component may only show once what hides it is known: a step beside a cycle, the
    steps of a staircase.

    Args:
        series: Natural logarithms of wall times in run order, free of spikes; shape (n,).
        scales: How much the runs around each scatter, in any unit; shape (n,).

    Returns:
        The best explanation, and others that are almost as good.
    """
    search = _Search(series, scales)
    plain = search.steps_in_white_noise(NEEDED_AMONG_MANY)
    survey = search.survey(plain)
    even = min(scales) == max(scales)
    if (
        even
        and survey.noise.memory < LONG_MEMORY
        and survey.best(_KINDS).surplus < 0
        and not search.may_be_cycles(plain)
    ):
        return search.conclude(plain, [])
    worth_it = max(0.0, _HOPEFUL * search.judge(plain))
    with_step, with_slope, with_cycle = (NOTHING.extend(search.survey(NOTHING).find(kind)) for kind in _KINDS)
    with_both = search.step_beside_cycle(worth_it)
    one_by_one = search.one_by_one(_KINDS, plain)
    found = [plain, one_by_one, with_step, with_slope, with_cycle, with_both]
    start = max(with_cycle, with_both, key=search.compare)
    # A search from a cycle seldom finds more than one that has found a cycle and a step already.
    complete = one_by_one.has(LevelShift) and one_by_one.has(Harmonic)
    if search.judge(start) > max(worth_it, search.judge(one_by_one) if complete else 0.0):
        found.append(search.one_by_one(_KINDS, start))
    if one_by_one.has(SlopeChange):
        found.append(search.one_by_one((LevelShift, Harmonic)))
    good = [one for one in found if search.judge(one) > (0.0 if even or not one.has(LevelShift) else NEEDED_UNEVEN)]
    best = max(good, key=search.compare, default=NOTHING)
    # What a part of a cycle explains as well as a step is no step, even where it is no plain cycle either.
    reached = max(map(search.compare, found)) - _TIE
    if best.has(LevelShift):
        cycles = (one for one in good if one.has(Harmonic) and not one.has(LevelShift))
        rivals = (one for one in cycles if search.memory(one) < _SHORT_MEMORY)
        reached = max(reached, max(map(search.compare, rivals), default=-math.inf) + _CLEARLY)
    if search.compare(best) < reached:
        return NOTHING, []
    return search.conclude(best, found)


class _Search:
    """Ways to find the components of a series."""

    def __init__(self, series: Series, scales: Sequence[float]) -> None:
        self._series = series
        self._values = series.values
        self._scales = scales
        self._surveys: dict[tuple[Component, ...], Survey] = {}
        self._best_fits: dict[tuple[Component, ...], Fit] = {}

    def steps_in_white_noise(self, needed: float, *, ranked: bool = True) -> Explanation:
        """Find steps as if the noise had no memory; keep them if they explain more than noise that has."""
        found = NOTHING
        while len(found.components) < min(_MOST, len(self._values) / RUNS_PER_COMPONENT):
            survey = self._look(found.components, WHITE, (WHITE,), (LevelShift,), ranked=ranked)
            more = survey.find(LevelShift)
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
        one = needed_for_change(LevelShift if kinds[LevelShift] else SlopeChange, best.design.noise, n)
        needed = changes * max(one, NEEDED_AMONG_MANY)
        if len(found.components) == 2:
            needed = one + NEEDED_ALONE * kinds[LevelShift]
        needed += kinds[Harmonic] / 2 * (needed_for_cycle(n) if for_cycle is None else for_cycle)
        return best.likelihood - self._best_fit((LEVEL,)).likelihood - needed

    def compare(self, found: Explanation) -> float:
        """Return the same, with a cycle that needs less than a step does unless the noise has a long memory."""
        noise = self._best_fit(found.components).design.noise
        short = noise.memory < _SHORT_MEMORY
        return self.judge(found, 0.7 * needed_for_change(LevelShift, noise, len(self._values)) if short else None)

    def memory(self, found: Explanation) -> float:
        """Return the memory of the noise that suits an explanation best."""
        return self._best_fit(found.components).design.noise.memory

    def step_beside_cycle(self, worth_it: float) -> Explanation:
        """Find the slow cycle that explains most together with a step, and the step, if they surpass *worth_it*."""
        n = len(self._values)
        known = self._series.fit((LEVEL,), WHITE).column
        no_steps = blocked(n, (), SHORTEST_LEVEL)
        reached, best, step = -math.inf, 0.0, LEVEL
        for place in range(int(2 * min(_FEW_CYCLES, n / SHORTEST_PERIOD))):
            frequency = math.tau * (1 / LONGEST_PERIOD + place / 2) / n
            fit = Fit(cycle_design(frequency, n), known)
            gain, index = highest(fit.gains(LevelShift), no_steps)
            if gain - fit.squares > reached:
                reached, best, step = gain - fit.squares, frequency, LevelShift(index)
        frequency = climb(self._series, self._series.fit((LEVEL, step), WHITE), best)
        with_cycle = replace(NOTHING, components=(LEVEL, *cycle(frequency)))
        if self.compare(replace(with_cycle, components=(*with_cycle.components, step))) <= worth_it:
            return NOTHING
        survey = self._look(with_cycle.components, WHITE, (WHITE,), (LevelShift,))
        both = with_cycle.extend(survey.find(LevelShift))
        return replace(both, noise=self._best_fit(both.components).design.noise)

    def conclude(self, best: Explanation, found: Iterable[Explanation]) -> tuple[Explanation, list[Explanation]]:
        """Return the best explanation, unless its only step is outliers, and others with steps almost as good."""
        if not best.has(LevelShift):
            return best, []
        known, nothing = map(self._best_fit, (best.components, (LEVEL,)))
        # In noise with a memory, every step is an outlier among the innovations.
        alone = len(best.components) == 2 and known.design.noise == WHITE
        if alone and known.tails > _CLEARLY and self.judge(best) + known.tails < nothing.tails:
            return NOTHING, []
        reached = self.compare(best)
        different = {one.components: one for one in found if one.components != best.components}
        others = [one for one in different.values() if self.compare(one) > reached - _ALMOST]
        if not best.has(Harmonic):
            _, fit = best_cycle(self._series, known, known.likelihood + WORTH_A_LOOK)
            if fit:
                others.append(replace(best, components=fit.design.components, noise=fit.design.noise))
        return best, others

    def survey(self, so_far: Explanation) -> "Survey":
        """Find the best component of each kind to add, under every noise model."""
        if so_far.components not in self._surveys:
            self._surveys[so_far.components] = self._look(so_far.components, so_far.noise)
        return self._surveys[so_far.components]

    def _look(
        self,
        components: tuple[Component, ...],
        noise: Noise,
        models: tuple[Noise, ...] = (),
        kinds: Collection[type[Change]] = NEEDED,
        *,
        ranked: bool = True,
    ) -> "Survey":
        residuals = self._series.fit(components, noise).residuals(self._values)
        even = list(map(truediv, residuals, self._scales))
        return Survey(
            Series(normal_scores(even) if ranked else even, self._series.designs), components, noise, models, kinds
        )

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
        """Add the component that gains most until none gains enough, under every noise model."""
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
        """Move each level shift and slope change again beside all others, and drop those that gain too little."""
        for component in found.components[1:]:
            if not isinstance(component, Change):
                continue
            others = tuple(other for other in found.components if other != component)
            kind = type(component)
            again = self._look(others, found.noise, models, (kind,), ranked=ranked).find(kind)
            gains = {index: gain for index, gain in found.gains.items() if LevelShift(index) in others}
            rest = replace(found, components=others, gains=gains)
            found = (
                replace(rest.extend(again), surplus=found.surplus) if again.surplus > 0 and again.gain > least else rest
            )
        return found
