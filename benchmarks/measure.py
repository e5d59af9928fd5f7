"""Timing in alternating processes: A B A B ..., medians, and the machine named beside them."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def machine() -> str:
    """Processor, cores, system and Python: what a figure belongs to."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def slug() -> str:
    """The machine as a part of a file's name."""
    return "-".join(re.findall(r"[a-z0-9]+", machine().partition(", Python")[0].lower()))


def own_report(code: str, python: str = sys.executable) -> dict[str, float]:
    """Runs a program in a process of its own; the last line that it prints is a JSON object of figures."""
    done = subprocess.run([python, "-"], input=code, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it failed")
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def wall(command: Sequence[str]) -> float:
    """Seconds that a command takes as a whole."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def alternating(programs: dict[str, str], rounds: int, python: dict[str, str]) -> dict[str, dict[str, float]]:
    """The median of each figure of each program, the programs taking turns."""
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, code in programs.items():
            seen[name].append(own_report(code, python.get(name, sys.executable)))
    return {
        name: {key: statistics.median(report[key] for report in reports) for key in reports[0]}
        for name, reports in seen.items()
    }


def alternating_walls(commands: dict[str, Sequence[str]], rounds: int) -> dict[str, float]:
    """The median wall time of each command, after a warm-up, the commands taking turns."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            seconds = wall(command)
            if number:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}
