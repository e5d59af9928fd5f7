"""No kernel touches memory beside what it was given: see guarded.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from netdsl.backends.native.target import Target, host_target

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="protects pages by mmap and mprotect")
LIBRARY = ("lenet5", "mobilenet_v2", "resnet18", "efficientnet_b0", "squeezenet1_0", "shufflenet_v2_x0_5")


def guarded(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).parent / "guarded.py"
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_stray_access_is_found() -> None:
    done = guarded("generic", "stray")
    assert done.returncode not in (0, 1) and "done" not in done.stdout


def test_odd_shapes_on_every_kind_of_code(target: Target) -> None:
    done = guarded(target.name, "odd", "point", "wide")
    assert done.stdout.split() == ["odd", "point", "wide", "done"], done.stderr


@pytest.mark.parametrize("name", LIBRARY)
def test_networks_of_the_library(name: str) -> None:
    done = guarded(host_target().name, name)
    assert done.stdout.split() == [name, "done"], done.stderr
