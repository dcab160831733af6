"""Finding the first tensor that is not finite, so that a training that diverges says where."""

import torch
from torch import Tensor, nn

from hwbnn.errors import UserError

__all__ = ["check_state", "check_step"]


def check_step(loss: Tensor, model: nn.Module, images: Tensor, epoch: int) -> None:
    """Raise :class:`UserError` if the loss or a gradient is not finite, naming the first tensor that is not.

    Called between the backward pass and the optimizer, which would spread what is not finite. Looking at the loss
    alone would not do: the sign of a value that is not a number is +1 or -1. Tensors are named in the order in
    which the step meets them: the images; each layer's parameters and buffers, and then its output; the loss; the
    gradients from the last layer to the first. ``epoch`` counts from 0.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    # a sum is finite only if all of it is, and takes a fortieth of the time; finite numbers may have an infinite sum
    sums = torch.stack([loss.detach(), *(gradient.sum() for gradient in gradients)])
    if not (_finite(sums.sum()) or all(_finite(tensor) for tensor in (loss, *gradients))):
        _stop(_first(loss, model, images), epoch)


def check_state(model: nn.Module, epoch: int) -> None:
    """Raise :class:`UserError` if a parameter or a buffer is not finite, as after a step that was too large."""
    for name, tensor in model.state_dict().items():
        if not _finite(tensor):
            _stop(name, epoch)


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _stop(name: str, epoch: int) -> None:
    kept = f"the checkpoint of epoch {epoch} is kept" if epoch else "no epoch was completed"
    raise UserError(f"Training must stay finite, and in epoch {epoch + 1} the first tensor that is not is {name}; "
                    f"{kept}; a lower learning rate may help")


@torch.no_grad()
def _first(loss: Tensor, model: nn.Module, images: Tensor) -> str:
    if not _finite(images):
        return "the images"
    found: list[str] = []

    def look(name: str, module: nn.Module) -> None:
        def before(module, inputs):
            found.extend(f"{name}.{p}" for p, tensor in module.named_parameters(recurse=False) if not _finite(tensor))
            found.extend(f"{name}.{b}" for b, tensor in module.named_buffers(recurse=False) if not _finite(tensor))

        def after(module, inputs, output):
            if isinstance(output, Tensor) and not _finite(output):
                found.append(f"the output of {name}")

        handles.extend([module.register_forward_pre_hook(before), module.register_forward_hook(after)])

    handles: list = []
    try:
        for name, module in model.named_modules():
            if name:
                look(name, module)
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return found[0]
    if not _finite(loss):
        return "the loss"
    return next((f"the gradient of {name}" for name, p in reversed(list(model.named_parameters()))
                 if p.grad is not None and not _finite(p.grad)), "a gradient")
