"""Learning: the objective, the weight average and the training loop."""

from .ema import EMA
from .objective import Objective, Times
from .trainer import Dataset, Recipe, sample_index, train

__all__ = ["EMA", "Dataset", "Objective", "Recipe", "Times", "sample_index", "train"]
