"""What the processor can do, by LLVM's names."""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
"""Where Linux tells what it and the processor allow."""
_OTHER_NAMES = {"abm": "lzcnt", "bmi1": "bmi"}
"""Linux's name -> LLVM's, where they are not the same but for - and _."""


def host_features() -> frozenset[str]:
    """The features of this processor; none where that cannot be found out."""
    found = linux_features()
    return _llvm_features() if found is None else found


def linux_features() -> frozenset[str] | None:
    """What Linux says about the first processor; None where it says nothing."""
    try:
        with CPUINFO.open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                name, _, flags = line.partition(":")
                if name.strip() == "flags":
                    return frozenset(_OTHER_NAMES.get(flag, flag.replace("_", "-")) for flag in flags.split())
    except OSError:
        pass
    return None


def _llvm_features() -> frozenset[str]:
    """What LLVM sees."""
    import llvmlite.binding as llvm

    try:
        return frozenset(name for name, there in dict(llvm.get_host_cpu_features()).items() if there)
    except RuntimeError:
        return frozenset()
