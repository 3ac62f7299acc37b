"""Learning: the objective, the weight average and the training loop."""

from .dropout import Dropout
from .ema import EMA
from .objective import Objective, Times
from .trainer import Dataset, Recipe, bucket_index, sample_index, train

__all__ = [
    "EMA",
    "Dataset",
    "Dropout",
    "Objective",
    "Recipe",
    "Times",
    "bucket_index",
    "sample_index",
    "train",
]
