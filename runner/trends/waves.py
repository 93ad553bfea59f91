"""Regular cycles in a series of timings, such as the day's, so that they do not pass for steps."""

import cmath
import math
from collections.abc import Sequence

from runner.trends.noise import MODELS, Noise, fit

# Shorter cycles average out within a few runs and can't be taken for steps.
SHORTEST_PERIOD = 8


def best_wave(values: Sequence[float], shapes: Sequence[Sequence[float]], noise: Noise) -> tuple[float, float]:
    """Find the sine wave that, beside *shapes*, makes the series likeliest.

    The peak of the spectrum says where to look: of the innovations of the noise that suits the series best without the
    wave, and of the plain residuals, because noise that had to stand in for a wave hides it from its own innovations.

    Args:
        values: Numbers in run order; shape (n,).
        shapes: What explains them so far, each of shape (n,).
        noise: The noise that makes *values* likeliest given *shapes*.

    Returns:
        The wave's angle from run to run, radians, and twice the log-likelihood reached with it.
    """
    n = len(values)
    # At least twice as many points as runs: the nearest frequency is then off by an eighth of a wave at the ends.
    size = 1 << (2 * n - 1).bit_length()
    peaks = []
    for guess in (noise, MODELS[0]):
        spectrum = _fourier([*map(complex, fit(values, shapes, guess).residuals), *[0j] * (size - n)])
        turn = math.tau / size * max(range(1, size // SHORTEST_PERIOD + 1), key=lambda k: abs(spectrum[k]))
        peaks.append(_climb(values, shapes, turn, math.tau / size, guess))
    turn = max(peaks)[1]
    around = [*shapes, *wave_shapes(n, turn)]
    return turn, max(fit(values, around, one).likelihood for one in MODELS)


def wave_shapes(n: int, turn: float) -> list[list[float]]:
    """Give the two shapes whose sums are all waves of one frequency.

    Args:
        n: How many runs.
        turn: Angle from run to run, radians.
    """
    return [[math.cos(turn * place) for place in range(n)], [math.sin(turn * place) for place in range(n)]]


def _climb(
    values: Sequence[float], shapes: Sequence[Sequence[float]], turn: float, width: float, noise: Noise
) -> tuple[float, float]:
    """Move the frequency uphill in ever smaller paces; give the likelihood reached and the frequency."""

    def reached(turn: float) -> float:
        return fit(values, [*shapes, *wave_shapes(len(values), turn)], noise).likelihood

    best = (reached(turn), turn)
    pace = width / 2
    for _ in range(5):
        turn = best[1]
        best = max(best, *((reached(near), near) for near in (turn - pace, turn + pace) if near >= width / 2))
        pace /= 2
    return best


def _fourier(values: Sequence[complex]) -> list[complex]:
    """Transform 2^k values (Cooley & Tukey, Mathematics of Computation 19 (1965) 297)."""
    if len(values) == 1:
        return list(values)
    even, odd = _fourier(values[::2]), _fourier(values[1::2])
    turned = [cmath.rect(1, -math.tau * k / len(values)) * value for k, value in enumerate(odd)]
    return [a + b for a, b in zip(even, turned, strict=True)] + [a - b for a, b in zip(even, turned, strict=True)]
