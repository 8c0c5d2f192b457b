import gzip
import hashlib
import importlib.util
import io
import json
import sys
import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import ConvexHull

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "harness" / "data" / "datasets" / "cortex"
LABEL_COUNTS = [2790018, 532611, 563451]  # voxels of elsewhere, cortex and white matter


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("rebuild_cortex", ROOT / "scripts" / "rebuild_cortex.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def ball(centre, radius, points=1500):
    """Vertices and triangles of a convex body that fills nearly all of a ball."""
    index = np.arange(points) + 0.5
    height, angle = 1 - 2 * index / points, np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - height**2)
    vertices = np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1) * radius + centre
    return vertices, ConvexHull(vertices).simplices.astype(np.int64)


def distance_from(centre, script):
    grid = np.indices(script.SHAPE).reshape(3, -1).T + script.GRID_TO_MM[:3, 3]
    return np.linalg.norm(grid - centre, axis=1).reshape(script.SHAPE)


def test_voxels_inside_a_ball(script):
    centre = np.array([3.3, 10.1, 5.7])
    found = script.inside(script.Surface(*ball(centre, 30.0)))
    distance = distance_from(centre, script)
    assert found[distance < 29.8].all()
    assert not found[distance > 30.0].any()


def test_rays_through_edges_and_vertices_count_once(script):
    """The faces of this cube hold voxel centres, and its diagonals run through them."""
    corners = np.array([[x, y, z] for x in (-5, 5) for y in (-5, 5) for z in (-5.5, 5.5)], dtype=np.float64)
    hull = ConvexHull(corners)
    found = script.inside(script.Surface(corners, hull.simplices.astype(np.int64)))
    assert found.sum() == 10 * 10 * 11
    assert ndimage.label(found)[1] == 1


def test_a_surface_may_reach_out_of_the_grid(script):
    centre = np.array([-78.0, -68.0, -54.0])
    found = script.inside(script.Surface(*ball(centre, 20.0)))
    assert found[0, 0, 0]
    assert not found[21:].any()
    assert found.sum() == pytest.approx(np.count_nonzero(distance_from(centre, script) < 19.95), rel=0.01)


def test_the_hole_of_a_nested_surface_is_outside(script):
    outer, inner = ball(np.zeros(3), 20.0), ball(np.zeros(3), 10.0)
    both = script.Surface(np.concatenate([outer[0], inner[0]]), np.concatenate([outer[1], inner[1] + len(outer[0])]))
    found = script.inside(both)
    distance = distance_from(np.zeros(3), script)
    assert not found[distance < 9.8].any()
    assert found[(distance > 10.1) & (distance < 19.8)].all()


def test_resampling_follows_scanner_coordinates(script):
    """An image whose intensity is its own x index, flipped and shifted against the grid."""
    image = np.broadcast_to(np.arange(200.0)[:, None, None], (200, 200, 200))
    mm_to_image = np.array([[-1, 0, 0, 100.25], [0, 1, 0, 80], [0, 0, 1, 60], [0, 0, 0, 1]], dtype=np.float64)
    sampled = script.resample(image, mm_to_image)
    assert sampled[0, 0, 0] == pytest.approx(178.25)
    assert sampled[78, 68, 54] == pytest.approx(100.25)


def test_intensities_are_scaled_and_clipped(script):
    scaled = script.to_bytes(np.array([-1.0, 0.0, 32.0, 32.0 - 1e-12, 160.0, 500.0]), 160.0)
    assert scaled.tolist() == [0, 0, 51, 51, 255, 255]


def test_the_same_voxels_give_the_same_bytes(script):
    volume = np.arange(np.prod(script.SHAPE)).reshape(script.SHAPE).astype(np.uint8)
    first, second = (script.nifti_gz(volume, "text") for _ in range(2))
    assert first == second
    assert first[3:10] == bytes([0, 0, 0, 0, 0, 2, 255])  # no file name, no time, no operating system
    assert script.nifti_gz(np.asfortranarray(volume), "text") == first
    image = nib.Nifti1Image.from_bytes(gzip.decompress(first))
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), volume)


def nifti(array, affine):
    return gzip.compress(nib.Nifti1Image(array, affine).to_bytes())


def gifti(vertices, triangles):
    arrays = [
        nib.gifti.GiftiDataArray(vertices.astype(np.float32), intent="NIFTI_INTENT_POINTSET"),
        nib.gifti.GiftiDataArray(triangles.astype(np.int32), intent="NIFTI_INTENT_TRIANGLE"),
    ]
    return nib.GiftiImage(darrays=arrays).to_bytes()


def archive(path, members):
    with tarfile.open(path, "w:gz") as out:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"pycortex-1.4.0/filestore/db/S1/{name}")
            entry.size = len(content)
            out.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture
def members():
    head_to_mm = np.diag([-4.0, 4.0, 4.0, 1.0])
    head_to_mm[:3, 3] = (120, -100, -100)
    head = np.full((60, 60, 60), 80, dtype=np.uint8)
    files = {
        "anatomicals/raw.nii.gz": nifti(head, head_to_mm),
        "transforms/fullhead/reference.nii.gz": nifti(head * 15.0, head_to_mm),
        "transforms/fullhead/matrices.xfm": json.dumps({"coord": np.linalg.inv(head_to_mm).tolist()}).encode(),
    }
    for side, x in (("lh", -30.0), ("rh", 30.0)):
        files[f"surfaces/wm_{side}.gii"] = gifti(*ball(np.array([x, 10.0, 10.0]), 15.0, points=300))
        files[f"surfaces/pia_{side}.gii"] = gifti(*ball(np.array([x, 10.0, 10.0]), 25.0, points=300))
    return files


