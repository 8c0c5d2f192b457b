"""Notes that the three BraTS datasets share; without numpy, so that listing facts stays fast."""

LEADING_NOTE = (
    "Leading by default: contrast-enhanced T1, which the released AAHN code feeds to its leading stream. The paper "
    "does not publish its leading modalities."
)

SPLIT_NOTE = (
    "There is no official split of the labelled cases: fold 0 is the authors' seeded 80:20, folds 1 to 5 are a "
    "cross-validation, all by patient."
)

SCORE_NOTE = (
    "Dice and HD95 are of whole regions; the challenge ranks by the lesion-wise scores, which stand beside them and "
    "are lower where lesions are missed or invented."
)
