"""Files, loaded and linked with those that they import from."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from netdsl.elaborate.linked import LoadedModule
from netdsl.language import syntax
from netdsl.language.diagnostics import CodedError, Diagnostic, SpecError, did_you_mean, fail
from netdsl.language.parser import MAX_FILE_BYTES, parse
from netdsl.language.source import Source
from netdsl.resources import library_path


class FileError(CodedError):
    """A file cannot be read."""


def read(path: Path, name: str | None = None, max_bytes: int = MAX_FILE_BYTES) -> Source:
    """The source in a file. Raises FileError."""
    shown = name or str(path)
    try:
        if path.is_dir():
            raise FileError("E0605", f"{shown} is a directory", "name a `.net` file in it")
        size = path.stat().st_size
        if size > max_bytes:
            message = f"{shown} has {size:,} bytes, and at most {max_bytes:,} are read"
            raise FileError("E0103", message, "is this a `.net` file?")
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileError("E0601", f"there is no file {shown}") from None
    except OSError as error:
        raise FileError("E0605", f"{shown} cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise FileError("E0601", f"{shown!r} is not the name of a file") from None
    if b"\0" in data:
        raise FileError("E0102", f"{shown} is a binary file, not the text of a network")
    try:
        return Source(data.decode("utf-8-sig"), shown)
    except UnicodeDecodeError as error:
        raise FileError("E0607", f"{shown} is not UTF-8 text (byte {error.start})") from None


def _library_name(path: Path) -> str | None:
    """What a file of the library is called in messages, wherever netdsl is installed; None for other files."""
    library = library_path()
    return f"specs/{path.relative_to(library).as_posix()}" if path.is_relative_to(library) else None


@lru_cache(maxsize=256)
def _parsed(text: str, name: str) -> syntax.Module:
    return parse(Source(text, name))


class Loader:
    """Loads files and what they import, each once."""

    def __init__(self) -> None:
        self._loaded: dict[Path, LoadedModule] = {}
        self._loading: list[Path] = []
        self.wanted: set[Path] = set()
        """Every file that was looked at or looked for, found or not: what a change of any of them may change."""

    def file(self, path: Path, name: str | None = None) -> LoadedModule:
        """The module in a file. Raises FileError, or SpecError for what is wrong inside."""
        resolved = path.resolve()
        self.wanted.add(resolved)
        if resolved not in self._loaded:
            source = read(path, name)
            self._loading.append(resolved)
            try:
                self._loaded[resolved] = self.source(source, resolved.parent)
            finally:
                self._loading.pop()
        return self._loaded[resolved]

    def source(self, source: Source, folder: Path | None) -> LoadedModule:
        """The module of a text; imports are looked for in `folder`, then in the library."""
        tree = _parsed(source.text, source.name)
        module = LoadedModule(tree, folder)
        errors = []
        for declaration in tree.declarations:
            try:
                if isinstance(declaration, syntax.Import):
                    self._import(declaration, module)
                else:
                    self._declare(declaration.name, declaration, module, module, declaration)
            except SpecError as error:
                errors += error.diagnostics
        if errors:
            raise SpecError(errors)
        return module

    def _declare(
        self,
        name: str,
        declaration: syntax.Declaration,
        owner: LoadedModule,
        module: LoadedModule,
        place: syntax.Syntax,
    ) -> None:
        if isinstance(declaration, syntax.Network | syntax.Block | syntax.Function):
            names = [parameter.name for parameter in declaration.parameters or ()]
            twice = next(
                (parameter for parameter in declaration.parameters or () if names.count(parameter.name) > 1), None
            )
            if twice is not None and owner is module:
                message = f"`{name}` has two parameters called `{twice.name}`"
                raise fail("E0205", message, module.syntax.span(twice))
        # A recipe may have the name of a network: it is asked for in another way.
        key = f"recipe {name}" if isinstance(declaration, syntax.Recipe) else name
        if key in module.declarations:
            raise fail("E0205", f"`{name}` is declared twice in this file", module.syntax.span(place))
        module.declarations[key] = (declaration, owner)

    def _import(self, node: syntax.Import, module: LoadedModule) -> None:
        span = module.syntax.span(node)
        relative = Path(*node.name.split(".")).with_suffix(".net")
        folders = [folder for folder in (module.folder, library_path()) if folder is not None]
        self.wanted.update((folder / relative).resolve() for folder in folders)
        path = next((folder / relative for folder in folders if (folder / relative).is_file()), None)
        if path is None:
            known = {
                p.relative_to(f).with_suffix("").as_posix().replace("/", ".") for f in folders for p in f.glob("*.net")
            }
            help = did_you_mean(node.name, known) or "imports are looked for next to this file, then in the library"
            raise fail("E0602", f"there is no file {relative.as_posix()} to import from", span, help)
        if path.resolve() in self._loading:
            chain = " -> ".join(p.name for p in [*self._loading, path.resolve()])
            raise fail("E0603", f"files import each other in a circle: {chain}", span)
        try:
            imported = self.file(path, _library_name(path))
        except FileError as error:
            raise fail(error.code, error.message, span, error.help) from None
        errors: list[Diagnostic] = []
        for item in node.names:
            found = imported.declarations.get(item.name)
            if found is None:
                message = f"{relative.as_posix()} declares no `{item.name}`"
                near = did_you_mean(item.name, imported.declarations)
                errors.append(Diagnostic("E0602", message, module.syntax.span(item), near))
                continue
            self._declare(item.alias or item.name, found[0], found[1], module, item)
        if errors:
            raise SpecError(errors)