@pytest.fixture
def sdist(script, members, tmp_path, monkeypatch):
    path = archive(tmp_path / "sdist.tar.gz", members)
    monkeypatch.setattr(script, "SDIST_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_rebuild_and_compare(script, sdist, tmp_path, capsys):
    folder = tmp_path / "out"
    assert script.main(["--sdist", str(sdist), "--output", str(folder)]) == 0
    t1, epi, label = (np.asanyarray(nib.load(folder / f"{name}.nii.gz").dataobj) for name in ("t1", "epi", "label"))
    assert label[48, 78, 64] == label[108, 78, 64] == 2
    assert label[48, 78, 84] == label[108, 78, 44] == 1
    assert label[78, 78, 64] == 0
    assert set(np.unique(t1)) == set(np.unique(epi)) == {0, 127}
    np.testing.assert_array_equal(t1 > 0, ndimage.binary_dilation(label > 0, iterations=6))

    capsys.readouterr()
    assert script.compare({"t1": t1, "epi": epi, "label": label}, folder)
    assert capsys.readouterr().out.count("agreement 100.0000 %") == 3

    other = label.copy()
    other[0, 0, 0] = 2
    changed = script.nifti_gz(other, "changed")
    (folder / "label.nii.gz").write_bytes(changed)
    assert script.main(["--sdist", str(sdist), "--output", str(folder), "--compare"]) == 1
    said = capsys.readouterr().out
    assert said.count("agreement 100.0000 %") == 2
    assert "label: 1 of " in said
    assert (folder / "label.nii.gz").read_bytes() == changed


def test_compare_tells_another_grid(script, tmp_path, capsys):
    (tmp_path / "t1.nii.gz").write_bytes(nifti(np.zeros((2, 2, 2), np.uint8), np.eye(4)))
    assert not script.compare({"t1": np.zeros(script.SHAPE, np.uint8)}, tmp_path)
    assert "another grid" in capsys.readouterr().out


def test_another_file_is_refused(script, members, tmp_path):
    path = archive(tmp_path / "sdist.tar.gz", members)
    with pytest.raises(SystemExit, match="is not the source distribution"):
        script.main(["--sdist", str(path), "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_file_that_does_not_exist_is_refused(script, tmp_path):
    with pytest.raises(SystemExit, match="There is no file"):
        script.main(["--sdist", str(tmp_path / "none.tar.gz")])


def test_a_missing_member_is_named(script, members, tmp_path):
    del members["surfaces/wm_rh.gii"]
    with pytest.raises(SystemExit, match=r"holds no .*wm_rh\.gii"):
        script.read_source(archive(tmp_path / "sdist.tar.gz", members))


def test_a_link_in_place_of_a_member_is_refused(script, tmp_path):
    with tarfile.open(tmp_path / "sdist.tar.gz", "w:gz") as out:
        entry = tarfile.TarInfo("pycortex-1.4.0/filestore/db/S1/anatomicals/raw.nii.gz")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        out.addfile(entry)
    with pytest.raises(SystemExit, match="not an ordinary file"):
        script.read_source(tmp_path / "sdist.tar.gz")


def test_a_failed_download_says_what_to_do(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script.sys, "executable", "/bin/false")
    with pytest.raises(SystemExit, match="use --sdist"):
        script.download_sdist(tmp_path)


def test_the_shipped_files_hold_labels_and_no_face(script):
    volumes = {}
    for name in ("t1", "epi", "label"):
        image = nib.load(SHIPPED / f"{name}.nii.gz")
        assert image.shape == script.SHAPE
        assert image.get_data_dtype() == np.uint8
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        np.testing.assert_array_equal(image.affine, script.GRID_TO_MM)
        assert (image.header["sform_code"], image.header["qform_code"]) == (1, 1)
        volumes[name] = np.asanyarray(image.dataobj)
    assert np.bincount(volumes["label"].ravel()).tolist() == LABEL_COUNTS
    near = ndimage.binary_dilation(volumes["label"] > 0, iterations=6)
    assert not volumes["t1"][~near].any()
    assert not volumes["epi"][~near].any()


def test_the_shipped_files_are_small_and_carry_their_licence():
    assert sum(path.stat().st_size for path in SHIPPED.glob("*.gz")) < 2_800_000
    assert "Redistribution and use" in (SHIPPED / "LICENSE.pycortex").read_text()


@pytest.mark.slow
def test_the_shipped_files_are_the_scripts_output(script, tmp_path):
    """Downloads 69.9 MB."""
    assert script.main(["--output", str(tmp_path)]) == 0
    for name in ("t1", "epi", "label"):
        rebuilt, shipped = ((folder / f"{name}.nii.gz").read_bytes() for folder in (tmp_path, SHIPPED))
        assert gzip.decompress(rebuilt) == gzip.decompress(shipped)
