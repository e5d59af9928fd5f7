"""From LLVM IR to machine code, by LLVM. Imported when code must be compiled, or loaded as an object file."""

from __future__ import annotations

from threading import Lock

import llvmlite.binding as llvm

from netdsl.backends.native.elf import flattened
from netdsl.backends.native.image import loadable, packed
from netdsl.backends.native.target import Target

_lock = Lock()
_ready = False


def _machine(target: Target, relocation: str = "default", model: str = "jitdefault") -> llvm.TargetMachine:
    global _ready
    if not _ready:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        _ready = True
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc=relocation, codemodel=model
    )


def compiled(text: str, target: Target) -> bytes:
    """The code of a module of LLVM IR: a block that can lie anywhere where that is possible, else an object file."""
    with _lock:
        if loadable():
            block = flattened(_object(text, _machine(target, "pic", "small")))
            found = None if block is None else packed(block)
            if found is not None:
                return found
        return _object(text, _machine(target))


def _object(text: str, machine: llvm.TargetMachine) -> bytes:
    """The object file of a module."""
    module = llvm.parse_assembly(text)
    module.triple = llvm.get_default_triple()
    module.data_layout = str(machine.target_data)
    module.verify()
    _optimized(module, machine)
    return bytes(machine.emit_object(module))


def _optimized(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """Variables to registers, and what follows from that.

    The loops are written with vectors and unrolled as they should be; the general pipeline takes ten times as long over
    them and finds nothing.
    """
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes = llvm.create_new_module_pass_manager()
    for name in ("sroa", "simplify_cfg", "instruction_combine", "loop_rotate", "simplify_cfg", "instruction_combine"):
        getattr(passes, f"add_{name}_pass")()
    passes.run(module, builder)


class LinkedCode:
    """Functions of an object file, loaded by LLVM; they stay as long as this does."""

    def __init__(self, data: bytes, target: Target) -> None:
        """Raises RuntimeError for what is no object file."""
        with _lock:
            self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(target))
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(data))
            self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Where the function `name` begins. Raises KeyError."""
        address = int(self._engine.get_function_address(name))
        if not address:
            raise KeyError(name)
        return address
