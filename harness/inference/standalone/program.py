"""Predicts patients with an exported model; needs Python 3.11, torch, numpy and nibabel, nothing else.

This file lies beside ``model.pt2`` and ``model.json`` in the folder that ``harness export`` wrote::

    python predict.py --images NAME_0000.nii.gz NAME_0001.nii.gz --out OUT
    python predict.py --modality t1=A.nii.gz --modality t2=B.nii.gz --out OUT

A patient may lack the modalities that the network was trained to do without: leave their files out.

It does what the harness does: closest RAS orientation, crop, resampling, normalisation, sliding windows, and the way
back to the grid of the files. It computes in single precision. For research; not a medical device.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from nibabel import orientations
from torch import Tensor
from torch.nn import functional as F

from harness.inference.standalone.inputs import (
    InputError,
    assign,
    assign_named,
    check_distinct,
    note_on_absent,
    notes_on_input,
    volumes,
    write_volumes,
)
from harness.inference.standalone.preprocessing import (
    Array,
    Grid,
    Patient,
    mean_and_sd,
    normalise,
    preprocess,
    read_patient,
    resize_planes,
)

#: Version of ``model.json`` that this program reads.
FORMAT = 1

Network = Callable[..., Tensor]

#: Slices brought back at once.
_CHUNK = 32
#: Products of the axes' directions may differ by this from those of perpendicular axes.
_PERPENDICULAR = 1e-4


@torch.inference_mode()
def predict(
    network: Network, patient: Patient, facts: Mapping[str, Any], device: torch.device
) -> tuple[Array, list[str]]:
    """Returns the label map (X, Y, Z) of a patient, as numbers of classes, and what is unlike the training.

    Args:
        network: Maps (B, M, *spatial) to logits; one that is told which modalities are present also takes (B, M).
        patient: The images.
        facts: ``model.json``.
        device: Device of the network.

    Raises:
        InputError: The images cannot be predicted.
    """
    prepared = preprocess(patient, facts["preprocessing"])
    names, rule = facts["modalities"], facts.get("absent")
    check_distinct(prepared.images, names, patient.absent)
    known = [(one["count"], one["total"], one["squares"]) for one in facts["normalisation"]["training"]]
    own_means, known_means = ([mean_and_sd(*one) for one in of] for of in (prepared.moments, known))
    spacings = prepared.spacing, facts["training_spacing"]
    notes = notes_on_input(names, spacings[0], own_means, known_means, spacings[1], patient.absent)
    if rule is not None and patient.absent:
        notes.insert(0, note_on_absent([names[channel] for channel in patient.absent], rule["fill"], rule["told"]))
    images = torch.from_numpy(normalise(prepared, facts["normalisation"])).to(device)
    probabilities = _probabilities(_without(network, patient.absent, rule), images, facts["inference"])
    if not torch.isfinite(probabilities.sum()):
        raise InputError("The network gives values that are not finite.")
    return _to_files(probabilities, prepared.grid), notes


def _without(network: Network, absent: Sequence[int], rule: Mapping[str, Any] | None) -> Network:
    """Returns the network of images without some channels, filled and told as in the training.

    Args:
        network: The network.
        absent: Channels without an image.
        rule: What stands for them; None for a network that needs every modality.
    """
    if rule is None or not (absent or rule["told"]):
        return network

    def run(windows: Tensor) -> Tensor:
        filled, present = windows.clone(), torch.ones(windows.shape[:2], device=windows.device)
        for channel in absent:
            filled[:, channel] = rule["values"][channel]
            present[:, channel] = 0
        return network(filled, present) if rule["told"] else network(filled)

    return run


def _probabilities(network: Network, images: Tensor, facts: Mapping[str, Any]) -> Tensor:
    """Returns class probabilities (K, D, H, W) of normalised images (M, D, H, W)."""
    if len(facts["patch_size"]) == 3:
        return _slide(network, images[None], facts)[0]
    slices, size = images.transpose(0, 1), facts["batch_size"]
    parts = [_slide(network, slices[start : start + size], facts) for start in range(0, len(slices), size)]
    return torch.cat(parts).transpose(0, 1)


def _slide(network: Network, images: Tensor, facts: Mapping[str, Any]) -> Tensor:
    """Averages the probabilities of overlapping windows, as MONAI's sliding-window inference does."""
    window: tuple[int, ...] = tuple(facts["patch_size"])
    extents = tuple(images.shape[2:])
    before = [max(side - own, 0) // 2 for side, own in zip(window, extents, strict=True)]
    after = [max(side - own, 0) - first for side, own, first in zip(window, extents, before, strict=True)]
    pads = [pad for pair in zip(reversed(before), reversed(after), strict=True) for pad in pair]
    padded = F.pad(images, pads) if any(pads) else images
    starts = [_starts(extent, side, facts["overlap"]) for extent, side in zip(padded.shape[2:], window, strict=True)]
    places: list[tuple[slice, ...]] = [
        tuple(slice(first, first + side) for first, side in zip(corner, window, strict=True))
        for corner in itertools.product(*starts)
    ]
    weight = _window_weight(window, facts["gaussian"]).to(images.device)
    count = torch.zeros(1, 1, *padded.shape[2:], device=images.device)
    for place in places:
        count[(slice(None), slice(None), *place)] += weight
    every = [(number, place) for number in range(len(images)) for place in places]
    total: Tensor | None = None
    for begin in range(0, len(every), facts["batch_size"]):
        part = every[begin : begin + facts["batch_size"]]
        found = _mirrored(network, torch.cat([padded[(slice(n, n + 1), slice(None), *at)] for n, at in part]), facts)
        found *= weight
        if total is None:
            total = torch.zeros(len(images), found.shape[1], *padded.shape[2:], device=images.device)
        for one, (n, at) in zip(found, part, strict=True):
            total[n][(slice(None), *at)] += one
    assert total is not None
    total /= count
    inner = tuple(slice(first, first + own) for first, own in zip(before, extents, strict=True))
    return total[(slice(None), slice(None), *inner)]


def _starts(extent: int, side: int, overlap: float) -> list[int]:
    step = side if side == extent else max(int(side * (1 - overlap)), 1)
    starts = [0]
    while starts[-1] + side < extent:
        starts.append(min(starts[-1] + step, extent - side))
    return starts


def _window_weight(window: Sequence[int], gaussian: bool) -> Tensor:
    weight = torch.ones(tuple(window))
    if gaussian:
        for axis, side in enumerate(window):
            at = torch.arange(start=-(side - 1) / 2.0, end=(side - 1) / 2.0 + 1, dtype=torch.float)
            along = torch.exp(at**2 / (-2 * (side * 0.125) ** 2))
            weight = weight.unsqueeze(-1) * along[(None,) * axis] if axis else along
    return weight.clamp(min=max(float(weight.min()), 1e-3))


def _mirrored(network: Network, windows: Tensor, facts: Mapping[str, Any]) -> Tensor:
    """Averages probabilities over all flips."""
    axes = facts["mirror_axes"]
    flips = [[axis + 2 for axis in some] for n in range(len(axes) + 1) for some in itertools.combinations(axes, n)]
    total: Tensor | None = None
    for flip in flips:
        turned = windows.flip(flip) if flip else windows
        probabilities = _logits(network, turned, facts["program_batch"]).float().softmax(dim=1)
        probabilities = probabilities.flip(flip) if flip else probabilities
        total = probabilities if total is None else total + probabilities
    assert total is not None
    return total / len(flips)


def _logits(network: Network, windows: Tensor, size: int | None) -> Tensor:
    """Runs the program; one that takes a certain number of windows gets them filled up."""
    if size is None:
        return network(windows)
    parts = []
    for part in torch.split(windows, size):
        whole = torch.cat([part, part[-1:].expand(size - len(part), *part.shape[1:])]) if len(part) < size else part
        parts.append(network(whole)[: len(part)])
    return torch.cat(parts)


def _to_files(probabilities: Tensor, grid: Grid) -> Array:
    """Returns the label map (X, Y, Z) on the grid of the files."""
    extents = [part.stop - part.start for part in grid.crop]
    depth = extents.pop(grid.axis)
    frame, at = extents, [slice(extent) for extent in extents]
    if grid.padded is not None:
        after = [extent for axis, extent in enumerate(grid.resampled) if axis != grid.axis]
        sizes = zip(grid.padded, extents, after, strict=True)
        frame = [max(own, round(side * own / made)) for side, own, made in sizes]
        at = [slice((side - own) // 2, (side - own) // 2 + own) for side, own in zip(frame, extents, strict=True)]
    parts = []
    for start in range(0, depth, _CHUNK):
        part = slices_between(probabilities, start, min(start + _CHUNK, depth), depth)
        parts.append(resize_planes(part, tuple(frame)).argmax(dim=0)[..., at[0], at[1]].to(torch.uint8).cpu())
    turned = [0, 0, 0]
    for extent, (axis, _) in zip(grid.shape, grid.orientation, strict=True):
        turned[int(axis)] = extent
    whole = np.zeros(turned, np.uint8)
    whole[grid.crop] = np.moveaxis(torch.cat(parts).numpy(), 0, grid.axis)
    back = orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), grid.orientation)
    return np.ascontiguousarray(orientations.apply_orientation(whole, back))


def slices_between(probabilities: Tensor, start: int, stop: int, depth: int) -> Tensor:
    """Returns slices ``start`` to ``stop - 1`` of (K, D, H, W) interpolated to ``depth`` slices."""
    have = probabilities.shape[1]
    if have == depth:
        return probabilities[:, start:stop]
    # Interpolating the unit matrix gives the weights of every slice: (depth, D), all but a few of them 0.
    unit = torch.eye(have, device=probabilities.device)
    weights = resize_planes(unit[None, None], (depth, have))[0, 0, start:stop]
    used = weights.any(dim=0).nonzero()
    low, high = int(used[0]), int(used[-1]) + 1
    return torch.einsum("nd,kdhw->knhw", weights[:, low:high], probabilities[:, low:high].float())


def write(path: Path, label: Array, patient: Patient) -> None:
    """Writes a label map as NIfTI in mm, at the place of the patient's images."""
    qform, sform = patient.codes
    directions = patient.affine[:3, :3] / np.linalg.norm(patient.affine[:3, :3], axis=0)
    if np.abs(directions @ directions.T - np.eye(3)).max() > _PERPENDICULAR:
        qform, sform = 0, sform or 1
    image = nib.Nifti1Image(label, patient.affine)
    image.set_sform(patient.affine, code=sform)
    image.set_qform(patient.affine, code=qform)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def main(folder: Path, words: Sequence[str] | None = None) -> int:
    """Predicts the patients that a command line names.

    Args:
        folder: Folder of the model.
        words: The command line; default: that of this process.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(description="Predict patients with the model of this folder.")
    parser.add_argument("--images", nargs="+", type=Path, default=[], metavar="FILE", help="NAME_0000.nii.gz and so on")
    parser.add_argument("--modality", action="append", default=[], metavar="NAME=FILE", help="one image of one patient")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; it must not exist")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    given = parser.parse_args(words)
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    try:
        if facts["format"] != FORMAT:
            raise InputError(f"model.json has format {facts['format']}; this program reads {FORMAT}.")
        if bool(given.images) == bool(given.modality) or given.out.exists():
            raise InputError("Give --images or --modality, and a folder --out that does not exist.")
        modalities, leading = facts["modalities"], facts["leading"]
        may_lack = (facts.get("absent") or {}).get("may_lack", ())
        named = assign_named(given.modality, modalities, leading, may_lack=may_lack) if given.modality else {}
        patients = named or assign(given.images, modalities, leading, may_lack=may_lack)
        network = torch.export.load(folder / "model.pt2").module().to(given.device)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True)
    labels = {int(value): text for value, text in facts["labels"].items()}
    rows: list[dict[str, Any]] = []
    status = 0
    for name, files in patients.items():
        try:
            patient = read_patient(files)
            label, notes = predict(network, patient, facts, torch.device(given.device))
        except InputError as error:
            print(f"Error: patient {name} is left out: {error}", file=sys.stderr)
            status = 2
            continue
        for note in notes:
            print(f"{name}: {note}", file=sys.stderr)
        write(given.out / f"{name}.nii.gz", np.array(facts["values"], np.uint8)[label], patient)
        rows += [{"patient": name, **row} for row in volumes(label, patient.affine, labels, facts["regions"])]
    write_volumes(given.out / "volumes.csv", rows)
    return status


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent))
