"""What a recipe is: every choice of one training, as a frozen record that can build its model and optimizer."""

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hwbnn.errors import UserError
from hwbnn_train.adam import Adam
from hwbnn_train.losses import LOSSES, penalty
from hwbnn_train.optimizers import parameter_groups
from hwbnn_train.quantizers import Quantizer

__all__ = ["Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training, completely described but for its seed.

    A subclass adds the fields of its method and network and implements :meth:`model`; it lives in a file of its
    own in :mod:`hwbnn_train.recipes`.

    Parameters
    ----------
    name : :class:`str`
        What the user types.
    data : :class:`str`
        A set of :mod:`hwbnn.datasets`.
    epochs, batch : :class:`int`
        Passes over the training split, and images per step. An incomplete last batch is left out; the order is
        drawn anew in every epoch.
    lr, lr_end : :class:`float`
        The learning rate of epoch ``e`` of ``E`` is ``lr * (lr_end / lr)^(e / E)``; each layer's weights multiply
        it by their ``lr_scale``.
    loss : :class:`str`
        A key of :data:`hwbnn_train.losses.LOSSES`.
    recalibration : :class:`int`
        Training images from which the statistics of batch normalization are taken anew after every epoch
        (:func:`hwbnn_train.evaluation.recalibrate`); 0: the running ones are used.
    real_weights : :class:`bool`
        Whether to report the accuracy that the network has with its real weights as well.
    exported : :class:`bool`
        Whether the network becomes hardware; if not, it is trained and measured for comparison only.
    threads : :class:`int`
        Threads that torch uses. It is part of the recipe because sums round differently when they are split. One is
        safe for networks this size: several wait for each other, and on a busy machine that took 20 times longer.
    """

    mixed: ClassVar[bool] = True
    """Whether a GPU may take products of training steps in bfloat16; not where a method simulates formats itself."""

    text: ClassVar[bool] = False
    """Whether the data must be a text, and not images."""

    averaging: ClassVar[float] = 0.0
    """Share that stays, in a step, of the mean of the weights that is deployed; 0: the weights as they are.

    Recipes whose weights are averaged have a field of this name.
    """

    name: str
    data: str
    epochs: int
    batch: int
    lr: float
    lr_end: float
    loss: str
    recalibration: int = 0
    real_weights: bool = False
    exported: bool = True
    threads: int = 1

    def __post_init__(self):
        for field in ("epochs", "batch", "threads"):
            if not isinstance(getattr(self, field), int) or getattr(self, field) < 1:
                raise ValueError(f"Recipe {field} must be a positive integer, not {getattr(self, field)!r}")
        if not isinstance(self.recalibration, int) or self.recalibration < 0:
            raise ValueError(f"Recipe recalibration must be an integer of at least 0, not {self.recalibration!r}")
        if not 0 <= self.averaging < 1:
            raise ValueError(f"Recipe averaging must be at least 0 and below 1, not {self.averaging!r}")
        if self.averaging and not self.recalibration:
            raise ValueError("Recipe averaging must go with recalibration, as running statistics are not of the mean")
        if self.threads > 256:
            raise ValueError(f"Recipe threads must be at most 256, not {self.threads!r}")
        for field in dataclasses.fields(self):
            if isinstance(getattr(self, field.name), float) and math.isnan(getattr(self, field.name)):
                raise ValueError(f"{type(self).__name__} {field.name} must be a number, not nan")
        if not 0 < self.lr_end <= self.lr < math.inf:
            raise ValueError(f"Recipe lr and lr_end must satisfy 0 < lr_end <= lr, both finite, not lr={self.lr!r} and "
                             f"lr_end={self.lr_end!r}")
        if self.loss not in LOSSES:
            raise ValueError(f"Recipe loss must be one of {', '.join(LOSSES)}, not {self.loss!r}")

    def check_numbers(self, *, positive: tuple[str, ...] = (), unsigned: tuple[str, ...] = ()) -> None:
        """Raise :class:`ValueError` where one of these fields is not so, or infinite."""
        for field in (*positive, *unsigned):
            value = getattr(self, field)
            if not math.isfinite(value) or value < 0 or (field in positive and value == 0):
                least = "positive" if field in positive else "at least 0"
                raise ValueError(f"{type(self).__name__} {field} must be {least} and finite, not {value!r}")

    def check(self, examples: int, processes: int = 1) -> None:
        """Raise :class:`UserError` where a training on so many examples, by so many processes, cannot succeed."""
        if self.batch > examples:
            raise UserError(f"Recipe batch must be at most the {examples} training "
                            f"{'sequences' if self.text else 'images'}, not {self.batch}")
        if self.batch % processes:
            raise UserError(f"Recipe batch must be a multiple of the {processes} processes, not {self.batch}")

    def model(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Return the untrained network for images of ``shape`` (without batch)."""
        raise NotImplementedError(type(self).__name__)  # every recipe defines it

    def quantizers(self) -> tuple[Quantizer, Quantizer]:
        """Return new quantizers such as a hidden layer has, of its weights and of its input."""
        raise NotImplementedError(type(self).__name__)  # every recipe defines it

    def phase(self, epochs: int) -> float:
        """Return so many epochs, for one of two phases; half of all where none would be left for the other."""
        return epochs if epochs < self.epochs else self.epochs / 2

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of ``model``: Adam, with clipping of the real weights."""
        return Adam(parameter_groups(model), lr=self.lr)

    def augment(self, x: Tensor) -> Tensor:
        """Return a changed copy of a training batch; the images as they are unless a subclass says otherwise."""
        return x

    def advance(self, model: nn.Module, progress: float) -> None:
        """Change ``model`` for the next step, before which ``progress`` (0 to below 1) of all steps were taken.

        Nothing changes here. What a subclass changes must lie in the model's buffers, or be set anew every time, so
        that a resumed training goes on with it.
        """

    def penalty(self, model: nn.Module) -> Tensor | float:
        """Return what is added to the loss: the sum of what the quantizers of the weights ask for."""
        return penalty(model)

    def figures(self, model: nn.Module) -> dict[str, float]:
        """Return what else to log after an epoch and to report in the end; nothing here."""
        return {}

    def ready(self, model: nn.Module) -> bool:
        """Tell whether the network could be deployed after this epoch; the best epoch is one of those."""
        return True

    def score(self, accuracy: float, loss: float) -> tuple[float, ...]:
        """Return what the best epoch has most of, from what was measured on the validation split."""
        return accuracy, -loss

    def learning_rate(self, epoch: int) -> float:
        """Return the base learning rate of ``epoch``, counted from 0."""
        return self.lr * (self.lr_end / self.lr) ** (epoch / self.epochs)

    def config(self) -> dict[str, Any]:
        """Return every field as plain JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))
