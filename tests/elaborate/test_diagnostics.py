"""What is wrong with a spec: the code, the place, the numbers, the suggestion."""

from __future__ import annotations

import pytest

import netdsl
from netdsl.elaborate import Limits
from netdsl.language.diagnostics import Diagnostic


def findings(text: str, limits: Limits | None = None) -> list[Diagnostic]:
    with pytest.raises(netdsl.NetdslError) as error:
        netdsl.loads(text, limits=limits)
    value = error.value
    return value.diagnostics if isinstance(value, netdsl.SpecError) else [value.diagnostic]  # type: ignore[attr-defined]


def body(text: str) -> str:
    return f"network n {{\n  input image: 3x32x32\n  {text}\n}}"


CASES = [
    # code, spec, what is underlined, words of the message and of the help
    ("E0201", body("conv(8, 3x3) -> batch_nrm"), "batch_nrm", "no layer or block", "`batch_norm`"),
    ("E0201", body("conv(widht, 3x3)"), "widht", "unknown name `widht`", ""),
    ("E0202", body("conv(8, 3x3, pading = 1)"), "pading = 1", "no attribute `pading`", "`padding`"),
    ("E0202", body("let a = x.chanels"), "x.chanels", "no `chanels`", "`channels`"),
    ("E0203", body("conv(8)"), "conv(8)", "needs `kernel`", "conv(FILTERS, KERNEL)"),
    ("E0204", body("conv(8, 3x3, stride = 0)"), "stride = 0", "`stride` of `conv` is 0", "stride"),
    ("E0204", body("conv(8.5, 3x3)"), "8.5", "`filters` of `conv` is 8.5", "filters"),
    ("E0204", body("conv(8, 3x3, padding = sam)").replace("sam", '"sam"'), 'padding = "sam"', "'same'", ""),
    ("E0204", body("dropout(1.5)"), "1.5", "`rate` of `dropout` is 1.5", "rate"),
    ("E0204", "network n { input 3x0x8 -> relu }", "3x0x8", "from 1 to", ""),
    ("E0205", body("a: relu -> a: relu"), "a", "`a` is used twice", "line 3"),
    ("E0205", "block b { relu }\nblock b { relu }\nnetwork n { input 3x8x8 -> b }", "block b { relu }", "declared twice", ""),
    ("E0206", body("relu(3)"), "3", "`relu` takes no value by position", ""),
    ("E0206", body("conv(8, 3x3, 1, 2, 3, 4, 5)"), "1", "one more", "by keyword it takes"),
    ("E0206", body("conv(8, 3x3, filters = 9)"), "filters = 9", "given twice", ""),
    ("E0207", body("let a = 1 / 0"), "1 / 0", "division by zero", ""),
    ("E0207", body("repeat 2.5 { relu }"), "2.5", "found 2.5", ""),
    ("E0207", body("for i in 3 { relu }"), "3", "runs over a list", "range(3)"),
    ("E0208", body("{ | relu }"), "| relu", "outside a join", "add { | ... | ... }"),
    ("E0208", body("add"), "add", "joins several tensors", "add { | ... | ... }"),
    ("E0208", body("relu { | | }"), "relu", "does not join lanes", "add"),
    ("E0208", body("let act = none\n  act"), "act", "none, not a layer", "if act != none"),
    ("E0209", "block a { b }\nblock b { a }\nnetwork n { input 3x8x8 -> a }", "a", "a -> b -> a", "may not recurse"),
    ("E0209", "fn f(n) = f(n)\nnetwork n { input 3x8x8\n let a = f(1)\n relu }", "f(n)", "`f` calls itself", ""),
    ("E0209", "const a = b\nconst b = a\nnetwork n { input 3x8x8\n let c = a\n relu }", "const a = b", "a -> b -> a", ""),
    ("E0210", "network n { input 3x?x?\n let a = x.height + 1\n relu }", "x.height + 1", "only known when the network runs", "--shape"),
    ("E0211", body("stem: relu -> from stm"), "stm", "no tensor called `stm`", "`stem`"),
    ("E0211", "block b { from stem }\nnetwork n { input 3x8x8 -> stem: relu -> b }", "stem", "no tensor called", "pass this one"),
    ("E0212", "network n { relu }", "relu", "no tensor to work on", "input image"),
    ("E0212", "block b { relu }", None, "declares no network", "network NAME"),
    ("E0301", body("conv(8, 64x64)"), "conv(8, 64x64)", "64", "padding"),
    ("E0302", body("conv(8, 3x3, groups = 2)"), "conv(8, 3x3, groups = 2)", "groups", "1"),
    ("E0303", body("dense(10)"), "dense(10)", "3x32x32", "flatten"),
    ("E0304", body("conv(1, 3x3, weight = [[1, 2], [3, 4]])"), "conv(1, 3x3, weight = [[1, 2], [3, 4]])", "2x2", ""),
    ("E0311", body("add { | conv(8, 3x3) | conv(8, 5x5) }"), "add", "8x30x30", ""),
    ("E0311", body("concat { | conv(8, 3x3) | }"), "concat", "32x32", ""),
    ("E0312", body("channel_shuffle(2)"), "channel_shuffle(2)", "3", ""),
    ("E0317", body("concat split 2 { | | }"), "2", "3 channels do not split", "1, 3"),
    ("E0317", body("concat split 3 { | | }"), "3", "3 parts for 2 lanes", ""),
    ("E0501", body("repeat 200 { relu }"), "relu", "more than 100 layers", "`nodes`"),
    ("E0502", body("repeat 10 ** 12 { relu }"), "10 ** 12", "1_000_000_000_000", "`steps`"),
    ("E0503", body("let a = 9 ** 9 ** 9"), "9 ** 9 ** 9", "larger than", ""),
    ("E0505", "\n".join(f"block b{i} {{ b{i + 1} }}" for i in range(80)) + "\nblock b80 { relu }\nnetwork n { input 3x8x8 -> b0 }", "b64", "deeper than 64", ""),
    ("E0602", "from nowhere import thing\nnetwork n { input 3x8x8 -> relu }", "from nowhere import thing", "nowhere.net", "library"),
    ("E0602", "from common import nothing_like_it\nnetwork n { input 3x8x8 -> relu }", "nothing_like_it", "declares no", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "text", "underlined", "message", "help"), CASES, ids=lambda v: v if str(v)[:2] == "E0" else ""
)
def test_finding(code: str, text: str, underlined: str | None, message: str, help: str) -> None:
    (found,) = findings(text, Limits(nodes=100) if code == "E0501" else None)
    assert found.code == code
    assert message in found.message
    assert help in (found.help or "")
    if underlined is not None:
        assert found.span is not None
        assert found.span.text == underlined


