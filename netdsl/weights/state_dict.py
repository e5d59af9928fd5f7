"""Where in what a training script has saved the weights of the network are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netdsl.weights.errors import WeightError
from netdsl.weights.stored import shown
from netdsl.weights.torch_values import Tensor, Unreadable

KEYS = (
    "state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params", "model_state",
    "state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema",
)  # fmt: skip
"""Under which key scripts put the weights, the likeliest first."""

MAX_DEPTH = 4
"""How deep the weights may lie."""

Weights = dict[str, Tensor | Unreadable]


def found_in(value: Any, path: Path) -> tuple[Weights, tuple[str, ...]]:
    """The tensors by name, and a note where they lay under a key.

    The value itself is a state_dict, or holds one under one of KEYS or under the only key that has one. Whatever else
    it holds (counters, the state of an optimizer) is left out. Raises WeightError where there is none, or several.
    """
    if isinstance(value, Tensor | Unreadable):
        raise WeightError(
            "E0703", f"{path} holds a single tensor without a name", "torch.save({name: tensor, ...}, path) gives names"
        )
    if isinstance(value, dict) and not value:
        return {}, ()
    candidates = dict(_candidates(value, (), MAX_DEPTH))
    if () in candidates:
        return candidates[()], ()
    if not candidates:
        raise WeightError("E0703", f"{path} is a PyTorch file without named tensors in it", "save model.state_dict()")
    key = min(candidates, key=_rank)
    others = [other for other in candidates if other != key]
    if others and _rank(key)[0] == len(KEYS):
        raise WeightError(
            "E0702",
            f"{path} holds several sets of weights: {', '.join(_spelled(key) for key in list(candidates)[:8])}",
            "save the one that is meant: torch.save(content[KEY], 'weights.pth')",
        )
    note = f"the weights lie under {_spelled(key)}"
    if others:
        note += f"; not read: {', '.join(map(_spelled, others[:4]))}{', ...' if len(others) > 4 else ''}"
    return candidates[key], (note,)


def _candidates(value: Any, path: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], Weights]]:
    """Dictionaries of tensors by name, with the keys that lead to them; what lies in one of them is not looked at."""
    if not isinstance(value, dict):
        return
    tensors: Weights = {
        name: tensor
        for name, tensor in value.items()
        if isinstance(name, str) and isinstance(tensor, Tensor | Unreadable)
    }
    if tensors:
        yield path, tensors
    elif depth:
        for key, inner in value.items():
            if isinstance(key, str):
                yield from _candidates(inner, (*path, key), depth - 1)


def _rank(path: tuple[str, ...]) -> tuple[int, int]:
    return (KEYS.index(path[0]) if path[0] in KEYS else len(KEYS), len(path))


def _spelled(path: tuple[str, ...]) -> str:
    return "`" + shown(".".join(path)) + "`"
