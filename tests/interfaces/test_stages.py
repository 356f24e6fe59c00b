"""Every stage by itself, one after another, on a small phantom."""

import json

import nibabel
import numpy as np
import pytest

from dmri7t.interfaces.harmonize import Harmonize
from dmri7t.interfaces.prepare import DefineGrid, PrepareScan
from dmri7t.interfaces.represent import Represent
from dmri7t.interfaces.translate import Decode, Diffuse, Encode, SuperResolve
from dmri7t.interfaces.weigh import FilterShell, Weigh
from dmri7t.interfaces.write import DIGEST, CompressDWI, WriteDWI, WriteMaps, WriteMask
from dmri7t.io.arrays import load_estimate, load_meta, load_tensors, open_array
from dmri7t.io.maps import load_map, load_mask
from dmri7t.models.bundle import model_checksum
from dmri7t.signal.grids import Grid, refine

SHELL = list(range(2, 18))


def run(interface, folder, **inputs):
    folder.mkdir(exist_ok=True)
    return interface(**inputs).run(cwd=folder).outputs


@pytest.fixture(scope="module")
def chain(make_scan, tiny_model, tmp_path_factory):
    """Outputs of all stages."""
    work = tmp_path_factory.mktemp("chain")
    scan = make_scan(work / "in")
    model = {"model": str(tiny_model), "model_sha256": model_checksum(tiny_model)}
    out = {"scan": scan, "work": work}
    prepared = run(
        PrepareScan,
        work / "prepare",
        dwi=str(scan.dwi),
        bval=str(scan.bval),
        bvec=str(scan.bvec),
        b0_threshold=100.0,
    )
    grid = load_mask(prepared.mask)[1]
    fine = refine(grid, 2.1)
    defined = run(
        DefineGrid,
        work / "grid",
        mask=prepared.mask,
        shape=list(fine.shape),
        affine=[float(x) for x in fine.affine.ravel()],
    )
    made = run(
        Represent,
        work / "represent",
        dwi=prepared.dwi,
        gradients=prepared.gradients,
        indices=SHELL,
        bval=1000.0,
        n_b0=2,
        b0=prepared.b0,
        mask=prepared.mask,
    )
    encoded = run(
        Encode, work / "encode", representation=made.representation, mask=prepared.mask, **model
    )
    diffused = run(
        Diffuse,
        work / "diffuse",
        encoded=encoded.encoded,
        sampler_steps=2,
        samples=2,
        random_seed=3,
        **model,
    )
    decoded = run(
        Decode,
        work / "decode",
        encoded=encoded.encoded,
        diffused=diffused.diffused,
        mask=prepared.mask,
        **model,
    )
    measured = {
        "dwi": prepared.dwi,
        "gradients": prepared.gradients,
        "indices": SHELL,
        "bval": 1000.0,
        "n_b0": 2,
        "b0": prepared.b0,
        "mask": prepared.mask,
    }
    asked = run(
        Weigh,
        work / "weigh",
        **measured,
        voxel_out=load_map(defined.mask_out)[1].voxel_sizes.tolist(),
        by_scan=True,
        hold=True,
        energy=0.5,
        ratio_lower=0.25,
        ratio_upper=4.0,
        **model,
    )
    weighed = run(
        FilterShell,
        work / "filter",
        **measured,
        representation=made.representation,
        evidence=asked.evidence,
        by_scan=True,
        hold=True,
        energy=0.5,
        remove_floor=True,
    )
    generated = run(
        SuperResolve,
        work / "super",
        estimate=weighed.estimate,
        encoded=encoded.encoded,
        decoded=decoded.decoded,
        mask=prepared.mask,
        mask_out=defined.mask_out,
        upsampling="model",
        **model,
    )
    harmonized = run(
        Harmonize,
        work / "harmonize",
        dwi=prepared.dwi,
        b0=prepared.b0,
        mask=prepared.mask,
        mask_out=defined.mask_out,
        representations=[made.representation],
        estimates=[weighed.estimate],
        generated=[generated.generated],
        shell_indices=[SHELL],
        b0_indices=[0, 1],
        ratio_lower=0.25,
        ratio_upper=4.0,
    )
    out |= {
        "prepared": prepared,
        "defined": defined,
        "made": made,
        "encoded": encoded,
        "diffused": diffused,
        "decoded": decoded,
        "weighed": weighed,
        "generated": generated,
        "harmonized": harmonized,
    }
    return out


