"""Where the folders lie that runner brings along: recipes and migrations."""

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def bundled(folder: str) -> Path:
    """Find a folder that an installed wheel keeps inside the package and a checkout keeps beside it.

    Args:
        folder: Its name, ``data`` or ``migrations``.

    Returns:
        Its path; not checked to exist in a checkout.
    """
    installed = _PACKAGE / folder
    return installed if installed.is_dir() else _PACKAGE.parent / folder
