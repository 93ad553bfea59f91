"""The version of runner."""

from importlib import metadata


def version() -> str:
    """Return the installed version."""
    return metadata.version("runner")
