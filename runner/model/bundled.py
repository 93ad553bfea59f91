"""The directories that runner contains: recipes and migrations."""

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def bundled(name: str) -> Path:
    """Find ``data`` or ``migrations``, which are inside the package in a wheel, and beside it in a checkout."""
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parent / name
