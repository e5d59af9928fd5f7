"""The vocabulary of `preprocess`: what may be done to an image before it enters a network.

An image file is decoded to RGB (to gray where the network's input has one channel). Steps that move or mix pixels
(`resize`, `center_crop`, `pad_to`, `grayscale`, `invert`) work on its 8-bit values, as torchvision's transforms do on
a Pillow image. Where the first other step begins, or at the end, the values become float32 in [0, 1], channels first.
A 16-bit or floating-point image is float32 in [0, 1] from the start.

The models say what is done; `netdsl.images.apply` does it, so that a spec is checked without an array library.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

MAX_EXTENT = 65_536
"""Largest height or width that a step may ask for."""

Extent = Annotated[int, Field(ge=1, le=MAX_EXTENT)]
Size = Extent | tuple[Extent, Extent]
Values = FiniteFloat | tuple[FiniteFloat, ...]
Interpolation = Literal["bilinear", "bicubic", "nearest"]


class Step(BaseModel):
    """Base of all preprocessing steps: a frozen model whose fields are the arguments in a spec."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", defer_build=True)

    kind: ClassVar[str]
    """The name of the step in a spec."""
    positional: ClassVar[tuple[str, ...]] = ()
    """Arguments that may be given by position, in this order."""
    reference: ClassVar[str]
    """Where the exact definition comes from."""

    @classmethod
    def option_words(cls) -> frozenset[str]:
        """The words that some argument takes for a value (`imagenet`), which a spec may write without quotes."""
        return frozenset(word for field in cls.model_fields.values() for word in _words(field.annotation))

    def __str__(self) -> str:
        """The step as it is written in a spec, defaults left out."""
        arguments: list[str] = []
        leading = True
        for name in dict.fromkeys((*self.positional, *type(self).model_fields)):
            value = getattr(self, name)
            if not type(self).model_fields[name].is_required() and value == type(self).model_fields[name].default:
                leading = False
            else:
                leading = leading and name in self.positional
                arguments.append(_spelled(value) if leading else f"{name} = {_spelled(value)}")
        return f"{self.kind}({', '.join(arguments)})" if arguments else self.kind


def _words(annotation: Any) -> set[str]:
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal:
        return {word for word in arguments if isinstance(word, str)}
    return {word for argument in arguments for word in _words(argument)}


def _spelled(value: Any) -> str:
    if isinstance(value, tuple):
        if len(value) == 2 and all(isinstance(extent, int) for extent in value):
            return "x".join(map(str, value))
        return f"[{', '.join(map(_spelled, value))}]"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class Resize(Step):
    """Resizes with an antialiasing filter (Pillow's).

    An int is the size of the shorter side, and the longer one keeps the proportions, rounded down:
    int(size * longer / shorter). A pair is height x width, whatever the proportions.
    """

    kind: ClassVar[str] = "resize"
    positional: ClassVar[tuple[str, ...]] = ("size", "interpolation")
    reference: ClassVar[str] = "torchvision.transforms.Resize on a Pillow image"

    size: Size = Field(description="Pixels of the shorter side, or height x width.")
    interpolation: Interpolation = Field("bilinear", description="Filter: bilinear, bicubic or nearest.")


class CenterCrop(Step):
    """Cuts out the middle; what is larger than the image is filled with black.

    The first row is round((height - size) / 2), halves to the even number, and the first column likewise.
    """

    kind: ClassVar[str] = "center_crop"
    positional: ClassVar[tuple[str, ...]] = ("size",)
    reference: ClassVar[str] = "torchvision.transforms.CenterCrop"

    size: Size = Field(description="Pixels of each side, or height x width.")


class PadTo(Step):
    """Centers the image on a larger canvas of one value; an odd pixel goes to the bottom and right.

    E.g. the 28x28 digits of MNIST on the 32x32 that LeNet-5 reads.
    """

    kind: ClassVar[str] = "pad_to"
    positional: ClassVar[tuple[str, ...]] = ("size", "value")
    reference: ClassVar[str] = "LeCun et al. 1998, section II.B"

    size: Size = Field(description="Pixels of each side, or height x width.")
    value: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description="What surrounds it: 0 is black, 1 is white.")


class Grayscale(Step):
    """Gray by the luma of ITU-R BT.601: 0.299 red + 0.587 green + 0.114 blue. A gray image stays as it is."""

    kind: ClassVar[str] = "grayscale"
    positional: ClassVar[tuple[str, ...]] = ("channels",)
    reference: ClassVar[str] = "ITU-R BT.601; torchvision.transforms.Grayscale"

    channels: Literal[1, 3] = Field(1, description="1, or 3 equal ones.")


class Invert(Step):
    """Turns light into dark: 1 - x. E.g. ink on paper to MNIST's white digits on black."""

    kind: ClassVar[str] = "invert"
    reference: ClassVar[str] = "PIL.ImageOps.invert"


class Normalize(Step):
    """Centers and scales each channel: y = (x - mean) / std, with x in [0, 1].

    Named statistics: `imagenet` is mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225), of RGB; `inception` is
    0.5 and 0.5, so [-1, 1]; `caffe` takes 255 x in the order blue, green, red and subtracts (103.939, 116.779,
    123.68), as the first published VGG and ResNet weights want it.
    """

    kind: ClassVar[str] = "normalize"
    positional: ClassVar[tuple[str, ...]] = ("statistics",)
    reference: ClassVar[str] = "torchvision.transforms.Normalize; Simonyan & Zisserman 2014, section 2.1, for caffe"

    statistics: Literal["imagenet", "inception", "caffe"] | None = Field(None, description="Published statistics.")
    mean: Values | None = Field(None, description="One number, or one for each channel.")
    std: Values | None = Field(None, description="One number, or one for each channel; 1 where only a mean is given.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        stated = self.mean is not None or self.std is not None
        if stated == (self.statistics is not None):
            raise ValueError("either named statistics (imagenet, inception, caffe) or mean and std")
        if self.mean is None and self.std is not None:
            raise ValueError("std without mean: write mean = 0 if none is subtracted")
        deviations = self.std if isinstance(self.std, tuple) else (self.std,)
        if any(value is not None and value <= 0 for value in deviations):
            raise ValueError("std should be greater than 0")
        return self


class Rescale(Step):
    """Maps [0, 1] linearly: y = scale * x + offset. E.g. `rescale(255)` for networks that read bytes."""

    kind: ClassVar[str] = "rescale"
    positional: ClassVar[tuple[str, ...]] = ("scale", "offset")
    reference: ClassVar[str] = "Keras Rescaling"

    scale: FiniteFloat = Field(description="Factor.")
    offset: FiniteFloat = Field(0.0, description="What is added after it.")


PREPROCESS: dict[str, type[Step]] = {
    cls.kind: cls for cls in (Resize, CenterCrop, PadTo, Grayscale, Invert, Normalize, Rescale)
}
"""Every preprocessing step by the name it has in a spec."""


def option_words() -> frozenset[str]:
    """The words that some argument of some step takes for a value."""
    return frozenset(word for step in PREPROCESS.values() for word in step.option_words())
