"""A simulated head: where its tissues lie, and how water moves in them."""

from __future__ import annotations

import attrs
import numpy as np

from dmri7t.simulation.anatomy import Phantom
from dmri7t.simulation.microstructure import Microstructure


@attrs.frozen(eq=False)
class Head:
    """One person, who may be scanned by several scanners.

    Parameters
    ----------
    phantom : Phantom
    microstructure : Microstructure
    """

    phantom: Phantom
    microstructure: Microstructure

    @classmethod
    def draw(cls, rng: np.random.Generator, scale: float = 1.0) -> Head:
        """Draw a head; ``scale`` shrinks or enlarges it."""
        return cls(Phantom.draw(rng, scale), Microstructure.draw(rng))
