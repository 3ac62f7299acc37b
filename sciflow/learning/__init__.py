"""Learning: the objective, the weight average and the training loop."""

from .dropout import Dropout
from .ema import EMA
from .objective import Objective, Times
from .trainer import Dataset, Recipe, sample_index, train

__all__ = ["EMA", "Dataset", "Dropout", "Objective", "Recipe", "Times", "sample_index", "train"]
