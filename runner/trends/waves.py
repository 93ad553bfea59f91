"""Regular cycles in a series of timings, such as the day's, so that they do not pass for steps."""

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from runner.trends.fit import Design, Designs, Fit, fit
from runner.trends.noise import SCATTER, Noise, dot, likelihood, near
from runner.trends.shapes import sample, waves

# Shorter cycles average out within a few runs and can't be taken for steps; longer ones than this many times the series
# can't be told from a slope.
SHORTEST_PERIOD = 8
LONGEST_PERIOD = 1.5
# With fewer of them in a series, the spectrum alone does not tell what a wave gains.
_FEW_CYCLES = 3


class Peak(NamedTuple):
    """A wave.

    Attributes:
        reached: Twice the log-likelihood reached with it.
        turn: Its angle from run to run, radians.
        noise: The noise that suits the series best with it.
    """

    reached: float
    turn: float
    noise: Noise


def best_wave(values: Sequence[float], designs: Designs, known: Fit, worth_it: float) -> Peak:
    """Find the sine wave that, beside *shapes*, makes the series likeliest.

    The peak of the spectrum says where to look: of the innovations of the noise that suits the series best without the
    wave, and of the plain residuals, because noise that had to stand in for a wave hides it from its own innovations.

    Args:
        values: Numbers in run order; shape (n,).
        designs: Of n runs.
        known: The fit of the shapes so far with the noise that suits best.
        worth_it: The peak of a spectrum is refined if twice the log-likelihood there is at least this.

    """
    n = len(values)
    lowest, highest = math.tau / (LONGEST_PERIOD * n), math.tau / SHORTEST_PERIOD
    count = max(2, math.ceil((highest - lowest) * n / math.pi))
    pace = (highest - lowest) / (count - 1)
    shapes = known.design.shapes
    best = Peak(-math.inf, lowest, known.design.noise)
    guesses = [known] if known.design.noise == SCATTER else [known, fit(values, designs.get(SCATTER, shapes))]
    for guess in guesses:
        rough, turn = max((_roughly(values, guess, lowest + pace * k), lowest + pace * k) for k in range(count))
        noise = guess.design.noise
        found = [Peak(rough, turn, noise)]
        if rough > worth_it:
            turn = _climb(values, guess.design, turn, pace, lowest)
            around = ((one, _with_wave(designs.get(one, shapes), turn)) for one in near(noise))
            found = [Peak(fit(values, design).likelihood, turn, one) for one, design in around]
        best = max(best, *found, key=attrgetter("reached"))
    return best


def _with_wave(design: Design, turn: float) -> Design:
    cosine, sine = waves(turn)
    return design.extend(cosine).extend(sine)


def _roughly(values: Sequence[float], guess: Fit, turn: float) -> float:
    """Estimate twice the log-likelihood with a wave of one frequency."""
    n = len(values)
    if turn * n < _FEW_CYCLES * math.tau:  # it is not orthogonal to the other shapes
        return fit(values, _with_wave(guess.design, turn)).likelihood
    cosine, sine = (dot(guess.residuals, sample(wave, n)) for wave in waves(turn))
    squares = guess.squares - 2 / n * (cosine * cosine + sine * sine)
    return likelihood(max(0.0, squares), n, guess.design.noise)


def _climb(values: Sequence[float], design: Design, turn: float, width: float, lowest: float) -> float:
    """Move the frequency uphill in ever smaller paces."""

    def reached(turn: float) -> float:
        return fit(values, _with_wave(design, turn)).likelihood

    best = (reached(turn), turn)
    pace = width / 2
    for _ in range(4):
        turn = best[1]
        best = max(best, *((reached(other), other) for other in (turn - pace, turn + pace) if other >= lowest))
        pace /= 2
    return best[1]
