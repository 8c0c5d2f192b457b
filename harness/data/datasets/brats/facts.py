"""Notes that the three BraTS datasets share; without numpy, so that listing facts stays fast."""

LEADING_NOTE = (
    "Leading by default: contrast-enhanced T1, on which the enhancing tumour shows best. Our sources do not say which "
    "modality led in the paper's table; profile `released` of the studies has the released code's second channel."
)

SPLIT_NOTE_2019 = (
    "There is no official split of the labelled cases: fold 0 is the authors' seeded 80:20, drawn in the order of "
    "their names (HGG__ before LGG__); folds 1 to 5 are a cross-validation, all by patient."
)

SPLIT_NOTE = (
    "There is no official split of the labelled cases: fold 0 is a seeded 80:20 of patients, drawn as the authors' "
    "code draws cases. Which cases that code tested on cannot be known: it has no converter for this release and "
    "draws cases, not patients. Folds 1 to 5 are a cross-validation, all by patient."
)

SCORE_NOTE = (
    "Dice and HD95 are of whole regions; the challenge ranks by the lesion-wise scores, which stand beside them and "
    "are lower where lesions are missed or invented."
)
