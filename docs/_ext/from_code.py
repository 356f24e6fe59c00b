"""Directives whose content is read from the code, so that the pages cannot fall behind it.

``command-options``
    Arguments of a command, from its parser.
``outputs-table``
    What is written for a scan, from the table that names the files.
``input-kinds``
    What may come in, from the kinds of input.
``shipped-models``
    Models in the zoo, from their config.json.
``measurements``
    Tables (.tsv) of a folder, if there are any yet.
``api-modules``
    Public names of every module of a package, from their docstrings.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from dmri7t.models.config import ModelConfig
from dmri7t.models.fitted import Metrics, Spread


def _code(text: str) -> str:
    return f"``{text}``"


def _plain(text: str) -> str:
    """Escape what reStructuredText would take for markup."""
    for sign in ("\\", "*", "`", "|", "_"):
        text = text.replace(sign, "\\" + sign)
    return text


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a list-table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [list(header), *rows]:
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)]
    return [*lines, ""]


class _FromText(SphinxDirective):
    """A directive that writes reStructuredText."""

    def text(self) -> Iterator[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(self.text()), allow_section_headings=True)


class CommandOptions(_FromText):
    """``.. command-options:: module function`` or ``module function verb``."""

    required_arguments = 2
    optional_arguments = 1

    def text(self) -> Iterator[str]:
        module, function, *verb = self.arguments
        parser = getattr(importlib.import_module(module), function)()
        if verb:
            (choices,) = (
                action.choices
                for action in parser._actions
                if isinstance(action, argparse._SubParsersAction)
            )
            parser = choices[verb[0]]
        own_titles = {"positional arguments": "What is given in this order", "options": "Options"}
        for group in parser._action_groups:
            actions = [a for a in group._group_actions if a.help != argparse.SUPPRESS]
            actions = [a for a in actions if not isinstance(a, argparse._HelpAction)]
            if not actions:
                continue
            title = own_titles.get(group.title, group.title)
            yield from (f"**{title[0].upper() + title[1:]}**", "")
            for action in actions:
                yield from self._entry(parser, action)

    def _entry(self, parser: argparse.ArgumentParser, action: argparse.Action) -> Iterator[str]:
        formatter = parser._get_formatter()
        if action.option_strings:
            value = formatter._format_args(action, action.dest.upper()) if action.nargs != 0 else ""
            names = [f"{name} {value}".strip() for name in action.option_strings]
        else:
            names = [formatter._format_args(action, action.dest)]
        yield ", ".join(_code(name) for name in names)
        words = formatter._expand_help(action).strip() if action.help else ""
        if "default" not in words and self._has_default(action):
            words = f"{words} (default: {self._default(action)})".strip()
        yield from (f"    {_plain(words) or 'no more to say'}", "")

    @staticmethod
    def _has_default(action: argparse.Action) -> bool:
        return bool(action.option_strings) and action.default not in (
            None,
            False,
            [],
            argparse.SUPPRESS,
        )

    @staticmethod
    def _default(action: argparse.Action) -> str:
        values = action.default if isinstance(action.default, list | tuple) else [action.default]
        return " ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)


def outputs_rows(named_by_qsiprep: bool = False) -> list[list[str]]:
    """Ending, meaning and unit of every result, or of those that QSIPrep's layout names."""
    from dmri7t.io.derivatives import OUTPUTS, outputs_of

    if named_by_qsiprep:
        return [[o.qsiprep, o.text, o.units] for o in OUTPUTS.values() if o.qsiprep]
    return [[o.suffix, o.text, o.units] for o in outputs_of("bids").values()]


class OutputsTable(_FromText):
    """Files of one scan; with the argument ``qsiprep`` those that QSIPrep's layout names."""

    optional_arguments = 1

    def text(self) -> Iterator[str]:
        rows = outputs_rows(self.arguments == ["qsiprep"])
        cells = ([_code(ending), _plain(text), _plain(unit)] for ending, text, unit in rows)
        yield from table(["after the source's entities", "what it is", "unit"], cells)


class InputKinds(_FromText):
    """What every kind of input says of itself, the most special first."""

    def text(self) -> Iterator[str]:
        from dmri7t.io.kinds.registry import KINDS

        for kind in reversed(KINDS.values()):
            yield from (*kind.usage.splitlines(), "")


