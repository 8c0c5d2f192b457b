"""A trained network as a ``torch.export`` program, and the program text that runs it without the harness."""

import ast
from importlib.resources import files

import torch
from torch import nn
from torch.export import Dim, ExportedProgram, export

from harness.errors import HarnessError, one_line, shorten

#: Modules of the program, in order; each may use those before it.
_MODULES = ("inputs", "preprocessing", "program")
_PACKAGE = "harness.inference.standalone"

#: What of a graph tells of this machine: paths and lines of the source.
_TRACES = ("stack_trace", "source_fn_stack", "from_node", "nn_module_stack", "torch_fn")

#: Difference between the program and the network, relative to the greatest logit.
_TOLERANCE = 1e-4


def program_text() -> str:
    """Returns the program as one file: the modules of the package one after the other, without imports between them."""
    imports: set[str] = set()
    bodies, docstring = [], ""
    for name in _MODULES:
        text = (files(_PACKAGE) / f"{name}.py").read_text(encoding="utf-8")
        tree = ast.parse(text)
        docstring = ast.get_docstring(tree, clean=False) or ""
        found = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in found:
            if not (isinstance(node, ast.ImportFrom) and str(node.module).startswith(("harness", "__future__"))):
                imports.add(ast.unparse(node))
        bodies.append("\n".join(text.splitlines()[max(int(node.end_lineno or 0) for node in found) :]).strip())
    parts = [f'"""{docstring}"""', "from __future__ import annotations", "\n".join(sorted(imports)), *bodies]
    return "\n\n".join(parts) + "\n"


def export_network(
    network: nn.Module, name: str, modalities: int, patch_size: tuple[int, ...], batch_size: int
) -> tuple[ExportedProgram, int | None]:
    """Exports a network and compares the program with it.

    The program of a network that is told which modalities are present (``takes_present``) is always told.

    Args:
        network: Network in evaluation mode, on the CPU.
        name: Its name, for messages.
        modalities: Number of channels.
        patch_size: Spatial size of a window.
        batch_size: Windows of a forward pass, where the program cannot take any number.

    Returns:
        The program, and how many windows it takes; None for any number.

    Raises:
        HarnessError: The network cannot be exported, or the program computes something else.
    """
    reason, told = "", bool(getattr(network, "takes_present", False))
    for windows, dynamic in ((2, True), (batch_size, False)):
        generator = torch.Generator().manual_seed(0)
        example: tuple[torch.Tensor, ...] = (torch.randn(windows, modalities, *patch_size, generator=generator),)
        if told:
            present = torch.ones(windows, modalities)
            present[0, 0] = 0
            example = (*example, present)
        shapes = ({0: Dim.AUTO},) * len(example)
        try:
            with torch.no_grad():
                program = export(network, example, dynamic_shapes=shapes if dynamic else None, strict=False)
                made, tried = program.module(), (1, 2, 3) if dynamic else (batch_size,)
                worst = max(_difference(network, made, example, count) for count in tried)
        except Exception as error:
            reason = reason or f"{type(error).__name__}: {shorten(one_line(str(error)), 300)}"
            continue
        if worst <= _TOLERANCE:
            _strip(program)
            return program, None if dynamic else batch_size
        reason = f"the program's numbers differ from the network's by {worst:.1e} of the greatest"
    raise HarnessError(
        f"{name} cannot be exported: {reason}.",
        hint="docs/trained_models.md lists the networks that export; `harness predict --images` runs every network.",
    )


def _difference(network: nn.Module, made: nn.Module, example: tuple[torch.Tensor, ...], count: int) -> float:
    given = [torch.cat([one] * -(-count // len(one)))[:count] for one in example]
    own = network(*given)
    return float((own - made(*given)).abs().max() / own.abs().max().clamp(min=1e-6))


def _strip(program: ExportedProgram) -> None:
    """Takes the traces of this machine off a program."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for trace in _TRACES:
                    node.meta.pop(trace, None)
