"""How far an image lies from its reference."""

from __future__ import annotations

import torch


def nmse(
    estimate: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None = None
) -> float:
    """Normalized mean squared error: sum (e - r)^2 / sum r^2.

    Parameters
    ----------
    estimate, reference : Tensor
        Of one shape.
    mask : Tensor of bool, optional
        Voxels that count.

    Examples
    --------
    >>> nmse(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0]))
    0.2
    """
    if mask is not None:
        estimate, reference = estimate[mask], reference[mask]
    error = (estimate.double() - reference.double()).square().sum()
    return float(error / reference.double().square().sum())


def ssim(
    estimate: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None = None
) -> float:
    """Structural similarity (Wang et al. 2004, IEEE TIP 13:600), Gaussian windows of 11 voxels.

    The mean over the mask of MONAI's map; the data range is the reference's within the mask.

    Parameters
    ----------
    estimate, reference : Tensor (X, Y, Z)
        Eleven voxels wide at least.
    mask : Tensor of bool (X, Y, Z), optional

    Raises
    ------
    ValueError
        If an edge is shorter than the window.
    """
    from monai.metrics.regression import compute_ssim_and_cs

    if min(reference.shape) < 11:
        raise ValueError(f"SSIM needs 11 voxels an edge; the image is {tuple(reference.shape)}")
    inside = torch.ones_like(reference, dtype=torch.bool) if mask is None else mask
    values = reference[inside]
    span = float(values.max() - values.min())
    full, _ = compute_ssim_and_cs(
        estimate[None, None].float(),
        reference[None, None].float(),
        spatial_dims=3,
        kernel_size=(11, 11, 11),
        kernel_sigma=(1.5, 1.5, 1.5),
        data_range=max(span, 1e-12),
    )
    # windows that do not fit leave a border of five voxels without a value
    return float(full[0, 0][inside[5:-5, 5:-5, 5:-5]].mean())
