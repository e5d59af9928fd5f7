"""The wheel by itself: built, installed into an empty environment, used from a folder that is not the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import netdsl

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="building the wheel needs hatchling: pip install 'netdsl[dev]'")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "--wheel-dir", folder, ROOT], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("netdsl-*.whl")
    return found


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed `netdsl`. The environment holds the wheel and borrows nothing but its dependencies from ours."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel]
    done = subprocess.run(install, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = subprocess.run([python, "-c", query], capture_output=True, text=True, check=True).stdout.strip()
    # Paths in a .pth file are searched behind the environment's own packages, and .pth files in them are not read: an
    # editable netdsl of ours stays out of sight.
    borrowed = [path for path in sys.path if path.endswith("-packages")]
    (Path(own) / "borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    where = subprocess.run(
        [python, "-c", "import netdsl; print(netdsl.__file__)"], capture_output=True, text=True, check=True, cwd=home
    )
    assert where.stdout.startswith(own)
    return scripts / "netdsl"


def run(command: Path, folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [command, *arguments], capture_output=True, text=True, cwd=folder, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_the_package_the_grammar_and_the_library_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "netdsl/_data/grammars/netdsl.lark" in names
    specs = {path.relative_to(ROOT / "specs").as_posix() for path in (ROOT / "specs").rglob("*.net")}
    assert specs == {name.removeprefix("netdsl/_data/specs/") for name in names if name.endswith(".net")}
    assert "netdsl/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"netdsl", f"netdsl-{netdsl.__version__}.dist-info"}
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.slow
def test_summary_of_a_library_network(command: Path, tmp_path: Path) -> None:
    table = json.loads(run(command, tmp_path, "summary", "efficientnet_b0", "--format", "json"))
    # torchvision 0.28, efficientnet_b0: meta["num_params"].
    assert table["parameters"] == 5_288_548
    assert "5,288,548" in run(command, tmp_path, "summary", "efficientnet_b0")


@pytest.mark.slow
def test_list(command: Path, tmp_path: Path) -> None:
    names = {row["name"] for row in json.loads(run(command, tmp_path, "list", "--format", "json"))}
    assert {"lenet5", "alexnet", "vgg16", "resnet50", "efficientnet_b7"} <= names


@pytest.mark.slow
def test_a_spec_beside_the_caller_imports_from_the_library(command: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.net").write_text(
        "from lenet import c3_table\n"
        "network mine() {\n  input image: 1x32x32\n  conv(len(c3_table), 5x5)\n  expect 16x28x28\n}\n",
        encoding="utf-8",
    )
    assert "no errors" in run(command, tmp_path, "check", "mine.net")


@pytest.mark.slow
def test_version(command: Path, tmp_path: Path) -> None:
    assert run(command, tmp_path, "--version").strip().endswith(netdsl.__version__)


def test_extras_and_python_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11"
    assert {"dev", "docs", "cuda12", "cuda13"} <= project["optional-dependencies"].keys()
    # Drawing needs no system package: both come from the registry of Python packages.
    assert {"pygraphviz", "graphviz"} <= {requirement.split(">")[0] for requirement in project["dependencies"]}
