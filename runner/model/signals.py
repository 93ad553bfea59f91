"""Names of signals."""

import signal


def signal_name(number: int) -> str:
    """Name a signal, ``SIGKILL``; most real-time signals have only numbers."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
