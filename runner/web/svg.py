"""Plots as SVG: elements, scales and the reduction of long series."""

from collections.abc import Iterable

from markupsafe import Markup, escape


def element(tag: str, *children: str, **attributes: object) -> Markup:
    """Return an element; text and attributes are escaped, attributes that are None are left out.

    A trailing underscore is removed from the name of an attribute, and others become hyphens, as in ``class_`` and
    ``text_anchor``. Numbers are written with one decimal at most.
    """
    given = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _text(value))
        for name, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(map(escape, children))
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(tag), given, inner) if inner else Markup(f"<{tag}{given}/>")  # noqa: S704  both escaped


def picture(width: float, height: float, label: str, children: Iterable[str], **attributes: object) -> Markup:
    """Return an SVG image that is described by a label."""
    box = f"0 0 {_text(width)} {_text(height)}"
    return element(
        "svg", *children, viewBox=box, width=width, height=height, role="img", aria_label=label, **attributes
    )


def _text(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
