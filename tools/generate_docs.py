"""Writes the pages of the documentation that say what the code says: layers, errors, the library.

    python tools/generate_docs.py            writes them
    python tools/generate_docs.py --check    writes nothing; exit status 1 where one is out of date

docs/layers/*.md, docs/errors.md and docs/library.md are written whole; of language.md, commands.md, data.md,
augmentation.md and speed.md, what stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typing_extensions import TypeAliasType

from netdsl.cli.main import COMMANDS, cli
from netdsl.data import AUGMENT, SOURCES
from netdsl.elaborate import Limits
from netdsl.elaborate.catalogue import rows, story_of
from netdsl.elaborate.modules import Loader
from netdsl.images.steps import PREPROCESS
from netdsl.ir import Layer
from netdsl.language.codes import CODES
from netdsl.layers import (
    activation,
    adaptive_pool,
    arithmetic,
    conv,
    conv_transpose,
    dense,
    join,
    lenet,
    matmul,
    norm,
    pad,
    pool,
    reduce,
    regularisation,
    resample,
    reshape,
    response_norm,
    scale,
    std_conv,
)
from netdsl.layers.vocabulary import LAYERS
from netdsl.resources import library_path
from netdsl.train.recipe_parts import OPTIMIZERS, SCHEDULES, Part

DOCS = Path(__file__).resolve().parent.parent / "docs"
FAMILIES = {
    "conv": ("Convolution", (conv, std_conv, conv_transpose)),
    "dense": ("Dense layers", (dense,)),
    "pool": ("Pooling", (pool, adaptive_pool)),
    "norm": ("Normalization", (norm, response_norm)),
    "activation": ("Activation", (activation,)),
    "arithmetic": ("Arithmetic", (arithmetic, reduce)),
    "join": ("Joins", (join, matmul)),
    "reshape": ("Rearrangement", (reshape, pad)),
    "resample": ("Resampling", (resample,)),
    "scale": ("Scales and shifts", (scale,)),
    "regularisation": ("Regularization", (regularisation,)),
    "lenet": ("LeNet-5 of 1998", (lenet,)),
}
"""Page, title and the modules of netdsl/layers that it is about."""
NOTE = "<!-- Written by tools/generate_docs.py from {source}; change it there. -->\n"


# ------------------------------------------------------------------------------------------------------------- models


def spelled(value: Any) -> str:
    """A value as a spec writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        if len(value) > 1 and all(isinstance(item, int) for item in value):
            return "x".join(map(str, value))
        return f"[{', '.join(map(spelled, value))}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def wanted(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What an attribute takes, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, TypeAliasType):
        return "number or nested lists"
    if origin is Annotated:
        extra = [item for meta in arguments[1:] for item in getattr(meta, "metadata", [meta])]
        return wanted(arguments[0], extra)
    if origin in (Union, types.UnionType):
        parts = [wanted(part, metadata) for part in arguments if part is not type(None)]
        if type(None) in arguments:
            parts.append("`none`")
        return " or ".join(dict.fromkeys(parts))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        inner = [part for part in arguments if part is not Ellipsis]
        if get_origin(inner[0]) in (Union, types.UnionType):
            return "list of these"
        plural = {"whole number": "whole numbers", "number": "numbers"}
        word = re.sub(r"[ ,].*", "", wanted(inner[0])) if "list" not in wanted(inner[0]) else "lists"
        word = {"whole": "whole numbers"}.get(word, plural.get(word, word))
        return f"list of {word}"
    least = [getattr(item, "ge", None) for item in metadata if getattr(item, "ge", None) is not None]
    most = [getattr(item, "le", None) for item in metadata if getattr(item, "le", None) is not None]
    above = [getattr(item, "gt", None) for item in metadata if getattr(item, "gt", None) is not None]
    if annotation is bool:
        return "`true`, `false`"
    if annotation is int:
        return "whole number" + (f" from {least[0]}" if least else "")
    if annotation is float:
        if least and most:
            return f"number from {spelled(float(least[0]))} to {spelled(float(most[0]))}"
        return "number" + (f" above {spelled(float(above[0]))}" if above else "")
    return "text"


