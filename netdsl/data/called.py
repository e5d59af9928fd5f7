"""What `data` and `augment` of a recipe call: models whose fields are the arguments of the call."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from netdsl.layers.vocabulary import option_words_of


class Called(BaseModel):
    """Base of sources and augmentations: a frozen model."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", defer_build=True)

    kind: ClassVar[str]
    """The name in a recipe."""
    positional: ClassVar[tuple[str, ...]] = ()
    """Arguments that may be given by position, in this order."""

    def __str__(self) -> str:
        """The call as it is written in a recipe, defaults left out."""
        words = option_words_of(type(self))
        shown: list[str] = []
        leading = True
        for name in dict.fromkeys((*self.positional, *type(self).model_fields)):
            field, value = type(self).model_fields[name], getattr(self, name)
            if not field.is_required() and value == field.default:
                leading = False
                continue
            leading = leading and name in self.positional
            text = value if value in words.get(name, ()) else _spelled(value)
            shown.append(text if leading else f"{name} = {text}")
        return f"{self.kind}({', '.join(shown)})" if shown else self.kind


def _spelled(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        if len(value) == 2 and all(isinstance(part, int) and part > 0 for part in value):
            return "x".join(map(str, value))
        return f"[{', '.join(map(_spelled, value))}]"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)
