"""The columns of the group's table: one row each, which the page and the dictionary read too."""

from __future__ import annotations

from dmri7t.reports.group.records import Column
from dmri7t.signal.orders import ORDERS


def _by_order(name: str, text: str, title: str) -> list[Column]:
    return [
        Column(f"{name}_r{order}", text.format(order=order), "", title.format(order=order), True)
        for order in ORDERS
    ]


COLUMNS = (
    Column("bids_name", "Name of the scan that came in, without its ending."),
    Column("participant_id", "Participant."),
    Column("session_id", "Session; n/a where there is none."),
    Column("protocol", "Voxels, b-values and directions of the scan; like is compared with like."),
    Column("n_b0", "Volumes that count as b0."),
    Column("n_directions", "Fewest directions of a shell that went through the model."),
    Column("n_translated", "Shells that went through the model."),
    Column("n_interpolated", "Shells that were interpolated only."),
    Column("voxel_size_in", "Voxel size of the input: cube root of the volume.", "mm"),
    Column("voxel_size_out", "Voxel size of the output: cube root of the volume.", "mm"),
    Column(
        "snr",
        "Signal-to-noise ratio of the b0, by the residuals of the fit; lowest of the shells.",
        "",
        "Signal-to-noise of the b0",
    ),
    Column(
        "error",
        "Error of the signal along directions that were left out, over that of interpolation: 1 is "
        "no gain; highest of the shells, n/a where it could not be measured.",
        "",
        "Signal error over interpolation's",
    ),
    Column(
        "error_filter",
        "The same of the filter taken whole, without the model.",
    ),
    Column(
        "nmse",
        "Output, back on the input's grid, against the input: sum of squared differences over sum "
        "of squares, all volumes.",
        "",
        "NMSE to the input",
        True,
    ),
    Column(
        "nmse_b0",
        "Output, back on the input's grid, against the input, the b0 volumes only.",
        "",
        "NMSE to the input, b0",
        True,
    ),
    *_by_order(
        "difference",
        "Energy of output minus input in order {order}, on the input's grid, over that of the "
        "input; highest of the shells.",
        "",
    ),
    *_by_order(
        "beyond",
        "Fraction of brain voxels where order {order} departs from the input by more than the "
        "scan's noise explains; highest of the shells.",
        "Departure of R{order} beyond noise, part of the brain",
    ),
    *_by_order(
        "bounded",
        "Fraction of brain voxels where the ratio of generated to measured RISH of order {order} "
        "met a bound; highest of the shells.",
        "Ratio of R{order} held by a bound, part of the brain",
    ),
    Column(
        "novelty",
        "Distance from the training data over the threshold; highest of the shells, n/a where the "
        "model has nothing to compare with.",
        "",
        "Distance from the training data over the threshold",
        True,
    ),
    Column("novelty_ml", "Volume above that threshold; highest of the shells.", "mL"),
    Column(
        "compared", "Whether the model could compare all translated shells with its training data."
    ),
    Column("flagged", "Whether anything about the scan is unlike what the model was trained on."),
    Column("mask_volume", "Volume of the brain mask.", "mL", "Brain mask, ml"),
    Column("input_nonfinite", "Values of the input that were not finite and were set to zero."),
    Column("input_negative", "Values of the input that were negative and were set to zero."),
    Column(
        "output_outside",
        "Values of the output that no water diffuses to (above the b0, below what free water "
        "leaves of it, or negative) and were set to the nearest that it does.",
    ),
    Column(
        "fa_median",
        "Median fractional anisotropy of the output in its brain mask.",
        "",
        "FA of the output, median",
    ),
    Column(
        "fa_iqr",
        "Interquartile range of fractional anisotropy of the output in its brain mask.",
        "",
        "FA of the output, interquartile range",
    ),
    Column(
        "md_median",
        "Median mean diffusivity of the output in its brain mask.",
        "mm^2/s",
        "MD of the output, median, 10⁻³ mm²/s",
        factor=1e3,
    ),
    Column(
        "md_iqr",
        "Interquartile range of mean diffusivity of the output in its brain mask.",
        "mm^2/s",
        "MD of the output, interquartile range, 10⁻³ mm²/s",
        factor=1e3,
    ),
    *(
        Column(
            f"{name}_median_native",
            f"Median {words} of the input in its own brain mask, as it was measured: noise raises "
            "that of FA.",
            units,
        )
        for name, words, units in (
            ("fa", "fractional anisotropy", ""),
            ("md", "mean diffusivity", "mm^2/s"),
        )
    ),
    Column("software_version", "Version of dmri7t that made the result."),
    Column("model_name", "Name of the model."),
    Column("model_version", "Version of the model."),
    Column("model_sha256", "Checksum of the model."),
    Column("settings_sha256", "Checksum of all settings that decided the result."),
)
"""Columns of the group's table, in order."""
