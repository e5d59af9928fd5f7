"""The house keeps its shape: imports go down only, without cycles, and analysis stays free of array libraries."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "netdsl"

FLOORS = [
    {"atomic", "collector", "cores", "resources"},
    {"language"},
    {"ir"},
    {"layers", "images.steps", "images.errors", "train.errors", "train.draw", "train.losses"},
    {"analysis"},
    {"elaborate"},
    {"weights"},
    {"passes", "train.parameters", "train.engine"},
    {"program"},
    {"images", "backends", "draw", "interop"},
    {"data"},
    {"train"},
    {"api"},
    {"bench", "notebook"},
    {"cli"},
    {"__main__"},
]
"""From the ground up. A module may import from its own package and from every floor below."""

HEAVY = {"numpy", "PIL", "graphviz", "pygraphviz", "safetensors", "cupy", "torch", "onnx"}


def modules() -> dict[str, Path]:
    """Dotted name below `netdsl` -> file; the package's own __init__ is left out."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name and parts[0] != "_data":
            found[name] = path
    return found


MODULES = modules()


def resolve(name: str) -> str | None:
    """The module of ours that an imported name lies in: `netdsl.ir.Layer` is in `ir`."""
    if name == "netdsl" or not name.startswith("netdsl."):
        return None
    name = name.removeprefix("netdsl.")
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def imports(path: Path) -> tuple[set[str], set[str]]:
    """The modules of ours that a file imports while it is imported, and those that it imports anywhere.

    What stands under `if TYPE_CHECKING:` is in neither: it does not run.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    eager_names: set[str] = set()
    all_names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in types_only:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found = {module for name in names if (module := resolve(name)) is not None}
        all_names |= found
        if id(node) not in lazy:
            eager_names |= found
    return eager_names, all_names


def floor(module: str) -> int:
    """The floor with the longest name that fits: `images.steps` may lie on another floor than `images`."""
    fitting = [
        (len(name), number)
        for number, names in enumerate(FLOORS)
        for name in names
        if module == name or module.startswith(name + ".")
    ]
    assert fitting, f"netdsl.{module} is on no floor: add it to FLOORS"
    return max(fitting)[1]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down_only(module: str) -> None:
    own = floor(module)
    upward = {
        other
        for other in imports(MODULES[module])[1]
        if floor(other) > own or (floor(other) == own and other.split(".")[0] != module.split(".")[0])
    }
    assert not upward, f"netdsl.{module} imports {sorted(upward)}, which is not below it"


def test_no_module_imports_itself_in_a_circle() -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    for module, path in MODULES.items():
        graph.add_edges_from((module, other) for other in imports(path)[1] if other != module)
    # A package's front door imports its rooms; a room that imports another through the door would be a circle.
    assert [sorted(circle) for circle in nx.strongly_connected_components(graph) if len(circle) > 1] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["list", "lenet"],
        ["check", "resnet50"],
        ["summary", "resnet50"],
        ["summary", "lenet5", "--format", "json"],
        ["explain", "resnet50", "conv1"],
        ["explain", "E0301"],
    ],
    ids=" ".join,
)
def test_analysis_needs_no_array_library(arguments: list[str]) -> None:
    script = (
        "import json, sys\n"
        "from netdsl.cli.main import run\n"
        f"status = run({arguments!r})\n"
        f"print(json.dumps([status, [name for name in {sorted(HEAVY)!r} if name in sys.modules]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]


def test_importing_netdsl_imports_nothing_heavy() -> None:
    script = "import sys, netdsl; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert not loaded & (HEAVY | {"lark", "networkx", "pydantic", "rich"})
