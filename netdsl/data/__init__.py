"""Data: datasets, splits, loading ahead of the step, augmentation. Knows images and labels, and nothing of networks.

Importing this package, `sources`, `resolve` and `augment` loads no array library: a recipe is checked without one.

    source = resolve_data(entry, module)                         # what `data` of a recipe says
    data = open_data(source, base=folder_of_the_recipe, channels=3)
    inputs = Inputs(data.training.dataset, shape=(3, 224, 224), preprocess=steps, augment=pipeline)
    for batch in Loader(inputs, data.training.indices, batch=64, seed=1, epoch=0):
        batch.inputs, batch.targets, batch.indices

`open_data` is in `netdsl.data.open`, `Inputs` in `netdsl.data.inputs`, `Loader` in `netdsl.data.loader`.
"""

from netdsl.data.augment import AUGMENT, Pipeline
from netdsl.data.errors import DataError
from netdsl.data.resolve import resolve_augment, resolve_data
from netdsl.data.sources import SOURCES, DataSource

__all__ = ["AUGMENT", "SOURCES", "DataError", "DataSource", "Pipeline", "resolve_augment", "resolve_data"]
