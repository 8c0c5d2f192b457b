"""Lesion-wise scores of BraTS 2023 and 2024 in plain steps on whole volumes, after the published rules; slow.

Surface distances are DeepMind's own package. Written apart from ``harness.evaluation.lesions``, to be compared with it.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, generate_binary_structure, label
from surface_distance import compute_robust_hausdorff, compute_surface_distances

EIGHTEEN = generate_binary_structure(3, 2)
TWENTY_SIX = np.ones((3, 3, 3))
TISSUES = {"NETC": 1, "SNFH": 2, "ET": 3, "RC": 4}
LINKS = {"NETC": ["ET", "RC"], "ET": ["NETC", "RC"], "RC": ["ET", "NETC"], "SNFH": ["ET", "RC", "NETC"]}


def region_mask(labels, region):
    values = {"WT": [1, 2, 3], "TC": [1, 3]}.get(region) or [TISSUES[region]]
    return np.isin(labels, values)


def merged(mask, times):
    """Components that fall into one dilated component."""
    dilated, count = label(binary_dilation(mask, EIGHTEEN, iterations=times), TWENTY_SIX)
    return [mask & (dilated == number) for number in range(1, count + 1)]


def touch(one, other):
    return bool((binary_dilation(one, EIGHTEEN) & other).any())


def joined(lesions, others):
    """Lesions whose first touching lesion of the other tissue is the same one become one."""
    groups, alone = {}, []
    for lesion in lesions:
        partners = [number for number, other in enumerate(others) if touch(lesion, other)]
        if partners:
            groups.setdefault(partners[0], []).append(lesion)
        else:
            alone.append(lesion)
    return alone + [np.logical_or.reduce(group) for group in groups.values()]


def lesions_2024(labels, region, predicted):
    def single(tissue):
        found = merged(region_mask(labels, tissue), 5 if tissue in ("NETC", "RC") else 3)
        limit = 10 if tissue == "ET" else 20
        return [lesion for lesion in found if not predicted or lesion.sum() > limit]

    found = single(region)
    for tissue in LINKS.get(region, []):
        found = joined(found, single(tissue))
    return found


def lesion_wise(prediction, truth, region, spacing, year):
    """Dice and HD95 of a region of two label maps."""
    if year == 2023:
        times, limit, penalty = 3, 50, 374
        real = merged(region_mask(truth, region), times)
        numbered, count = label(region_mask(prediction, region), TWENTY_SIX)
        found = [numbered == number for number in range(1, count + 1)]
    else:
        times, penalty = 5 if region in ("NETC", "RC") else 3, 337
        limit = 10 if region == "ET" else 20
        real, found = lesions_2024(truth, region, False), lesions_2024(prediction, region, True)
    dices, distances, hit = [], [], set()
    for lesion in real:
        around = binary_dilation(lesion, EIGHTEEN, iterations=times)
        hits = [number for number, other in enumerate(found) if (other & around).any()]
        hit |= set(hits)
        if lesion.sum() * np.prod(spacing) <= limit:
            continue
        if not hits:
            dices.append(0)
            distances.append(penalty)
            continue
        union = np.logical_or.reduce([found[number] for number in hits])
        dices.append(2 * (union & lesion).sum() / (union.sum() + lesion.sum()))
        distances.append(compute_robust_hausdorff(compute_surface_distances(lesion, union, spacing), 95))
    false = len(found) - len(hit)
    count = len(dices) + false
    if count == 0:
        return 1.0, 0.0
    return sum(dices) / count, (sum(distances) + penalty * false) / count
