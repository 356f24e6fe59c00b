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
        "method": method_words,
        "sentence": sentence,
    }
    folder = resources.files("dmri7t.reports")
    template = environment.from_string(folder.joinpath(name).read_text("utf-8"))
    return template.render(style=Markup(folder.joinpath("page.css").read_text("utf-8")), **values)


def sentence(text: str) -> str:
    """Begin with a capital letter, unless it is a shell's name or a symbol.

    Examples
    --------
    >>> sentence("a part of it."), sentence("b1000: 2 ml of it."), sentence("b-value 500 is low.")
    ('A part of it.', 'b1000: 2 ml of it.', 'b-value 500 is low.')
    """
    symbol = text[:1] == "b" and not text[1:2].isalpha()
    return text if symbol else f"{text[:1].upper()}{text[1:]}"


def plain_number(value: float) -> str:
    """Three digits, without an exponent.

    Examples
    --------
    >>> plain_number(3040.085), plain_number(1.018)
    ('3040', '1.02')
    """
    return f"{float(f'{value:.3g}'):g}"


def percent(fraction: float) -> str:
    """Two digits at most, and none of what is nearly nothing.

    Examples
    --------
    >>> percent(0.123), percent(0.004), percent(0.998), percent(0.00004), percent(0)
    ('12 %', '0.4 %', '100 %', '< 0.1 %', '0 %')
    """
    if 0 < fraction < 0.001:
        return "< 0.1 %"
    return f"{100 * fraction:.2g} %" if fraction < 0.995 else "100 %"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}g}"


def _nmse(value: float) -> str:
    """Four decimals; of what is above one, three digits, as more would say nothing."""
    return f"{value:.4f}" if abs(value) < 1 else plain_number(value)


METHODS = {
    "interpolation": "interpolation",
    "interpolation, plain": "interpolation, noise not taken off RISH",
    "mppca": "MP-PCA, then interpolation",
    "filter": "the filter alone",
    "linear": "linear scaling",
    "cnn": "a network that sees RISH alone (CNN)",
    "gan": "the same against a discriminator (GAN)",
    "model": "this model",
}
"""What rows of a model's own record are."""


def method_words(row: str, model: str) -> str:
    """What a row of a model's own record is.

    Parameters
    ----------
    row : str
        As the evaluation names it: a method, or the model's name and how it was used.
    model : str
        The model's name.

    Examples
    --------
    >>> method_words("mppca", "default"), method_words("default, held", "default")
    ('MP-PCA, then interpolation', 'this model, held')
    """
    name, comma, how = row.partition(", ")
    return f"this model{comma}{how}" if name == model else METHODS.get(row, row)


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 120 else f"{int(value // 60)} min {int(value % 60):02d} s"
