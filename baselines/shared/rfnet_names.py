"""Names in the code of RFNet, mmFormer and M2FTrans, and ours."""

import re

MODALITIES = ("flair", "t1ce", "t1", "t2")
"""Their names in the authors' order of channels."""
STEP = {"c1": "narrow", "c2": "join", "out": "finish"}
"""Units of a decoder step."""


def common_name(theirs: str, levels: int) -> str | None:
    """Returns our name of a module or tensor that the three networks share; ``None`` for any other.

    Args:
        theirs: Such as ``flair_encoder.e1_c1.conv.weight`` or ``decoder_sep.d3_out``.
        levels: Levels of the encoders.
    """
    if match := re.fullmatch(rf"({'|'.join(MODALITIES)})_encoder(?:\.e(\d)_c(\d)(.*))?", theirs):
        place = f"encoders.{MODALITIES.index(match[1])}"
        return place if match[2] is None else f"{place}.levels.{int(match[2]) - 1}.{int(match[3]) - 1}{match[4]}"
    if match := re.fullmatch(r"decoder_(sep|fuse|fusion)\.(?:d(\d)_(c1|c2|out)|seg_layer)(\..*)?", theirs):
        place = "separate." if match[1] == "sep" else ""
        rest = match[4] or ""
        if match[2] is None:
            return f"{place}head{rest}"
        return f"{place}steps.{levels - 1 - int(match[2])}.{STEP[match[3]]}{rest}"
    return None
