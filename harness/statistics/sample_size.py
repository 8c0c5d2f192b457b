"""How many patients a family of tests needs before any of them can be significant."""

ALPHA = 0.05


def least_p(patients: int, tests: int) -> float:
    """The least two-sided p that the signed-rank test can give, after Holm over the tests.

    All differences point one way in 2 of the ``2 ** patients`` equally likely patterns of signs, and Holm multiplies
    the least p by the number of tests.
    """
    return float(min(1.0, tests * 2.0 ** (1 - patients)))


def patients_needed(tests: int, alpha: float = ALPHA) -> int:
    """The fewest patients with which one of the tests can be significant."""
    patients = 1
    while least_p(patients, tests) >= alpha:
        patients += 1
    return patients


def refusal(patients: int, tests: int, *, alpha: float = ALPHA, unit: str = "patient", which: str = "") -> str | None:
    """Why the tests are not made; ``None`` where they may be.

    Args:
        patients: Number of patients, or of what is the unit.
        tests: Number of tests in the family.
        alpha: Level of the family.
        unit: What the tests count.
        which: Which tests these are, where there is another family beside them.
    """
    if least_p(patients, tests) < alpha:
        return None
    counted = f"{patients} {unit}{'' if patients == 1 else 's'}"
    family = "one test" if tests == 1 else f"{tests} tests{f' {which}' if which else ''} with Holm's correction"
    least = least_p(patients, tests)
    return (
        f"{counted}: no significance test. The least p that {family} can give is {least:.3g}, not below {alpha}; "
        f"{patients_needed(tests, alpha)} {unit}s are needed"
    )
