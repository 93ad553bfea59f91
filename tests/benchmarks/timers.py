"""Series of timings as timers give them: natural logarithms of wall times, 8 % noise of several kinds."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Series = NDArray[np.float64]
Timer = Callable[[Generator, int], Series]

SPREAD = 0.08


def wandering(phi: float) -> Timer:
    """Create AR(1) noise whose standard deviation over all times is 8 %; phi = 0 is independent noise."""

    def series(generator: Generator, n: int) -> Series:
        values = generator.normal(0, SPREAD, n)
        values[1:] *= (1 - phi**2) ** 0.5
        for place in range(1, n):
            values[place] += phi * values[place - 1]
        return values

    return series


def with_spikes(generator: Generator, n: int) -> Series:
    """Create independent noise in which three runs of a hundred take 1.5 to 5 times as long."""
    spiked = generator.random(n) < 0.03
    return wandering(0)(generator, n) + spiked * np.log(generator.uniform(1.5, 5, n))


def with_cycle(period: int) -> Timer:
    """Create independent noise on a sine wave of ±10 % that starts anywhere and comes back after *period* runs."""

    def series(generator: Generator, n: int) -> Series:
        start = generator.uniform(0, 2 * np.pi)
        wave = np.sin(2 * np.pi * np.arange(n) / period + start)
        return wandering(0)(generator, n) + np.log1p(0.1 * wave)

    return series


def skewed(generator: Generator, n: int) -> Series:
    """Create independent noise with a sharp lower edge and a long tail of slow runs."""
    return generator.exponential(SPREAD, n)


def heavy_tailed(generator: Generator, n: int) -> Series:
    """Create independent noise of Student's distribution with three degrees of freedom."""
    return generator.standard_t(3, n) * SPREAD / 3**0.5


TIMERS: dict[str, Timer] = {
    "independent": wandering(0),
    "AR(1) 0.6": wandering(0.6),
    "AR(1) 0.9": wandering(0.9),
    "rare spikes": with_spikes,
    "cycle of 24 runs": with_cycle(24),
    "cycle of 96 runs": with_cycle(96),
    "cycle of 288 runs": with_cycle(288),
    "skewed": skewed,
    "heavy-tailed": heavy_tailed,
}
