"""Search for regular cycles in a series of timings, such as the daily one, so that they are not taken for steps."""

import math
from operator import attrgetter

from runner.trends.components import cycle, sample
from runner.trends.noise import WHITE, dot, log_likelihood, neighbours
from runner.trends.regression import Fit, Series

# Shorter cycles average out within a few runs and cannot be taken for steps. Longer ones than this many times the
# series cannot be told from a slope.
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
    reached, best = -math.inf, None
    for guess in [known] if known.design.noise == WHITE else [known, series.fit(components, WHITE)]:
        rough, frequency, width = _highest_peak(series, guess)
        reached = max(reached, rough)
        if rough > worth_it:
            frequency = _climb(series, guess, frequency, width)
            fits = (series.fit((*components, *cycle(frequency)), one) for one in neighbours(guess.design.noise))
            best = max((*fits, *([best] if best else [])), key=attrgetter("likelihood"))
            reached = max(reached, best.likelihood)
    return reached, best


def _highest_peak(series: Series, guess: Fit) -> tuple[float, float, float]:
    """Return twice the log-likelihood at the highest peak, its frequency, and the distance between frequencies."""
    n = guess.design.n
    lowest, highest = math.tau / (LONGEST_PERIOD * n), math.tau / SHORTEST_PERIOD
    count = max(2, math.ceil((highest - lowest) * n / math.pi))
    width = (highest - lowest) / (count - 1)
    innovations = guess.innovations()

    def reached(frequency: float) -> float:
        if frequency * n < _FEW_CYCLES * math.tau:
            return _reached(series, guess, frequency)
        cosine, sine = (dot(innovations, sample(one, n)) for one in cycle(frequency))
        squares = guess.squares - 2 / n * (cosine * cosine + sine * sine)
        return log_likelihood(squares, n, guess.design.noise)

    return (*max((reached(lowest + width * place), lowest + width * place) for place in range(count)), width)


def _reached(series: Series, guess: Fit, frequency: float) -> float:
    return series.fit((*guess.design.components, *cycle(frequency)), guess.design.noise).likelihood


def _climb(series: Series, guess: Fit, frequency: float, width: float) -> float:
    """Return the frequency of the peak near *frequency*, by bisection."""
    lowest = math.tau / (LONGEST_PERIOD * guess.design.n)
    best = (_reached(series, guess, frequency), frequency)
    for _ in range(4):
        width /= 2
        sides = (side for side in (best[1] - width, best[1] + width) if side >= lowest)
        best = max(best, *((_reached(series, guess, side), side) for side in sides))
    return best[1]
