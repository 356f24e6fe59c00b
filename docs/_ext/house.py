"""The picture of the house: which package imports which, drawn from the code.

``house-picture``
    An SVG; packages stand above those that they import. An arrow that follows from others is
    left out.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]

WIDTH, HEIGHT, ACROSS, DOWN = 118, 40, 150, 92
"""Of a box, and from box to box, pixels."""


def packages() -> dict[str, Path]:
    """Folders of the packages by name."""
    found = {path.parent.name: path.parent for path in ROOT.glob("dmri7t/*/__init__.py")}
    return {**found, "niflow": ROOT / "workflows" / "niflow" / "dmri7t"}


def imported(folder: Path, names_of_ours: set[str]) -> set[str]:
    """Packages of ours that a package imports, in functions too."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names]
    ours = {p[0] if p[0] == "niflow" else p[1] for p in parts if p[0] in ("dmri7t", "niflow")}
    return ours & names_of_ours - {folder.name if folder.parent.name != "niflow" else "niflow"}


def reduce(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out arrows to what is reached over others."""

    def reached(name: str) -> set[str]:
        return edges[name].union(*(reached(other) for other in edges[name]))

    return {
        name: {o for o in others if all(o not in reached(p) for p in others - {o})}
        for name, others in edges.items()
    }


def routes_of(edges: dict[str, set[str]]) -> list[list[tuple[str, int]]]:
    """Every arrow as the points that it passes, (name, row): one in each row on its way."""

    def depth(name: str) -> int:
        return max((depth(by) + 1 for by in edges if name in edges[by]), default=0)

    routes = []
    for name in edges:
        for other in sorted(edges[name]):
            first, last = depth(name), depth(other)
            between = [(f"{name}-{other}", row) for row in range(first + 1, last)]
            routes.append([(name, first), *between, (other, last)])
    return routes


def positions_of(routes: list[list[tuple[str, int]]]) -> dict[tuple[str, int], float]:
    """Where everything stands in its row, in boxes from the middle.

    Each stands below the middle of what leads to it, so that few arrows cross.
    """
    positions: dict[tuple[str, int], float] = {}
    for level in range(max(row for route in routes for _, row in route) + 1):
        row = sorted({at for route in routes for at in route if at[1] == level})
        above = {
            at: [positions[route[route.index(at) - 1]] for route in routes if at in route[1:]]
            for at in row
        }
        row.sort(key=lambda at: sum(above[at]) / max(len(above[at]), 1))
        positions |= {at: i - (len(row) - 1) / 2 for i, at in enumerate(row)}
    return positions


def draw(edges: dict[str, set[str]]) -> str:
    """SVG of packages, those that others rest on below."""
    routes = routes_of(reduce(edges))
    positions = positions_of(routes)
    wide = 2 * max(map(abs, positions.values())) + 1
    width, height = wide * ACROSS, (max(row for _, row in positions) + 1) * DOWN
    xy = {at: ((wide / 2 + x) * ACROSS, (at[1] + 0.5) * DOWN) for at, x in positions.items()}
    lines = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Packages and their imports" '
        f'style="max-width:{width}px;width:100%" xmlns="http://www.w3.org/2000/svg">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#6b7a89"/></marker></defs>',
    ]
    for route in routes:
        (x, y), *between, (x2, y2) = (xy[at] for at in route)
        points = [(x, y + HEIGHT / 2), *between, (x2, y2 - HEIGHT / 2 - 2)]
        way = " ".join(f"{px},{py}" for px, py in points)
        lines.append(
            f'<polyline points="{way}" stroke="#6b7a89" stroke-width="1.4" fill="none" '
            'marker-end="url(#tip)"/>'
        )
    for (name, _), (x, y) in xy.items():
        if name in edges:
            lines.append(
                f'<rect x="{x - WIDTH / 2}" y="{y - HEIGHT / 2}" width="{WIDTH}" '
                f'height="{HEIGHT}" rx="7" fill="#eef5fa" stroke="#0b5f8a"/>'
                f'<text x="{x}" y="{y + 5}" text-anchor="middle" font-family="sans-serif" '
                f'font-size="15" fill="#10202c">{name}</text>'
            )
    return "\n".join([*lines, "</svg>"])


class HousePicture(SphinxDirective):
    """``.. house-picture::``"""

    def run(self) -> list[nodes.Node]:
        found = packages()
        edges = {name: imported(folder, set(found)) for name, folder in found.items()}
        for folder in found.values():
            for path in folder.rglob("*.py"):
                self.env.note_dependency(str(path))
        return [nodes.raw("", draw(edges), format="html")]


def setup(app: Any) -> dict[str, Any]:
    """Sphinx's hook."""
    app.add_directive("house-picture", HousePicture)
    return {"parallel_read_safe": True}
