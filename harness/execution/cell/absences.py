"""What a trained network does where a patient lacks modalities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import nn

from harness.errors import DataError
from harness.execution.cell.weights import read_filling
from harness.inference.standalone.inputs import InputError, check_complete
from harness.results.store import CellFolder
from harness.training.modality_fill import Filling, FillsAbsent


@dataclass(frozen=True)
class Absences:
    """The rule of a cell's training; its own test and ``harness missing`` follow it, too.

    Attributes:
        modalities: Names in channel order.
        leading: Modality that leads the network, or a word that is no modality.
        may_lack: Modalities that a patient may lack: none where the training saw none absent and the network is not
            made for it. The one that leads only where the training says what stands for it.
        filling: What stands for absent modalities.
        told: Whether the network is told which modalities are present.
    """

    modalities: tuple[str, ...]
    leading: str
    may_lack: tuple[str, ...]
    filling: Filling
    told: bool

    @classmethod
    def of(cls, cell: CellFolder, network: nn.Module) -> Self:
        """Returns the rule of a finished cell.

        Args:
            cell: The cell.
            network: Its network.
        """
        spec = cell.spec()
        modalities, filling = spec.facts().modalities, read_filling(cell.result / "weights.safetensors")
        told = bool(getattr(network, "takes_present", False))
        may_lack = modalities if told or filling is not None else ()
        is_stated = spec.protocol.sampling.fill is not None or (filling is not None and bool(spec.weights))
        if not is_stated:
            may_lack = tuple(name for name in may_lack if name != spec.leading)
        return cls(modalities, spec.leading, may_lack, filling or Filling.zeros(len(modalities)), told)

    def check(self, lacking: Mapping[str, Sequence[str]]) -> None:
        """Refuses patients that lack what the network cannot do without.

        Args:
            lacking: Patient or case to the modalities that it lacks.

        Raises:
            DataError: It names the first of them, the modality, and what to do.
        """
        try:
            for patient, names in lacking.items():
                check_complete(patient, names, self.leading, self.may_lack)
        except InputError as error:
            raise DataError(str(error), hint="docs/trained_models.md says which networks do without.") from error

    def applied_to(self, network: nn.Module) -> FillsAbsent:
        """Returns the network, in evaluation mode, with what stands for absent modalities."""
        return FillsAbsent(network, self.filling).eval()

    def to_json(self) -> dict[str, Any]:
        """Returns what the program of an exported model must know, as JSON values."""
        return {
            "may_lack": list(self.may_lack),
            "fill": self.filling.kind,
            "values": list(self.filling.values),
            "told": self.told,
        }
