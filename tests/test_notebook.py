"""Networks in a notebook: what they show, and cells that are specs."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest

import netdsl
from netdsl.notebook import load_ipython_extension, run_cell

TINY = """\
network tiny(classes = 10) {
  input image: 1x28x28
  conv(8, 5x5) -> relu -> max_pool(2x2)
  flatten -> dense(classes)
}
"""
# 8 * 25 + 8 in the convolution, 8 * 12 * 12 * 10 + 10 in the dense layer.
PARAMETERS = 208 + 11_530


def test_a_network_shows_its_picture_and_its_table() -> None:
    bundle = netdsl.loads(TINY)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/markdown", "text/html", "image/svg+xml"}
    assert ET.fromstring(bundle["image/svg+xml"]).attrib["role"] == "img"
    assert bundle["image/svg+xml"] in bundle["text/html"]
    assert "<table" in bundle["text/html"]
    assert "11,738" in bundle["text/markdown"]


def test_without_graphviz_the_table_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> bytes:
        raise netdsl.draw.DrawError("E0801", "there is no Graphviz to draw with")

    monkeypatch.setattr("netdsl.draw.engines.draw", missing)
    bundle = netdsl.loads(TINY)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/markdown", "text/html"}


def test_names_stay_names_in_a_notebook() -> None:
    name = "<script>alert(1)</script>"
    net = netdsl.loads(TINY)
    net.network.name = name
    assert "<script" not in net._repr_mimebundle_()["text/html"]


def test_a_cell_binds_its_network() -> None:
    names: dict[str, Any] = {}
    net = run_cell("", TINY, names)
    assert net is names["tiny"]
    assert net is not None
    assert net.parameters == PARAMETERS


def test_options_of_a_cell() -> None:
    names: dict[str, Any] = {}
    net = run_cell("tiny --set classes=3 --shape 1x32x32 --as small", TINY, names)
    assert net is names["small"]
    assert net is not None
    assert str(net.outputs["5" if "5" in net.outputs else next(iter(net.outputs))]) == "3"
    assert net.inputs["image"].shape == (1, 32, 32)
    assert run_cell("--quiet", TINY, names) is None
    assert names["tiny"].parameters == PARAMETERS


@pytest.mark.parametrize(
    ("line", "cell", "said"),
    [
        ("", TINY.replace("relu", "rellu"), "did you mean `relu`"),
        ("", "network broken {", "<cell>:1"),
        ("other", TINY, "tiny"),
        ("--shape 7", TINY, "7"),
        ("--set classes", TINY, "--set takes NAME=VALUE"),
        ("--no-such-option", TINY, "--no-such-option"),
        ("--as 'not a name'", TINY, "--as VARIABLE"),
        ("'", TINY, "quotation"),
    ],
)
def test_what_is_wrong_is_said_and_binds_nothing(
    capsys: pytest.CaptureFixture[str], line: str, cell: str, said: str
) -> None:
    names: dict[str, Any] = {}
    assert run_cell(line, cell, names) is None
    assert said in capsys.readouterr().err
    assert names == {}


def test_the_extension_registers_the_magic() -> None:
    class Played:
        def __init__(self) -> None:
            self.user_ns: dict[str, Any] = {}
            self.magics: dict[tuple[str, str | None], Any] = {}

        def register_magic_function(self, func: Any, magic_kind: str = "line", magic_name: str | None = None) -> None:
            self.magics[magic_kind, magic_name] = func

    shell = Played()
    load_ipython_extension(shell)
    shell.magics["cell", "net"]("", TINY)
    assert shell.user_ns["tiny"].parameters == PARAMETERS
    assert "--set" in shell.magics["cell", "net"].__doc__


def test_in_ipython(capsys: pytest.CaptureFixture[str]) -> None:
    shells = pytest.importorskip("IPython.core.interactiveshell", reason="IPython is not installed")
    shell = shells.InteractiveShell()
    shell.run_cell("%load_ext netdsl.notebook")
    result = shell.run_cell("%%net\n" + TINY)
    assert result.success
    assert result.result.parameters == PARAMETERS
    data, _ = shell.display_formatter.format(result.result)
    assert "<svg" in data["text/html"]
    assert shell.run_cell("tiny.parameters").result == PARAMETERS