def test_prepare_keeps_the_brain_voxels(chain):
    prepared = chain["prepared"]
    mask, grid = load_mask(prepared.mask)
    image = nibabel.load(chain["scan"].dwi)
    dwi = open_array(prepared.dwi)
    assert dwi.shape == (18, mask.sum()) and dwi.dtype == np.float32
    np.testing.assert_array_equal(dwi, image.get_fdata(dtype=np.float32)[mask].T)
    np.testing.assert_allclose(grid.affine, image.affine)
    b0 = load_map(prepared.b0)[0]
    np.testing.assert_allclose(b0[mask], dwi[:2].mean(0), rtol=1e-5)
    table = np.load(prepared.gradients)
    assert table["directions"].shape == (18, 3)
    checks = json.loads(open(prepared.checks).read())
    assert checks["nonfinite"] == checks["negative"] == 0 and checks["mask_volume_ml"] > 10


def test_prepare_leaves_no_scratch(chain):
    assert not list((chain["work"] / "prepare").glob("scratch*"))


def test_repairs_are_counted(make_scan, tmp_path):
    scan = make_scan(tmp_path / "in")
    image = nibabel.load(scan.dwi)
    data = image.get_fdata(dtype=np.float32)
    data[11, 13, 10, 3] = np.nan
    data[11, 13, 11, 0] = np.inf
    data[12, 13, 10, 5] = -4
    nibabel.save(nibabel.Nifti1Image(data, image.affine), scan.dwi)
    prepared = run(
        PrepareScan,
        tmp_path / "prepare",
        dwi=str(scan.dwi),
        bval=str(scan.bval),
        bvec=str(scan.bvec),
        b0_threshold=100.0,
    )
    checks = json.loads(open(prepared.checks).read())
    assert (checks["nonfinite"], checks["negative"]) == (2, 1)
    dwi = open_array(prepared.dwi)
    assert np.isfinite(dwi).all() and dwi.min() >= 0


def test_given_mask_is_used(make_scan, tmp_path):
    scan = make_scan(tmp_path / "in")
    mask = np.zeros((22, 26, 20), np.uint8)
    mask[8:12, 8:12, 8:12] = 1
    nibabel.save(nibabel.Nifti1Image(mask, nibabel.load(scan.dwi).affine), tmp_path / "m.nii.gz")
    prepared = run(
        PrepareScan,
        tmp_path / "prepare",
        dwi=str(scan.dwi),
        bval=str(scan.bval),
        bvec=str(scan.bvec),
        b0_threshold=100.0,
        mask=str(tmp_path / "m.nii.gz"),
    )
    np.testing.assert_array_equal(load_mask(prepared.mask)[0], mask)


def test_truncated_image_is_named(make_scan, tmp_path):
    from dmri7t.errors import InputError

    scan = make_scan(tmp_path / "in")
    content = scan.dwi.read_bytes()
    scan.dwi.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="sub-01_dwi.nii.gz.*cut short"):
        run(
            PrepareScan,
            tmp_path / "prepare",
            dwi=str(scan.dwi),
            bval=str(scan.bval),
            bvec=str(scan.bvec),
            b0_threshold=100.0,
        )


def test_representation(chain):
    tensors, meta = load_tensors(chain["made"].representation)
    n_voxels = open_array(chain["prepared"].dwi).shape[1]
    assert tensors["sh"].shape == (15, n_voxels) and tensors["rish"].shape == (3, n_voxels)
    assert meta["order"] == 4 and meta["n_directions"] == 16 and 0 < meta["sigma"] < 0.1
    assert load_meta(chain["made"].representation) == meta


def test_generated_rish(chain):
    tensors, meta = load_tensors(chain["generated"].generated)
    n_out = load_mask(chain["defined"].mask_out)[0].sum()
    assert tensors["mean"].shape == tensors["sd"].shape == (3, n_out)
    assert meta["samples"] == 2 and tensors["sd"].max() > 0 and tensors["mean"].min() >= 0


def test_seed_decides_the_samples(chain, tiny_model, tmp_path):
    model = {"model": str(tiny_model), "model_sha256": model_checksum(tiny_model)}
    shared = {"encoded": chain["encoded"].encoded, "sampler_steps": 2, "samples": 2, **model}
    same = run(Diffuse, tmp_path / "same", random_seed=3, **shared)
    other = run(Diffuse, tmp_path / "other", random_seed=4, **shared)
    before = load_tensors(chain["diffused"].diffused)[0]["latents"]
    assert (load_tensors(same.diffused)[0]["latents"] == before).all()
    assert (load_tensors(other.diffused)[0]["latents"] != before).any()


def test_harmonized_scan(chain):
    harmonized = chain["harmonized"]
    dwi = open_array(harmonized.dwi)
    mask, _ = load_mask(chain["defined"].mask_out)
    assert dwi.shape == (18, mask.sum())
    assert np.isfinite(dwi).all() and dwi.min() >= 0
    metrics = json.loads(open(harmonized.metrics).read())
    assert len(metrics["bounded"]) == 1 and len(metrics["bounded"][0]) == 3
    # each b0 volume is kept as itself
    assert not np.allclose(dwi[0], dwi[1])


