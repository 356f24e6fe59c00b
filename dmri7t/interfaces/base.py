"""What all stages share: content hashes that are taken once, the version, threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, isdefined, traits

from dmri7t import __version__
from dmri7t.errors import InputError
from dmri7t.files import content_hash


class StageInputSpec(BaseInterfaceInputSpec):
    """Inputs that every stage has."""

    code_version = traits.Str(
        __version__, usedefault=True, desc="version of dmri7t: another one computes anew"
    )
    num_threads = traits.Int(
        1, usedefault=True, nohash=True, desc="threads, set from the node's n_procs"
    )

    def _get_sorteddict(
        self,
        objekt: Any,
        dictwithhash: bool = False,
        hash_method: str | None = None,
        hash_files: bool = True,
    ) -> Any:
        """Hash a file by its content, once: nipype reads every file twice, through MD5."""
        is_file = hash_files and isinstance(objekt, str) and os.path.isfile(objekt)
        if is_file and (hash_method or "content") == "content":
            digest = content_hash(objekt)
            return (objekt, digest) if dictwithhash else digest
        return super()._get_sorteddict(objekt, dictwithhash, hash_method, hash_files)


class StageInterface(SimpleInterface):
    """An interface that loads, calls one function, and saves into its working folder."""

    def _pin_threads(self) -> None:
        """Hold torch to the node's allowance, wherever the node runs."""
        import torch

        torch.set_num_threads(self.inputs.num_threads)


@contextmanager
def named_as(path: str, name: str) -> Iterator[None]:
    """Let errors name a file as the user knows it, where another node made a copy of it.

    Examples
    --------
    >>> with named_as("/scratch/assemble/dwi.nii", "/data/sub-01_dwi.nii.gz"):
    ...     raise InputError("/scratch/assemble/dwi.nii: no brain")
    Traceback (most recent call last):
    ...
    dmri7t.errors.InputError: /data/sub-01_dwi.nii.gz: no brain
    """
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(path, name)) from error


def optional(value: Any, default: Any = None) -> Any:
    """Value of a trait, or the default where it is not defined."""
    return value if isdefined(value) else default