def test_independent_errors_are_found_in_one_run() -> None:
    text = """network n {
      input image: 3x32x32
      preprocess resize(0) -> normalise(imagenet)
      conv(8, 3x3, pading = 1) -> batch_nrm -> relu
      let a = missing
      conv(a, 3x3)
      dense(10, unit = 3)
      expect y == 3
    }"""
    assert [found.code for found in findings(text)] == ["E0204", "E0202", "E0201", "E0201", "E0202"]


def test_what_follows_from_an_error_is_not_reported() -> None:
    text = body("stem: conv(8, 99x99) -> conv(8, 98x98)\n  add { | from stem | relu }\n  expect 8x8x8, params == 3")
    assert [found.code for found in findings(text)] == ["E0301"]


def test_an_error_in_a_block_is_reported_once_with_the_way_there() -> None:
    text = "block inner(k) { conv(8, k) }\nblock outer(k) { inner(k) }\nnetwork n {\n input 3x8x8\n repeat 3 { outer(99) }\n}"
    (found,) = findings(text)
    assert [name for name, _ in found.trace] == ["`outer` (0)", "`inner` (0.0)"]
    assert [span.source.position(span.start)[0] for _, span in found.trace] == [5, 2]


def test_text_form() -> None:
    with pytest.raises(netdsl.SpecError) as error:
        netdsl.loads(body("conv(8, 3x3, pading = 1)"))
    assert str(error.value) == (
        "error[E0202]: `conv` has no attribute `pading`\n"
        " --> <text>:3:16\n"
        "  |\n"
        "3 |   conv(8, 3x3, pading = 1)\n"
        "  |                ^^^^^^^^^^\n"
        "  = help: did you mean `padding`?"
    )


def test_a_long_way_is_cut_in_the_middle() -> None:
    blocks = "\n".join(f"block b{i} {{ b{i + 1} }}" for i in range(20))
    text = f"{blocks}\nblock b20 {{ conv(8, 99x99) }}\nnetwork n {{ input 3x8x8 -> b0 }}"
    (found,) = findings(text)
    assert len(found.trace) == 21
    shown = str(netdsl.SpecError([found])).split("\n")
    assert sum(" = in `b" in line for line in shown) == 8
    assert any("... 13 more calls ..." in line for line in shown)
