"""Finding the first tensor that is not finite, so that a training that diverges says where."""

import torch
from torch import Tensor, nn

from hwbnn.errors import UserError

__all__ = ["check_loss", "check_state"]


def check_loss(loss: Tensor, model: nn.Module, images: Tensor, epoch: int) -> None:
    """Raise :class:`UserError` if ``loss`` is not finite, naming the first tensor of the step that is not.

    Tensors are looked at in the order in which the forward pass meets them: the images, each layer's parameters
    and then its output, the loss. ``epoch`` counts from 0.
    """
    if not bool(torch.isfinite(loss)):
        _stop(_first_in_forward(model, images) or "the loss", epoch)


def check_state(model: nn.Module, epoch: int) -> None:
    """Raise :class:`UserError` if a parameter or a buffer is not finite: a sign would hide it from the loss."""
    for name, tensor in model.state_dict().items():
        if not _finite(tensor):
            _stop(name, epoch)


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _stop(name: str, epoch: int) -> None:
    kept = f"the checkpoint of epoch {epoch} is kept" if epoch else "no epoch was completed"
    raise UserError(f"Training must stay finite, and in epoch {epoch + 1} {name} does not: {kept}; "
                    f"a lower learning rate may help")


@torch.no_grad()
def _first_in_forward(model: nn.Module, images: Tensor) -> str | None:
    if not _finite(images):
        return "the images"
    found: list[str] = []

    def look(name):
        def hook(module, inputs, output):
            for parameter, tensor in module.named_parameters(recurse=False):
                if not _finite(tensor):
                    found.append(f"{name}.{parameter}")
            if isinstance(output, Tensor) and not _finite(output):
                found.append(f"the output of {name}")
        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules()
               if (name and not list(module.children())) or hasattr(module, "weight")]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