def attributes(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """Those that go by position first."""
    positional: tuple[str, ...] = getattr(model, "positional", ())
    fields = model.model_fields
    return [(name, fields[name]) for name in [*positional, *(n for n in fields if n not in positional)]]


def signature(model: type[BaseModel], name: str) -> str:
    """`conv(filters, kernel; stride = 1, ...)`: what stands in front of the semicolon may be given by position."""
    positional: tuple[str, ...] = getattr(model, "positional", ())
    shown: tuple[list[str], list[str]] = ([], [])
    for attribute, field in attributes(model):
        text = attribute if field.is_required() else f"{attribute} = {spelled(field.default)}"
        shown[attribute not in positional].append(text)
    inside = ", ".join(shown[0]) + ("; " + ", ".join(shown[1]) if shown[1] else "")
    return f"{name}({inside.strip()})" if inside else name


def story(model: type[BaseModel], without: str | None = None) -> str:
    """The docstring, one line a paragraph. `without` names the sentences that are left out, by a pattern."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", inspect.getdoc(model) or "")]
    if without:
        paragraphs = [re.sub(without, "", paragraph).strip() for paragraph in paragraphs]
    return "\n\n".join(escaped(paragraph) for paragraph in paragraphs if paragraph)


def escaped(text: str) -> str:
    """Prose of the code as Markdown: outside of backticks, what Markdown would take for emphasis or HTML is kept."""
    parts = text.split("`")
    for index in range(0, len(parts), 2):
        parts[index] = parts[index].replace("*", "\\*").replace("<", "&lt;")
    return "`".join(parts)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(cells).replace("\n", " ") + " |" for cells in [head, rule, *lines]) + "\n"


def attribute_table(model: type[BaseModel]) -> str:
    lines = []
    for name, field in attributes(model):
        default = "" if field.is_required() else f"`{spelled(field.default)}`"
        lines.append([f"`{name}`", wanted(field.annotation, field.metadata), default, escaped(field.description or "")])
    return table(["attribute", "takes", "default", "meaning"], lines) if lines else ""


def attribute_list(model: type[BaseModel]) -> str:
    return "\n".join(
        f"- `{name}`: {escaped(field.description or '')}" for name, field in attributes(model) if field.description
    )


# -------------------------------------------------------------------------------------------------------------- pages


def layer_page(family: str, title: str, kinds: Sequence[str]) -> str:
    text = NOTE.format(source=f"netdsl/layers/{family}.py") + f"\n# {title}\n"
    for kind in kinds:
        layer = LAYERS[kind]
        text += f"\n## {kind}\n\n`{signature(layer, kind)}`\n\n{story(layer)}\n\n"
        text += attribute_table(layer)
        text += f"\nSource: {escaped(layer.reference)}.\n"
    return text


def layer_index() -> str:
    text = NOTE.format(source="netdsl/layers") + "\n# Layers\n\n"
    text += "Shapes are those of one image, without the batch: `C` channels, then the spatial extents. What stands in\n"
    text += "front of the semicolon of a signature may be given by position. 1 MAC is 2 FLOPs.\n"
    for family, title, kinds in families():
        text += f"\n## [{title}]({family}.md)\n\n"
        lines = [[f"[`{kind}`]({family}.md#{kind})", story(LAYERS[kind]).split("\n\n")[0]] for kind in kinds]
        text += table(["layer", "what it does"], lines)
    return text


def families() -> list[tuple[str, str, list[str]]]:
    """Page, title and names of the layers of each family."""
    found = []
    for page, (title, modules) in FAMILIES.items():
        listed: list[type[Layer]] = [layer for module in modules for layer in module.LAYERS]
        found.append((page, title, [layer.kind for layer in listed]))
    # `input` is a statement of its own, not a step.
    missing = LAYERS.keys() - {"input"} - {kind for _, _, kinds in found for kind in kinds}
    assert not missing, f"on no page: {sorted(missing)}; add their module to FAMILIES"
    return found


def errors_page() -> str:
    text = NOTE.format(source="netdsl/language/codes.py")
    text += "\n# Errors\n\nEvery error has a code. `netdsl explain E0301` tells its story; this page has them all.\n"
    text += "\n" + table(["code", "meaning"], [[f"[{code}](#{code.lower()})", CODES[code].title] for code in CODES])
    for code, entry in CODES.items():
        text += f'\n<a id="{code.lower()}"></a>\n\n## {code}: {entry.title}\n\n{entry.story.strip()}\n'
        for heading, example in (("For example:", entry.example), ("Mended:", entry.mended)):
            if example:
                text += f"\n{heading}\n\n```text\n{example.strip(chr(10))}\n```\n"
    return text


def number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def library_page() -> str:
    found = rows()
    files = list(dict.fromkeys(row["file"] for row in found))
    files.sort(key=lambda file: ("/" in file, file))
    text = NOTE.format(source="specs")
    text += f"\n# The library\n\n{len(found)} networks in {len(files)} files, by name: `netdsl summary resnet50`.\n"
    text += "MACs are those of convolution and dense layers, for one image of the size given.\n"
    loader = Loader()
    for file in files:
        module = loader.file(library_path() / f"{file}.net")
        opening = story_of(module.syntax).split("\n\n")[0]
        text += f"\n## {file}.net\n\n{escaped(' '.join(opening.split()))}\n\n"
        lines = []
        for row in found:
            if row["file"] == file:
                shapes = row["input"] if isinstance(row["input"], dict) else {"": row["input"]}
                shown = ", ".join("x".join("?" if e is None else str(e) for e in shape) for shape in shapes.values())
                year = str(row["year"] or "")
                lines.append([f"`{row['name']}`", year, shown, number(row["parameters"]), number(row["macs"])])
        text += table(["name", "year", "input", "parameters", "MACs"], lines)
    return text


# ------------------------------------------------------------------------------- parts of the reference of the language


def layers_part() -> str:
    text = ""
    for _, title, kinds in families():
        text += f"### {title}\n\n"
        for kind in kinds:
            layer = LAYERS[kind]
            told = story(layer, without=r"\s*(?:\b[Ee]rrors: .*|Errors: .*)$")
            text += f"**`{signature(layer, kind)}`**\n{told}\n\n"
            listed = attribute_list(layer)
            text += f"{listed}\n\n" if listed else ""
    return text


def preprocess_part() -> str:
    text = ""
    for name, step in PREPROCESS.items():
        text += f"**`{signature(step, name)}`**\n{story(step)}\n\n"
        listed = attribute_list(step)
        text += f"{listed}\n\n" if listed else ""
    return text


def augment_part() -> str:
    text = ""
    for name, step in AUGMENT.items():
        text += f"**`{signature(step, name)}`**\n{story(step)} After {escaped(step.reference)}.\n\n"
        listed = attribute_list(step)
        text += f"{listed}\n\n" if listed else ""
    return text


def sources_part() -> str:
    text = ""
    for name, source in SOURCES.items():
        text += f"**`{signature(source, name)}`**\n{story(source)}\n\n{attribute_list(source)}\n\n"
    return text


def recipe_parts(table: Mapping[str, type[Part]]) -> str:
    text = ""
    for name, part in table.items():
        told = f"{story(part)} After {escaped(part.reference)}."
        text += f"**`{signature(part, name)}`**\n{told}\n\n{attribute_list(part)}\n\n"
    return text


def optimizers_part() -> str:
    return recipe_parts(OPTIMIZERS)


def schedules_part() -> str:
    return recipe_parts(SCHEDULES)


def limits_part() -> str:
    source = inspect.getsource(Limits)
    lines = []
    for name in Limits.__slots__:
        meaning = re.search(rf'{name}: int = [^\n]*\n\s+"""(.*?)"""', source, re.DOTALL)
        assert meaning, f"Limits.{name} has no docstring"
        lines.append([f"`{name}`", f"{getattr(Limits(), name):,}", " ".join(meaning[1].split())])
    return table(["limit", "default", "meaning"], lines)


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Commands, and behind each group those in it, as they are typed."""
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            for inner in command.commands.values():
                yield f"{name} {inner.name}", inner


def commands_part() -> str:
    text = ""
    for name, command in every_command():
        if isinstance(command, click.Group):
            text += f"### netdsl {name}\n\n{escaped(' '.join((command.help or '').split()))}\n\n"
            continue
        arguments = [p for p in command.params if isinstance(p, click.Argument)]
        usage = " ".join(["netdsl", name, *(p.make_metavar(click.Context(command)) for p in arguments)])
        told = [line for line in inspect.cleandoc(command.help or "").replace("\b\n", "").split("\n\n") if line]
        text += f"### netdsl {name}\n\n`{usage} [OPTIONS]`\n\n"
        for part in told:
            is_example = all(line.startswith("netdsl ") for line in part.splitlines())
            text += f"```text\n{part}\n```\n\n" if is_example else escaped(" ".join(part.split())) + "\n\n"
        lines = []
        for option in command.params:
            if isinstance(option, click.Option):
                takes = option.metavar or (
                    "" if option.is_flag else ", ".join(option.type.choices)
                    if isinstance(option.type, click.Choice) else "N"
                )  # fmt: skip
                default = f" Default: {option.default}." if option.show_default else ""
                written = ", ".join(f"`{flag}`" for flag in option.opts)
                told_here = escaped((option.help or "") + default)
                lines.append([written, f"`{takes}`" if takes else "", told_here.strip()])
        text += table(["option", "takes", "meaning"], lines) + "\n" if lines else ""
    return text


def speed_part() -> str:
    """A table for each machine whose figures are in benchmarks/results."""
    found = sorted((DOCS.parent / "benchmarks" / "results").glob("inference-*.json"))
    tables = [speed_table(json.loads(path.read_text(encoding="utf-8"))) for path in found]
    return "\n\n".join(tables) or "No figures have been saved yet."


def speed_table(result: dict[str, Any]) -> str:
    """Milliseconds of each engine, and in brackets how many of native's answers a peer's one takes."""
    engines = [
        name for name in ("native", "numpy", "torch", "onnxruntime") if any(name in row for row in result["rows"])
    ]
    titles = {"torch": "PyTorch eager", "onnxruntime": "ONNX Runtime"}
    lines = [
        f"{result['machine']}; milliseconds, in brackets how many times native's.",
        "",
        f"| Network | Batch | Threads | {' | '.join(titles.get(name, name) for name in engines)} |",
        f"|---|{'---:|' * (2 + len(engines))}",
    ]
    for row in result["rows"]:
        cells = [
            "" if name not in row
            else figure(row[name]) if name == "native"
            else f"{figure(row[name])} ({row[name] / row['native']:.2f}x)"
            for name in engines
        ]  # fmt: skip
        lines.append(f"| {row['network']} | {row['batch']} | {row['threads']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(milliseconds: float) -> str:
    """Three digits that mean something."""
    return f"{milliseconds:.{max(0, 2 - math.floor(math.log10(milliseconds)))}f}"


PARTS = {
    "commands": commands_part, "layers": layers_part, "preprocess": preprocess_part, "limits": limits_part,
    "augment": augment_part, "sources": sources_part,
    "optimizers": optimizers_part, "schedules": schedules_part, "speed": speed_part,
}  # fmt: skip


def with_parts(text: str) -> str:
    """A page with its generated parts renewed."""

    def renewed(match: re.Match[str]) -> str:
        return f"{match[1]}\n\n{PARTS[match[2]]().strip()}\n\n<!-- end -->"

    return re.sub(r"(<!-- generated: (\w+) -->).*?<!-- end -->", renewed, text, flags=re.DOTALL)


def pages() -> dict[Path, str]:
    """Every page that is generated, with its text."""
    made = {DOCS / "layers" / f"{family}.md": layer_page(family, title, kinds) for family, title, kinds in families()}
    made[DOCS / "layers" / "index.md"] = layer_index()
    made[DOCS / "errors.md"] = errors_page()
    made[DOCS / "library.md"] = library_page()
    for page in (
        DOCS / name for name in ("language.md", "commands.md", "data.md", "augmentation.md", "training.md", "speed.md")
    ):
        made[page] = with_parts(page.read_text(encoding="utf-8"))
    return made


def main(arguments: list[str]) -> int:
    made = pages()
    stale = [path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    stale += [path for path in (DOCS / "layers").glob("*.md") if path not in made]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(DOCS.parent)} is out of date: run python tools/generate_docs.py")
        return 1 if stale else 0
    for path in stale:
        if path in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path], encoding="utf-8")
            print(f"wrote {path.relative_to(DOCS.parent)}")
        else:
            path.unlink()
            print(f"removed {path.relative_to(DOCS.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
