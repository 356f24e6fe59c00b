"""The templates of the pages, and how numbers are written in them."""

from __future__ import annotations

from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup


def render_template(name: str, **values: Any) -> str:
    """HTML of one of the templates beside this file, in the style that all pages share."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": _number,
        "percent": percent,
        "seconds": _seconds,
        "nmse": _nmse,
    }
    folder = resources.files("dmri7t.reports")
    template = environment.from_string(folder.joinpath(name).read_text("utf-8"))
    return template.render(style=Markup(folder.joinpath("page.css").read_text("utf-8")), **values)


def plain_number(value: float) -> str:
    """Three digits, without an exponent.

    Examples
    --------
    >>> plain_number(3040.085), plain_number(1.018)
    ('3040', '1.02')
    """
    return f"{float(f'{value:.3g}'):g}"


def percent(fraction: float) -> str:
    """Two digits at most.

    Examples
    --------
    >>> percent(0.123), percent(0.004), percent(0.998)
    ('12 %', '0.4 %', '100 %')
    """
    return f"{100 * fraction:.2g} %" if fraction < 0.995 else "100 %"


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}g}"


def _nmse(value: float) -> str:
    """Four decimals; fewer where the value is large, as they would say nothing."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.0f}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 120 else f"{int(value // 60)} min {int(value % 60):02d} s"