def test_weighed_shell_has_shares_and_their_evidence(chain):
    estimate = load_estimate(chain["weighed"].estimate)
    assert estimate.trust_V is not None and estimate.trust_V.shape == estimate.b0_V.shape
    assert estimate.floor > 0
    assert len(estimate.evidence.shares) == 2 and not estimate.evidence.reason
    assert {error.name for error in estimate.evidence.errors} == {"filter", "result"}
    coarser = {error.name for error in estimate.evidence.coarser}
    assert coarser == {"filter", "model", "result"} and estimate.evidence.factor > 1.05
    assert all(0 <= share <= 1 for share in estimate.model_shares)
    shell = load_tensors(chain["made"].representation)[0]
    assert estimate.sh_CV.shape == shell["sh"].shape


def test_fewer_directions_choose_an_order_of_their_own(chain):
    """The 16 directions carry order 4, the 12 that are left of them order 2: 4 follows 2."""
    assert load_meta(chain["made"].representation)["order"] == 4
    for shares in load_estimate(chain["weighed"].estimate).evidence.shares:
        assert shares[2] == shares[1]


def test_writers(chain, tmp_path):
    data_set = tmp_path / "out"
    mask_out = chain["defined"].mask_out
    sidecar = {DIGEST: "abc", "Synthetic": True}
    shared = {"out_dir": str(data_set), "sidecar": sidecar, "wait_for": [mask_out]}
    quality = tmp_path / "quality.json"
    found = {"compared": True, "flagged": True, "outside_training": ["b1000: a lesion."]}
    quality.write_text(json.dumps(found))
    packed = run(CompressDWI, tmp_path / "compress", dwi=chain["harmonized"].dwi, mask=mask_out)
    writer = WriteDWI(
        image=packed.image,
        mask=mask_out,
        gradients=chain["prepared"].gradients,
        representations=[chain["made"].representation],
        quality=str(quality),
        out_file="sub-01/dwi/sub-01_dwi.nii.gz",
        **shared,
    )
    assert writer.always_run
    outputs = writer.run(cwd=tmp_path).outputs
    assert not writer.always_run
    assert {p.name for p in (data_set / "sub-01/dwi").iterdir()} == {
        f"sub-01_dwi.{end}" for end in ("nii.gz", "bval", "bvec", "json")
    }
    image = nibabel.load(outputs.out_files[0])
    mask, grid = load_mask(mask_out)
    np.testing.assert_array_equal(
        image.get_fdata(dtype=np.float32)[mask].T, open_array(chain["harmonized"].dwi)
    )
    assert Grid(image.shape, image.affine).shape == grid.shape
    np.testing.assert_allclose(
        np.loadtxt(data_set / "sub-01/dwi/sub-01_dwi.bvec"),
        np.loadtxt(chain["scan"].bvec),
        atol=1e-6,
    )
    written = json.loads((data_set / "sub-01/dwi/sub-01_dwi.json").read_text())
    assert written["SphericalHarmonicFits"][0]["Order"] == 4
    assert written["OutsideTraining"] is written["ComparedWithTraining"] is True
    assert written["OutsideTrainingReasons"] == ["b1000: a lesion."]
    other = WriteDWI(**{**writer.inputs.get_traitsfree(), "sidecar": {DIGEST: "def"}})
    assert other.always_run

    run(
        WriteMaps,
        tmp_path / "maps",
        sources=[chain["generated"].generated] * 2,
        mask=mask_out,
        maps={"r0.nii.gz": ["mean", 0], "r2.nii.gz": ["mean", 1]},
        stacked=True,
        **shared,
    )
    rish = nibabel.load(data_set / "r2.nii.gz")
    assert rish.shape == (*grid.shape, 2)
    expected = load_tensors(chain["generated"].generated)[0]["mean"][1].numpy()
    np.testing.assert_array_equal(rish.get_fdata(dtype=np.float32)[mask][:, 1], expected)
    run(WriteMask, tmp_path / "mask", mask=mask_out, out_file="mask.nii.gz", **shared)
    assert nibabel.load(data_set / "mask.nii.gz").get_data_dtype() == np.uint8


def test_values_that_are_not_finite_are_never_written(chain, tmp_path):
    from dmri7t.errors import Dmri7tError

    broken = tmp_path / "dwi.npy"
    values = np.array(open_array(chain["harmonized"].dwi))
    values[4, 7] = np.nan
    np.save(broken, values)
    with pytest.raises(Dmri7tError, match="finite"):
        run(CompressDWI, tmp_path / "w", dwi=str(broken), mask=chain["defined"].mask_out)
    assert not list((tmp_path / "w").glob("*.nii.gz"))
