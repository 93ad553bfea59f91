"""Which steps and which regular cycles explain a series of timings better than noise alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.trends.noise import MODELS, Noise, dot, fit, likelihood, step_gains
from runner.trends.waves import best_wave, wave_shapes

# A level needs this many runs: one or two could be spikes.
SHORTEST = 3

# Twice the log-likelihood that a step must gain: on scatter alone, more per natural-log unit of the noise's memory, and
# more, divided by the number of runs, for series too short to tell a memory from a step. Simulated on up to 1,200
# series of each kind without a step, of 16, 30, 60, 200 and 1,000 runs, so that about 1 % of those of 200 runs exceed
# it on independent noise, with spikes and without, and on AR(1) noise of 0.6 and 0.9;
# ``python -m tests.benchmarks.steps`` repeats it for 200 runs.
NEEDED = 11.0
NEEDED_PER_MEMORY = 2.8
NEEDED_WHEN_SHORT = 50.0
# The same for a wave: about fifty frequencies are free to choose, and chance passes this once in a hundred series.
NEEDED_WAVE = 18.0

# Noise of less memory than this hides nothing.
MEMORABLE = 1.5

# With fewer runs for each number estimated, almost anything can be explained.
RUNS_PER_SHAPE = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """The steps and waves that a series is the sum of, besides its level and noise.

    Attributes:
        steps: By the first run of each step, counted from 0, twice the log-likelihood that the step gains.
        waves: The angle of each wave from run to run, radians.
    """

    steps: Mapping[int, float]
    waves: tuple[float, ...]

    def shapes(self, n: int) -> list[list[float]]:
        """Give what the series of n runs is a sum of: a constant, then each step, then each wave's two shapes."""
        steps = ([0.0] * index + [1.0] * (n - index) for index in self.steps)
        return [[1.0] * n, *steps, *(shape for turn in self.waves for shape in wave_shapes(n, turn))]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    """What one more step or wave would gain, in twice the log-likelihood, and what the explanation were with it.

    ``beside`` is the noise that suits the series best without it.
    """

    gain: float
    needed: float
    beside: Noise
    explanation: Explanation

    @property
    def stands(self) -> bool:
        return self.gain > self.needed


def explain(values: Sequence[float]) -> Explanation:
    """Accept steps and waves, the one that gains most first, until none gains enough.

    Args:
        values: Natural logarithms of wall times in run order, free of spikes; shape (n,).
    """
    so_far = Explanation(steps={}, waves=())
    while len(values) >= RUNS_PER_SHAPE * (1 + len(so_far.steps) + 2 * len(so_far.waves)):
        step, wave = _candidates(values, so_far)
        # A step that a wave explains better is not accepted, even where that wave alone would be too weak.
        if wave.gain > step.gain and (wave.stands or step.stands):
            so_far = wave.explanation
        elif step.stands:
            so_far = step.explanation
        elif pair := _pair(values, step, wave):
            so_far = pair
        else:
            break
    return _confirm(values, so_far) if len(so_far.steps) + len(so_far.waves) > 1 else so_far


def _pair(values: Sequence[float], step: _Candidate, wave: _Candidate) -> Explanation | None:
    """Look for two that gain enough only together: a step amid a cycle, or one that was soon made good."""
    # Two such make the noise seem to remember; where it does not, looking would take time and find nothing.
    if step.beside.memory < MEMORABLE:
        return None
    # The first edge of what was made good may gain next to nothing alone; a wave is halfway plain or not there.
    for first in (step, wave) if 2 * wave.gain > wave.needed else (step,):
        for second in _candidates(values, first.explanation):
            if second.stands and first.gain + second.gain > first.needed + second.needed:
                return second.explanation
    return None


def _confirm(values: Sequence[float], found: Explanation) -> Explanation:
    """Place each step anew beside all the others, and drop those that no longer gain enough."""
    steps = dict(found.steps)
    for index in found.steps:
        del steps[index]
        step, _ = _best_step(values, Explanation(steps=steps, waves=found.waves))
        if step.stands:
            steps = dict(step.explanation.steps)
    return Explanation(steps=steps, waves=found.waves)


def _candidates(values: Sequence[float], so_far: Explanation) -> tuple[_Candidate, _Candidate]:
    """Find the step and the wave that would explain most beside what explains the series so far."""
    step, (without, noise) = _best_step(values, so_far)
    turn, reached = best_wave(values, so_far.shapes(len(values)), noise)
    wave = _Candidate(
        gain=reached - without,
        needed=NEEDED_WAVE + NEEDED_WHEN_SHORT / len(values),
        beside=noise,
        explanation=Explanation(steps=so_far.steps, waves=(*so_far.waves, turn)),
    )
    return step, wave


def _best_step(values: Sequence[float], so_far: Explanation) -> tuple[_Candidate, tuple[float, Noise]]:
    """Find where one more step would explain most; give also the best likelihood without it, and its noise."""
    n = len(values)
    shapes = so_far.shapes(n)
    bars = [n - index for index in (0, *so_far.steps, n)]
    lengths = [m for m in range(SHORTEST, n) if all(abs(m - bar) >= SHORTEST for bar in bars)]
    best_with, best_without = (-math.inf, n, MODELS[0]), (-math.inf, MODELS[0])
    for noise in MODELS:
        found = fit(values, shapes, noise)
        gains = step_gains(found)
        gain, length = max(((gains[m - 1], m) for m in lengths), default=(0.0, SHORTEST))
        squares = max(0.0, dot(found.residuals, found.residuals) - gain)
        best_with = max(best_with, (likelihood(squares, n, noise), n - length, noise), key=lambda one: one[0])
        best_without = max(best_without, (found.likelihood, noise), key=lambda one: one[0])
    gain = best_with[0] - best_without[0]
    step = _Candidate(
        gain=gain,
        needed=NEEDED + NEEDED_PER_MEMORY * math.log(best_with[2].memory) + NEEDED_WHEN_SHORT / n,
        beside=best_without[1],
        explanation=Explanation(steps={**so_far.steps, best_with[1]: gain}, waves=so_far.waves),
    )
    return step, best_without
