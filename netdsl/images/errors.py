"""The error of this package."""

from __future__ import annotations

from netdsl.language.diagnostics import CodedError


class ImageError(CodedError):
    """An image, an array or a file of labels cannot be used, or a picture cannot be written.

    | code  | meaning                                                              |
    |-------|----------------------------------------------------------------------|
    | E0721 | the file cannot be opened: missing, no permission, a folder without images |
    | E0722 | not an image, or a damaged one                                       |
    | E0723 | more pixels or bytes than a named limit                              |
    | E0724 | its size or channels are not what the network wants                  |
    | E0725 | a preprocessing step does not fit the image                          |
    | E0726 | a `.npy` array that cannot be read                                   |
    | E0727 | an activation that cannot be written as a picture, or not at all     |
    | E0728 | labels that cannot be read or do not fit the classes                 |
    """
