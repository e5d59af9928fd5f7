"""Where training data comes from: the calls that `data` of a recipe takes. `netdsl.data.open` opens them.

A part of the data is kept apart to validate on: `validation = 20%` takes that part of each class, chosen by `seed`, and
`validation = "PATH"` names other data of the same kind. Without `validation` everything is trained on.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from netdsl.data.called import Called

Fraction = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**64)]


class DataSource(Called):
    """Base of all sources: a frozen model whose fields are the arguments in a recipe."""

    validation: Fraction | str | None = Field(
        None, description="Which part of each class is kept apart (20%), or where other data lies."
    )
    seed: Seed = Field(0, description="Chooses the part that is kept apart, and the images of `per_class`.")
    per_class: Annotated[int, Field(ge=1)] | None = Field(
        None, description="How many images of each class are trained on, all if not said: to learn from few labels."
    )


class Files(DataSource):
    """Base of the sources that read image files."""

    corrupt: Literal["refuse", "skip"] = Field(
        "refuse", description="What is done about files that cannot be decoded: an error that names them, or leave out."
    )


class Folder(Files):
    """A folder with one folder for each class. The classes are the names of the folders, sorted as text.

    The images of a class may lie in folders within its folder. Symbolic links are followed. Hidden files and folders,
    and files whose suffix is that of no image, do not count. The same as torchvision's ImageFolder.
    """

    kind: ClassVar[str] = "folder"
    positional: ClassVar[tuple[str, ...]] = ("path",)

    path: str = Field(description="The folder, from the folder of the recipe's file.")


class Csv(Files):
    """A table of paths and labels: text in UTF-8, the first line names the columns, then one line for each image.

    Labels that are all whole numbers are classes from 0 on; others are names, and the classes are these names, sorted.
    """

    kind: ClassVar[str] = "csv"
    positional: ClassVar[tuple[str, ...]] = ("path",)

    path: str = Field(description="The table, from the folder of the recipe's file.")
    root: str | None = Field(None, description="The folder that the paths in it start at; its own folder if not said.")
    image: str | None = Field(None, description="The column of paths; if not said: path, file, filename or image.")
    label: str | None = Field(None, description="The column of labels; if not said: label, class, category or target.")
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None, description="What stands between columns; if not said: a tab in a .tsv file, else a comma."
    )


class Arrays(DataSource):
    """The arrays of a NumPy archive (`.npz`): images, and a label for each.

    Images have shape (images, height, width), with channels (1 or 3) in front of or behind height and width. Values
    of 8 bits are taken as 8-bit images; others as float32, divided by `white`. Labels are whole numbers from 0, rows
    with a single one, or names. Labels with fractions are targets to be met (mean squared error) and stay as they
    are.
    """

    kind: ClassVar[str] = "arrays"
    positional: ClassVar[tuple[str, ...]] = ("path",)

    path: str = Field(description="The archive, from the folder of the recipe's file.")
    images: str | None = Field(None, description="Name of the images in it; if not said: x, x_train, images or data.")
    labels: str | None = Field(None, description="Name of the labels in it; if not said: y, y_train, labels or target.")
    layout: Literal["nhw", "nhwc", "nchw"] | None = Field(
        None, description="Order of the axes: images, height, width, channels; needed where it is in doubt."
    )
    white: Annotated[float, Field(gt=0)] | None = Field(
        None, description="The value of white; if not said: 255 and 65535 for 8 and 16 bits, 1 for fractions."
    )
    classes: Annotated[int, Field(ge=1)] | None = Field(
        None, description="How many classes there are; if not said: the largest label and one."
    )


class Digits(DataSource):
    """scikit-learn's handwritten digits: 1,797 scans of 8x8 pixels, white on black, ten classes.

    They are the test part of "Optical Recognition of Handwritten Digits" of the UCI repository (E. Alpaydin, C. Kaynak,
    1998; CC BY 4.0). The package scikit-learn, which brings them, has to be installed.
    """

    kind: ClassVar[str] = "digits"

    classes: tuple[Annotated[int, Field(ge=0, le=9)], ...] | None = Field(
        None, description="Which digits, e.g. [0, 1, 2]; all if not said. They are numbered anew, in this order."
    )


SOURCES: dict[str, type[DataSource]] = {cls.kind: cls for cls in (Folder, Csv, Arrays, Digits)}
"""Every source by the name it has in a recipe."""