class EvaluationRows(_FromText):
    """Rows of the tables of evaluation."""

    def text(self) -> Iterator[str]:
        from dmri7t.evaluation.methods import described_rows

        rows = ([_code(name), meaning] for name, meaning in described_rows())
        yield from table(["row", "what it is"], rows)


class ShippedModels(_FromText):
    """A part for every model in the zoo."""

    def text(self) -> Iterator[str]:
        from dmri7t.models.bundle import ZOO
        from dmri7t.models.config import CONFIG, read_config

        configs = sorted(ZOO.glob(f"*/{CONFIG}"))
        if not configs:
            yield "This copy of the package carries no model: train one, see :doc:`training`."
        for path in configs:
            self.env.note_dependency(str(path))
            yield from self._model(read_config(path.parent))

    def _model(self, config: ModelConfig) -> Iterator[str]:
        yield from (f"**{config.name} {config.version}**", "")
        yield from (_plain(config.description), "")
        source = _plain(config.training.source)
        yield from (f"Trained on {source}. Ranges of the training data:", "")
        rows = ([_code(k), *(f"{v:g}" for v in pair)] for k, pair in config.ranges.items())
        yield from table(["quantity", "from", "to"], rows)
        if config.sampler:
            sampler = ", ".join(f"{k} {v}" for k, v in attrs.asdict(config.sampler).items())
            yield from (f"Sampler: {_plain(sampler)}.", "")
        if config.metrics:
            yield from self._metrics(config.metrics)

    @staticmethod
    def _metrics(metrics: Metrics) -> Iterator[str]:
        yield (
            f"NMSE, mean ± standard deviation over {metrics.subjects} simulated test subjects "
            f"that took no part in training, by ``{metrics.command}``:"
        )
        yield ""
        maps = list(next(iter(metrics.nmse.values())))
        rows = (
            [_code(method), *(_cell(values[name]) for name in maps)]
            for method, values in metrics.nmse.items()
        )
        yield from table(["method", *maps], rows)


def _cell(value: Spread) -> str:
    return f"{value.mean:.4f}" if value.sd is None else f"{value.mean:.4f} ± {value.sd:.4f}"


class Measurements(_FromText):
    """``.. measurements:: folder``: every .tsv there as a table.

    Lines at the head of a file that begin with # are printed above it.
    """

    required_arguments = 1

    def text(self) -> Iterator[str]:
        folder = Path(self.env.srcdir) / self.arguments[0]
        files = sorted(folder.glob("*.tsv"))
        if not files:
            yield "No measurement is stored in this copy of the documentation."
        for path in files:
            self.env.note_dependency(str(path))
            lines = path.read_text().splitlines()
            notes = [line.lstrip("# ") for line in lines if line.startswith("#")]
            rows = list(csv.reader((x for x in lines if not x.startswith("#")), delimiter="\t"))
            yield from (f"**{_plain(path.stem.replace('_', ' '))}**", "")
            yield from (_plain(" ".join(notes)), "")
            yield from table(map(_plain, rows[0]), ([_plain(c) for c in row] for row in rows[1:]))


class ApiModules(_FromText):
    """``.. api-modules:: package``: every module in it, as autodoc reads it."""

    required_arguments = 1

    def text(self) -> Iterator[str]:
        package = importlib.import_module(self.arguments[0])
        found = list(pkgutil.walk_packages(package.__path__, f"{package.__name__}."))
        folders = {package.__name__, *(m.name for m in found if m.ispkg)}
        for name in [package.__name__, *sorted(m.name for m in found)]:
            # a package's own names are those of its modules, which follow
            members = [] if name in folders else ["", "   :members:"]
            yield from (name, "-" * len(name), "", f".. automodule:: {name}", *members[1:], "")


def setup(app: Any) -> dict[str, Any]:
    """Sphinx's hook."""
    for name, directive in (
        ("command-options", CommandOptions),
        ("outputs-table", OutputsTable),
        ("evaluation-rows", EvaluationRows),
        ("input-kinds", InputKinds),
        ("shipped-models", ShippedModels),
        ("measurements", Measurements),
        ("api-modules", ApiModules),
    ):
        app.add_directive(name, directive)
    return {"parallel_read_safe": True}
