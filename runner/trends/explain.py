"""Which steps, bends and regular cycles explain a series of timings better than noise alone."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, groupby
from operator import attrgetter, itemgetter, truediv
from statistics import NormalDist, fmean

from runner.trends.fit import Designs, Fit, fit
from runner.trends.noise import COARSE, FINEST, SCATTER, Noise, likelihood, near
from runner.trends.shapes import LEVEL, Bend, Shape, Shift, Wave, waves
from runner.trends.waves import Peak, best_wave

# A level needs this many runs: one or two could be spikes. A slope needs more: a few runs on a slope are a step.
SHORTEST = 3
SHORTEST_SLOPE = 12

NEEDED = 10.0
NEEDED_PER_MEMORY = 2.5
NEEDED_WHEN_SHORT = 50.0
NEEDED_BEND = 11.0
# Beside others, each shape has many more places to choose from.
NEEDED_AMONG_MANY = 14.0
# Noise that is not normal easily gains more where its values count instead of their ranks.
NEEDED_UNRANKED = 30.0
# Where noise is not equally loud everywhere, how loud it is has been estimated as well.
NEEDED_UNEVEN = 8.0
NEEDED_WAVE = 18.0

# Noise of less memory than this hides nothing.
MEMORABLE = 1.5
# A shape that gains less than this share of what it needs is not worth looking for others beside it.
PROMISING = 0.5
# With fewer runs for each number estimated, almost anything can be explained.
RUNS_PER_SHAPE = 4
# Wandering noise seems to be full of steps; no series is explained by more.
_MOST = 12
_KINDS = (Shift, Bend, Wave)
# A wave whose frequency was only read off the spectrum may gain so much more.
_ROUGHLY = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What one more shape would gain, in twice the log-likelihood.

    Attributes:
        gain: Over noise alone, whose kind is estimated anew with and without it.
        needed: What chance seldom gains.
        shapes: The shape; two for a wave.
        noise: The noise that suits the series best with it.
    """

    gain: float
    needed: float
    shapes: tuple[Shape, ...]
    noise: Noise

    @property
    def surplus(self) -> float:
        """By how much the gain exceeds what is needed; negative if it does not."""
        return self.gain - self.needed


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What a series is the sum of, besides noise.

    Attributes:
        shapes: Its level, then steps, bends and waves in the order in which they were found.
        gains: Twice the log-likelihood that each step gains, by its first run.
        noise: The noise that suits it.
        surplus: By how much everything gains more than it needs.
    """

    shapes: tuple[Shape, ...]
    gains: dict[int, float]
    noise: Noise
    surplus: float

    def has(self, kind: type[Shape]) -> bool:
        """Tell whether a shape of this kind is among them."""
        return any(isinstance(shape, kind) for shape in self.shapes)

    def extend(self, more: Candidate) -> "Explanation":
        """Add one more."""
        found = {shape.index: more.gain for shape in more.shapes if isinstance(shape, Shift)}
        needed = more.needed if len(self.shapes) == 1 else max(more.needed, NEEDED_AMONG_MANY)
        return Explanation(
            shapes=self.shapes + more.shapes,
            gains=self.gains | found,
            noise=more.noise,
            surplus=self.surplus + more.gain - needed,
        )


def explain(values: Sequence[float], scales: Sequence[float]) -> Explanation:
    """Find the shapes that together gain most over what they need, by several ways.

    Args:
        values: Natural logarithms of wall times in run order, free of spikes; shape (n,).
        scales: How much the runs around each scatter, in any unit; shape (n,).
    """
    search = _Search(values, scales)
    plain = search.steps_amid_scatter(NEEDED_AMONG_MANY)
    if plain is search.nothing:  # the ranks of a few runs hardly tell how far apart two levels lie
        plain = search.steps_amid_scatter(NEEDED_UNRANKED, ranked=False)
    survey = search.survey(plain)
    even = min(scales) == max(scales)
    if even and survey.noise.memory < MEMORABLE and survey.best(_KINDS).surplus < 0 and not search.may_be_cycles(plain):
        return plain
    found = [plain, search.one_by_one(_KINDS)]
    # What is there may only show once what hides it is known: a step amid a cycle, the steps of a staircase.
    amid_wave = search.nothing.extend(search.survey(search.nothing).wave())
    found += [amid_wave, search.nothing.extend(search.survey(search.nothing).step())]
    if amid_wave.surplus > 0 and not found[1].has(Wave):
        found.append(search.one_by_one(_KINDS, amid_wave))
    if found[1].has(Bend):
        found.append(search.one_by_one((Shift, Wave)))
    # What half a cycle explains as well as a step is no step, even where it is no plain cycle either.
    best = max(found, key=lambda one: search.judge(one, as_plain=True))
    return best if search.judge(best) > (0.0 if even else NEEDED_UNEVEN) else search.nothing


class _Search:
    """Ways to find the shapes that a series is the sum of."""

    def __init__(self, values: Sequence[float], scales: Sequence[float]) -> None:
        self._values = values
        self._scales = scales
        self.designs = Designs(len(values))
        self._surveys: dict[tuple[Shape, ...], Survey] = {}
        self.nothing = Explanation(shapes=(LEVEL,), gains={}, noise=SCATTER, surplus=0.0)

    def steps_amid_scatter(self, needed: float, *, ranked: bool = True) -> Explanation:
        """Accept steps as if nothing wandered; keep them if they explain more than noise that does."""
        found = self.nothing
        while len(found.shapes) < min(_MOST, len(self._values) / RUNS_PER_SHAPE):
            survey = self._look(found.shapes, SCATTER, (SCATTER,), ranked=ranked)
            more = survey.step()
            if more.gain < needed:
                more = survey.interlude()
            if more.gain < needed * len(more.shapes):
                break
            found = found.extend(more)
        if found is self.nothing:
            return found
        found = self._confirm(found, (SCATTER,), needed, ranked=ranked)
        found = replace(found, noise=self._likeliest(found.shapes)[1])
        return found if self.judge(found) > 0 else self.nothing

    def judge(self, found: Explanation, *, as_plain: bool = False) -> float:
        """Tell by how much the likelihood that all shapes gain together exceeds what they need.

        Args:
            found: The shapes.
            as_plain: Whether a cycle needs less than a step does, as where one is held against the other.
        """
        n = len(self._values)
        reached, noise = self._likeliest(found.shapes)
        kinds = Counter(map(type, found.shapes[1:]))
        changes = kinds[Shift] + kinds[Bend]
        alone = needed_for_step(noise, n) if kinds[Shift] else needed_for_bend(noise, n)
        needed = alone if len(found.shapes) == 2 else changes * max(alone, NEEDED_AMONG_MANY)
        needed += kinds[Wave] / 2 * (0.7 * needed_for_step(noise, n) if as_plain else needed_for_wave(n))
        return reached - self._likeliest((LEVEL,))[0] - needed

    def survey(self, so_far: Explanation) -> "Survey":
        """Look for one more shape, whatever the noise."""
        if so_far.shapes not in self._surveys:
            self._surveys[so_far.shapes] = self._look(so_far.shapes, so_far.noise)
        return self._surveys[so_far.shapes]

    def _look(
        self, shapes: tuple[Shape, ...], noise: Noise, noises: tuple[Noise, ...] = (), *, ranked: bool = True
    ) -> "Survey":
        left = fit(self._values, self.designs.get(noise, shapes)).left_over(self._values)
        even = list(map(truediv, left, self._scales))
        return Survey(score(even) if ranked else even, self.designs, shapes, noise, noises)

    def may_be_cycles(self, plain: Explanation) -> bool:
        """Tell whether a cycle beside the first few of many steps might explain as much as all of them."""
        for count in range(1, min(4, len(plain.shapes))):
            known = fit(self._values, self.designs.get(SCATTER, plain.shapes[:count]))
            wave = best_wave(self._values, self.designs, known, math.inf)
            fewer = (len(plain.shapes) - count) * NEEDED_AMONG_MANY
            if wave.reached + fewer - NEEDED_WAVE > self._likeliest(plain.shapes)[0] - _ROUGHLY:
                return True
        return False

    def _likeliest(self, shapes: tuple[Shape, ...]) -> tuple[float, Noise]:
        fits = [fit(self._values, self.designs.get(noise, shapes)) for noise in COARSE]
        best = max(fits, key=attrgetter("likelihood")).design.noise
        fits += [fit(self._values, self.designs.get(noise, shapes)) for noise in near(best)]
        best_fit = max(fits, key=attrgetter("likelihood"))
        return best_fit.likelihood, best_fit.design.noise

    def one_by_one(self, kinds: Collection[type[Shape]], start: Explanation | None = None) -> Explanation:
        """Accept the shape that gains most, again and again, whatever the noise."""
        best = now = start or self.nothing
        while len(self._values) >= RUNS_PER_SHAPE * len(now.shapes):
            survey = self.survey(now)
            more = survey.best(kinds)
            later = now.extend(more)
            if later.surplus > best.surplus:
                best = later
            elif now is not best or (more.gain < PROMISING * more.needed and survey.noise.memory < MEMORABLE):
                break
            now = later
        return self._confirm(best, near(best.noise)) if len(best.shapes) > 2 else best

    def _confirm(
        self, found: Explanation, noises: tuple[Noise, ...], least: float = 0.0, *, ranked: bool = True
    ) -> Explanation:
        """Place each step and bend anew beside all the others, and drop those that do not gain enough."""
        for shape in found.shapes[1:]:
            if isinstance(shape, Wave):
                continue
            others = tuple(other for other in found.shapes if other != shape)
            survey = self._look(others, found.noise, noises, ranked=ranked)
            again = survey.step() if isinstance(shape, Shift) else survey.bend()
            gains = {index: gain for index, gain in found.gains.items() if Shift(index) in others}
            rest = replace(found, shapes=others, gains=gains)
            found = (
                replace(rest.extend(again), surplus=found.surplus) if again.surplus > 0 and again.gain > least else rest
            )
        return found


def needed_for_bend(noise: Noise, n: int) -> float:
    """Give the same for a bend."""
    return NEEDED_BEND + NEEDED_PER_MEMORY * math.log(noise.memory) + NEEDED_WHEN_SHORT / n


def needed_for_wave(n: int) -> float:
    """Give the same for a wave."""
    return NEEDED_WAVE + NEEDED_WHEN_SHORT / n


def needed_for_step(noise: Noise, n: int) -> float:
    """Give twice the log-likelihood that a step must gain amid noise of one kind."""
    return NEEDED + NEEDED_PER_MEMORY * math.log(noise.memory) + NEEDED_WHEN_SHORT / n


class Survey:
    """What one more shape would explain of a series.

    The series is judged by the normal scores of what the shapes so far leave over, so that noise of any distribution
    weighs what normal noise would.
    """

    def __init__(
        self,
        scores: Sequence[float],
        designs: Designs,
        shapes: tuple[Shape, ...],
        noise: Noise,
        noises: tuple[Noise, ...] = (),
    ) -> None:
        self._n = n = len(scores)
        self._designs = designs
        self._shapes = shapes
        self._scores = scores
        self._steps = _free(n, [shape.index for shape in shapes if isinstance(shape, Shift)], SHORTEST)
        self._bends = _free(n, [shape.index for shape in shapes if isinstance(shape, Bend)], SHORTEST_SLOPE)
        self._wave: Peak | None = None
        # Without one more shape, with a step, with a bend: the likelihood, how many runs feel it, and the fit.
        self._best: list[tuple[float, int, Fit]] = []
        self._tried: set[Noise] = set()
        self._try(noises or (COARSE if len(shapes) == 1 else [SCATTER, *near(noise)]))
        while not noises:
            before = len(self._tried)
            self._try([one for _, _, found in self._best for one in near(found.design.noise)])
            if len(self._tried) == before or len(shapes) == 1:
                break
        self._without, _, self._fit = self._best[0]
        self.noise = self._fit.design.noise

    def _try(self, noises: Iterable[Noise]) -> None:
        for noise in noises:
            if noise in self._tried:
                continue
            self._tried.add(noise)
            found = fit(self._scores, self._designs.get(noise, self._shapes))
            step_gains, bend_gains = found.gains()
            tries = ((0.0, 0), _highest(step_gains, self._steps), _highest(bend_gains, self._bends))
            here = [
                (likelihood(max(0.0, found.squares - gain), self._n, noise), length, found) for gain, length in tries
            ]
            self._best = [max(pair, key=itemgetter(0)) for pair in zip(self._best or here, here, strict=True)]

    def best(self, kinds: Collection[type[Shape]]) -> Candidate:
        """Find the shape of these kinds that would explain most."""
        finders = {Shift: self.step, Bend: self.bend, Wave: self.wave}
        return max((finders[kind]() for kind in kinds), key=lambda one: one.surplus)

    def step(self) -> Candidate:
        """Find the step that would explain most."""
        reached, length, found = self._best[1]
        index = self._n - length
        return Candidate(
            gain=reached - self._without,
            needed=needed_for_step(found.design.noise, self._n),
            shapes=(Shift(index),),
            noise=found.design.noise,
        )

    def bend(self) -> Candidate:
        """Find the bend that would explain most."""
        reached, length, found = self._best[2]
        return Candidate(
            gain=reached - self._without,
            needed=needed_for_bend(found.design.noise, self._n),
            shapes=(Bend(self._n - length),),
            noise=found.design.noise,
        )

    def wave(self) -> Candidate:
        """Find the wave that would explain most."""
        if self._wave is None:
            worth_it = self._without + PROMISING * NEEDED_WAVE
            self._wave = best_wave(self._scores, self._designs, self._fit, worth_it)
        return Candidate(
            gain=self._wave.reached - self._without,
            needed=needed_for_wave(self._n),
            shapes=waves(self._wave.turn),
            noise=self._wave.noise,
        )

    def interlude(self) -> Candidate:
        """Find the two steps between which the level was another one, roughly and as if nothing wandered."""
        n, pace = self._n, max(1, self._n // 64)
        residuals = self._fit.residuals
        sums = [0.0, *accumulate(residuals)][SHORTEST:-SHORTEST]
        sums = sums[::pace]
        gain, first, second = 0.0, 0, 0
        for start, before in enumerate(sums):
            for apart, after in enumerate(sums[start + 1 :], start=1):
                runs = apart * pace
                here = (after - before) ** 2 / (runs * (1 - runs / n))
                if here > gain and runs >= SHORTEST:
                    gain, first, second = here, start, start + apart
        reached = likelihood(max(0.0, self._fit.squares - gain), n, SCATTER)
        return Candidate(
            gain=reached - self._without,
            needed=2 * needed_for_step(SCATTER, n),
            shapes=(Shift(SHORTEST + first * pace), Shift(SHORTEST + second * pace)),
            noise=SCATTER,
        )


def _free(n: int, taken: Iterable[int], shortest: int) -> list[int]:
    """Give how many runs may feel one more change that keeps its distance from those known and from the ends."""
    bars = [0, *(n - index for index in taken)]
    return [m for m in range(shortest, n) if all(abs(m - bar) >= shortest for bar in bars)]


def _highest(gains_: list[float], lengths: list[int]) -> tuple[float, int]:
    here = [gains_[m - 1] for m in lengths]
    best = max(here, default=0.0)
    return best, lengths[here.index(best)] if lengths else len(gains_) // 2


@lru_cache(maxsize=8)
def _normal_scores(n: int) -> tuple[float, ...]:
    normal = NormalDist()
    return tuple(normal.inv_cdf((rank - 0.375) / (n + 0.25)) for rank in range(1, n + 1))


def score(values: Sequence[float]) -> list[float]:
    """Replace each value by what normal noise would have at its rank; equal values share the mean.

    Source:
        Blom, Statistical Estimates and Transformed Beta-Variables (1958).
    """
    scores = [0.0] * len(values)
    at = iter(_normal_scores(len(values)))
    ordered = sorted((round(value / FINEST), place) for place, value in enumerate(values))
    for _, group in groupby(ordered, itemgetter(0)):
        places = [place for _, place in group]
        shared = fmean(next(at) for _ in places)
        for place in places:
            scores[place] = shared
    return scores
