"""The vocabulary of `augment`: what may be done to an image, at random, before a network is trained on it.

Geometric steps that stand together are one run: they compose into one matrix, and the image is sampled once. Steps of
colour work on values from 0 (black) to 1 (white). `mixup` and `cutmix` mix the images of a batch, and stand at the end.

Every number that is drawn hangs on (seed, epoch, number of the image, place of the step) alone: the same seed gives the
same images, whatever the order in which they are made. "In a range" means: each value of it is as likely.

The models say what is done; `netdsl.data.augment.apply` does it, so that a recipe is checked without an array library.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from netdsl.data.called import Called
from netdsl.images.steps import Size

Chance = Annotated[float, Field(ge=0, le=1)]
Unit = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
Amount = Annotated[FiniteFloat, Field(ge=0)]
Border = Literal["constant", "edge", "reflect", "symmetric"]

_MODE = "What lies beyond the image: constant, edge, reflect or symmetric; if not said, as at other steps of the run."
_FILL = "The value beyond the image, for constant: 0 (black, if not said) to 1 (white)."


class Augmentation(Called):
    """Base of all steps: a frozen model whose fields are the arguments in a recipe."""

    reference: ClassVar[str]
    """Where the exact definition comes from."""


class Geometric(Augmentation):
    """Base of the steps that move pixels. Angles and shifts are of the content: a turn by 15 turns what is seen."""


class Bordered(Geometric):
    """Base of the geometric steps that can bring what lies beyond the image into view."""

    mode: Border | None = Field(None, description=_MODE)
    fill: Unit | None = Field(None, description=_FILL)

    @model_validator(mode="after")
    def _fill_is_constant(self) -> Self:
        if self.fill is not None and self.mode not in (None, "constant"):
            raise ValueError(f"`fill` is for the mode constant, not for {self.mode}")
        return self


class RandomFlip(Geometric):
    """Mirrors left and right."""

    kind: ClassVar[str] = "random_flip"
    positional: ClassVar[tuple[str, ...]] = ("probability",)
    reference: ClassVar[str] = "Krizhevsky et al. 2012, section 4.1; torchvision RandomHorizontalFlip"

    probability: Chance = Field(0.5, description="The chance that it is done.")


class RandomVerticalFlip(Geometric):
    """Mirrors top and bottom. For images without an up and a down: cells, satellites."""

    kind: ClassVar[str] = "random_vertical_flip"
    positional: ClassVar[tuple[str, ...]] = ("probability",)
    reference: ClassVar[str] = "torchvision RandomVerticalFlip"

    probability: Chance = Field(0.5, description="The chance that it is done.")


class RandomCrop(Bordered):
    """Cuts out a piece of a fixed size at a random place of the image, which `padding` surrounds.

    It takes the place of the last `center_crop` of the network's `preprocess`, unless `padding` surrounds the image: a
    piece as large as the crop would leave no choice. An image that is too small lies at a random place of the piece.
    """

    kind: ClassVar[str] = "random_crop"
    positional: ClassVar[tuple[str, ...]] = ("size",)
    reference: ClassVar[str] = "He et al. 2016, section 4.2 (padding 4 on CIFAR-10); torchvision RandomCrop"

    size: Size = Field(description="Pixels of each side, or height x width.")
    padding: Annotated[int, Field(ge=0, le=65_536)] = Field(0, description="Pixels that surround the image first.")


class RandomResizedCrop(Geometric):
    """Cuts out a piece of random area and proportions, and resizes it.

    The area is a part of the image's in the range `scale`; width / height is in the range `ratio`, its logarithm as
    likely everywhere. Ten tries, then the largest piece in the middle whose proportions are in the range. It takes
    the place of `resize` and `center_crop` of the network's `preprocess`: the piece is cut from the whole image.
    """

    kind: ClassVar[str] = "random_resized_crop"
    positional: ClassVar[tuple[str, ...]] = ("size",)
    reference: ClassVar[str] = "Szegedy et al. 2015, section 6; torchvision RandomResizedCrop"

    size: Size = Field(description="Pixels of each side, or height x width.")
    scale: tuple[Positive, Positive] = Field((0.08, 1.0), description="Least and greatest part of the area.")
    ratio: tuple[Positive, Positive] = Field((0.75, 4 / 3), description="Least and greatest width / height.")

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if self.scale[0] > self.scale[1] or self.scale[1] > 1:
            raise ValueError("scale should be two parts of the area, the smaller one first, up to 1")
        if self.ratio[0] > self.ratio[1]:
            raise ValueError("ratio should have the smaller one first")
        return self


class Rotate(Bordered):
    """Turns about the middle by an angle in the range; positive is against the clock."""

    kind: ClassVar[str] = "rotate"
    positional: ClassVar[tuple[str, ...]] = ("degrees",)
    reference: ClassVar[str] = "torchvision RandomRotation"

    degrees: Annotated[FiniteFloat, Field(ge=0, le=180)] | tuple[FiniteFloat, FiniteFloat] = Field(
        description="The largest angle either way, or the least and the greatest."
    )
    probability: Chance = Field(1.0, description="The chance that it is done.")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if isinstance(self.degrees, tuple) and self.degrees[0] > self.degrees[1]:
            raise ValueError("degrees should have the smaller one first")
        return self


class Shear(Bordered):
    """Slants about the middle: rows slide sideways by the tangent of an angle, and columns up and down.

    Both angles are drawn from -limit to limit, each for itself.
    """

    kind: ClassVar[str] = "shear"
    positional: ClassVar[tuple[str, ...]] = ("degrees", "vertical")
    reference: ClassVar[str] = "torchvision RandomAffine, shear"

    degrees: Annotated[FiniteFloat, Field(ge=0, le=80)] = Field(description="The largest angle of the rows' slide.")
    vertical: Annotated[FiniteFloat, Field(ge=0, le=80)] = Field(
        0.0, description="The largest angle of the columns' slide."
    )
    probability: Chance = Field(1.0, description="The chance that it is done.")


class Translate(Bordered):
    """Shifts by whole pixels, up to a part of the width and of the height, either way."""

    kind: ClassVar[str] = "translate"
    positional: ClassVar[tuple[str, ...]] = ("fraction", "vertical")
    reference: ClassVar[str] = "torchvision RandomAffine, translate"

    fraction: Annotated[float, Field(ge=0, le=1)] = Field(description="The largest shift, as a part of the width.")
    vertical: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="The largest shift, as a part of the height; `fraction` if not said."
    )
    probability: Chance = Field(1.0, description="The chance that it is done.")


class Scale(Bordered):
    """Zooms about the middle by a factor in the range; the size in pixels stays."""

    kind: ClassVar[str] = "scale"
    positional: ClassVar[tuple[str, ...]] = ("least", "most")
    reference: ClassVar[str] = "torchvision RandomAffine, scale"

    least: Annotated[FiniteFloat, Field(ge=0.01, le=100)] = Field(description="The least factor; below 1 is smaller.")
    most: Annotated[FiniteFloat, Field(ge=0.01, le=100)] = Field(description="The greatest factor.")
    probability: Chance = Field(1.0, description="The chance that it is done.")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.least > self.most:
            raise ValueError("the least factor should not be above the greatest")
        return self


class Color(Augmentation):
    """Changes brightness, contrast, saturation and hue, in this order; values are kept in [0, 1] after each.

    The first three mix the image with black, with its mean gray, and with its gray version: y = f x + (1 - f) other,
    f in the range from max(0, 1 - limit) to 1 + limit. Hue turns the hue of HSV by a part of the circle from -limit
    to limit. Gray is ITU-R BT.601's luma. Saturation and hue leave a gray image as it is.
    """

    kind: ClassVar[str] = "color"
    positional: ClassVar[tuple[str, ...]] = ("brightness", "contrast", "saturation", "hue")
    reference: ClassVar[str] = "torchvision ColorJitter, which shuffles the four"

    brightness: Amount = Field(0.0, description="The largest change of the brightness' factor from 1.")
    contrast: Amount = Field(0.0, description="The largest change of the contrast's factor from 1.")
    saturation: Amount = Field(0.0, description="The largest change of the saturation's factor from 1.")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(0.0, description="The largest turn; 0.5 is half the circle.")
    probability: Chance = Field(1.0, description="The chance that it is done.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.brightness or self.contrast or self.saturation or self.hue):
            raise ValueError("brightness, contrast, saturation or hue should be above 0")
        return self


class Lighting(Augmentation):
    """AlexNet's change of light: adds the main directions of ImageNet's colours, each times its eigenvalue and a normal
    number of deviation `std`. For RGB.
    """

    kind: ClassVar[str] = "lighting"
    positional: ClassVar[tuple[str, ...]] = ("std",)
    reference: ClassVar[str] = "Krizhevsky et al. 2012, section 4.1; the directions as in fb.resnet.torch"

    std: Positive = Field(0.1, description="Deviation of the three normal numbers.")


class Erase(Augmentation):
    """Covers a rectangle of random area, proportions and place.

    The area is a part of the image's in the range `scale`, height / width in the range `ratio`, its logarithm as likely
    everywhere. Ten tries to fit it in, then nothing is covered.
    """

    kind: ClassVar[str] = "erase"
    positional: ClassVar[tuple[str, ...]] = ("probability",)
    reference: ClassVar[str] = "Zhong et al. 2017, section 3.2; torchvision RandomErasing"

    probability: Chance = Field(0.5, description="The chance that it is done.")
    scale: tuple[Positive, Positive] = Field((0.02, 1 / 3), description="Least and greatest part of the area.")
    ratio: tuple[Positive, Positive] = Field((0.3, 10 / 3), description="Least and greatest height / width.")
    value: Unit | Literal["noise"] = Field(
        0.0,
        description="What covers it: a gray from 0 (black) to 1 (white), or `noise`, each value in [0, 1] by itself.",
    )

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if self.scale[0] > self.scale[1] or self.scale[1] > 1:
            raise ValueError("scale should be two parts of the area, the smaller one first, up to 1")
        if self.ratio[0] > self.ratio[1]:
            raise ValueError("ratio should have the smaller one first")
        return self


class Mixing(Augmentation):
    """Base of the steps that mix the images of a batch. Where both stand, each batch gets one of them, drawn evenly."""

    positional: ClassVar[tuple[str, ...]] = ("alpha",)

    alpha: Annotated[FiniteFloat, Field(gt=0, le=1000)] = Field(description="Both parameters of the Beta law.")
    probability: Chance = Field(1.0, description="The chance that a batch is mixed.")


class Mixup(Mixing):
    """Mixes each image, and its label, with another one of the batch: l x + (1 - l) other, l ~ Beta(alpha, alpha)."""

    kind: ClassVar[str] = "mixup"
    reference: ClassVar[str] = "Zhang et al. 2017, section 2"

    alpha: Annotated[FiniteFloat, Field(gt=0, le=1000)] = Field(0.2, description="Both parameters of the Beta law.")


class Cutmix(Mixing):
    """Pastes a rectangle of another image of the batch into each, and mixes the labels by the areas.

    The rectangle has the image's proportions, 1 - l of its area, l ~ Beta(alpha, alpha), and its middle is as likely at
    every pixel; what lies beyond the image is cut off, and the labels are mixed by what is left.
    """

    kind: ClassVar[str] = "cutmix"
    reference: ClassVar[str] = "Yun et al. 2019, section 3.1"

    alpha: Annotated[FiniteFloat, Field(gt=0, le=1000)] = Field(1.0, description="Both parameters of the Beta law.")


AUGMENT: dict[str, type[Augmentation]] = {
    cls.kind: cls
    for cls in (
        RandomFlip, RandomVerticalFlip, RandomCrop, RandomResizedCrop, Rotate, Shear, Translate, Scale,
        Color, Lighting, Erase, Mixup, Cutmix,
    )
}  # fmt: skip
"""Every step by the name it has in a recipe."""
