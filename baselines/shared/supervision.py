"""Deep supervision as nnU-Net weighs it."""


def output_weights(levels: int) -> list[float]:
    """Returns the weights of outputs, finest first: 1, 1/2, 1/4, ... with the last 0, normalised.

    With five levels 0.533, 0.267, 0.133, 0.067, 0. A single output keeps its weight of 1.

    Args:
        levels: Number of outputs.
    """
    weights = [0.5**level for level in range(levels)]
    if levels > 1:
        weights[-1] = 0.0
    return [weight / sum(weights) for weight in weights]
