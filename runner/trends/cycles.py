"""Search for regular cycles in a series of timings, such as the daily one, so that they are not taken for steps."""

import math
from functools import lru_cache
from operator import add, attrgetter, itemgetter, sub

from runner.trends.components import cycle
from runner.trends.noise import WHITE, dot, log_likelihood, neighbours
from runner.trends.regression import Fit, Series

# Shorter cycles average out within a few runs and cannot be taken for steps. Longer ones than this many times the
# series cannot be distinguished from a slope.
SHORTEST_PERIOD = 8
LONGEST_PERIOD = 1.5
# A series with fewer cycles than these needs a full fit: they are not orthogonal to the level and its changes.
_FEW_CYCLES = 3


def best_cycle(series: Series, known: Fit, worth_it: float) -> tuple[float, Fit | None]:
    """Find the cycle that, beside the known components, makes the series likeliest.

    The highest peak of the periodogram is the first guess. It is computed twice: of the innovations under the noise
    model of *known*, and under white noise, because a noise model that had to explain a cycle hides it from its own
    innovations.

    Args:
        series: Timings of n runs.
        known: The likeliest fit of the known components.
        worth_it: A peak is refined where it reaches this much, in twice the log-likelihood.

    Returns:
        Twice the log-likelihood that is reached, and the fit; None where no peak is worth it.
    """
    components = known.design.components
    guesses = [known] if known.design.noise == WHITE else [known, series.fit(components, WHITE)]
    (reached, frequency), guess = max(((_highest_peak(series, one), one) for one in guesses), key=itemgetter(0))
    if reached <= worth_it:
        return reached, None
    frequency = climb(series, guess, frequency)
    fits = (series.fit((*components, *cycle(frequency)), one) for one in neighbours(guess.design.noise))
    best = max(fits, key=attrgetter("likelihood"))
    return max(reached, best.likelihood), best


def _highest_peak(series: Series, guess: Fit) -> tuple[float, float]:
    """Return twice the log-likelihood at the highest peak, and its frequency."""
    n = guess.design.n
    innovations = guess.innovations()
    # Sums of two runs halve the work; sums and differences of what is equally far from the middle halve it again.
    pairs = list(map(add, innovations[::2], [*innovations[1::2], 0.0]))
    half = len(pairs) // 2
    after, before = pairs[half:], pairs[-1 - half :: -1]
    even, odd = list(map(add, after, before)), list(map(sub, after, before))
    frequencies, waves = _grid(n)
    reached = [(_reached(series, guess, frequency), frequency) for frequency in frequencies]
    for frequency, cosine, sine in waves:
        squares = guess.squares - dot(even, cosine) ** 2 - dot(odd, sine) ** 2
        reached.append((log_likelihood(squares, n, guess.design.noise), frequency))
    return max(reached)


@lru_cache(maxsize=16)
def _grid(n: int) -> tuple[list[float], list[tuple[float, list[float], list[float]]]]:
    """Return the frequencies that need a full fit, and the others with their waves in pairs of runs, from the middle.

    The length of the waves compensates for the sums of two runs, which weaken a cycle.
    """
    lowest, highest = math.tau / (LONGEST_PERIOD * n), math.tau / SHORTEST_PERIOD
    count = max(2, math.ceil((highest - lowest) * n / math.pi))
    width = (highest - lowest) / (count - 1)
    frequencies = [lowest + width * place for place in range(count)]
    few = sum(frequency * n < _FEW_CYCLES * math.tau for frequency in frequencies)
    pairs = (n + 1) // 2
    waves = []
    for frequency in frequencies[few:]:
        length = math.sqrt(2 / n) / math.cos(frequency / 2)
        angles = [frequency * (2 * place + 1 - pairs) for place in range(pairs // 2, pairs)]
        cosine, sine = ([length * wave(angle) for angle in angles] for wave in (math.cos, math.sin))
        # The pair in the middle is added to itself.
        cosine[0] /= 1 + pairs % 2
        waves.append((frequency, cosine, sine))
    return frequencies[:few], waves


def _reached(series: Series, guess: Fit, frequency: float) -> float:
    return series.fit((*guess.design.components, *cycle(frequency)), guess.design.noise).likelihood


def climb(series: Series, guess: Fit, frequency: float) -> float:
    """Return the frequency of the peak near *frequency*: the vertex of a parabola through three points."""
    n = guess.design.n
    step = math.pi / 2 / n
    left, middle, right = (_reached(series, guess, frequency + place * step) for place in (-1, 0, 1))
    curvature = left - 2 * middle + right
    moved = (left - right) / curvature / 2 if curvature < 0 else math.copysign(1, right - left)
    return max(math.tau / (LONGEST_PERIOD * n), frequency + step * min(1.0, max(-1.0, moved)))
