"""Files of several branches of a graph as one list."""

from __future__ import annotations

from typing import Any

from nipype.interfaces.base import (
    DynamicTraitedSpec,
    File,
    TraitedSpec,
    isdefined,
    traits,
)

from dmri7t.interfaces.base import StageInputSpec, StageInterface


class CollectInputSpec(DynamicTraitedSpec, StageInputSpec):
    """Inputs of :class:`Collect`; ``in1``, ``in2`` and so on are added to it."""


class CollectOutputSpec(TraitedSpec):
    """Outputs of :class:`Collect`."""

    out = traits.List(File(exists=True), desc="the files, in order")


class Collect(StageInterface):
    """List files, or lists of files, in the order of the inputs.

    Nipype's Merge does so too, but its inputs are not mandatory, and it hashes slowly.

    Parameters
    ----------
    n_files : int
        How many inputs there are.
    """

    input_spec = CollectInputSpec
    output_spec = CollectOutputSpec

    def __init__(self, n_files: int = 1, **inputs: Any) -> None:
        super().__init__(**inputs)
        self._names = [f"in{number}" for number in range(1, n_files + 1)]
        for name in self._names:
            # a copy of the interface forgets all that an added trait was, so it is any
            self.inputs.add_trait(name, traits.Any())

    def _check_mandatory_inputs(self) -> None:
        """Refuse to run with a file missing."""
        values = {name: getattr(self.inputs, name) for name in self._names}
        missing = [name for name, value in values.items() if not isdefined(value) or not value]
        if missing:
            raise ValueError(f"Collect requires a value for {', '.join(missing)}")
        super()._check_mandatory_inputs()

    def _run_interface(self, runtime: Any) -> Any:
        values = [getattr(self.inputs, name) for name in self._names]
        lists = [value if isinstance(value, list) else [value] for value in values]
        self._results["out"] = [file for files in lists for file in files]
        return runtime
