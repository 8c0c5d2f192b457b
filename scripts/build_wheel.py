"""Build step of the wheel: copies what stands at the top level of the project into the package."""

from pathlib import Path
from shutil import copy2

from setuptools.command.build_py import build_py

#: Folder of the project, and which of its files are shipped.
SHIPPED = {"studies": "*.yaml", "results/published": "*"}


class BuildPackage(build_py):
    """Builds the Python packages, then adds the shipped files; an editable installation reads them where they are."""

    def run(self) -> None:
        """Builds."""
        super().run()
        if not self.editable_mode:
            for source, target in self._files():
                target.parent.mkdir(parents=True, exist_ok=True)
                copy2(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Returns every file that is built, so that an installation can be removed whole."""
        return [*super().get_outputs(include_bytecode), *(str(target) for _, target in self._files())]

    def _files(self) -> list[tuple[Path, Path]]:
        root = Path(self.build_lib) / "harness" / "shipped"
        return [
            (source, root / folder / source.name)
            for folder, pattern in SHIPPED.items()
            for source in sorted(Path(folder).glob(pattern))
        ]
