"""Where a training runs: on a CPU or a GPU, alone or as one of several processes that keep equal replicas."""

import atexit
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hwbnn.errors import UserError

__all__ = ["ALONE", "DEVICES", "Draws", "Place", "is_first", "on_cpu", "place"]

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Place:
    """One process of a training.

    Parameters
    ----------
    device : :class:`torch.device`
        Where its tensors are.
    rank, processes : :class:`int`
        Which of how many it is.
    mixed : :class:`bool`
        Whether products of training steps are taken in bfloat16 (sums in float32), where the recipe allows it.
    """

    device: torch.device
    rank: int = 0
    processes: int = 1
    mixed: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """Return this process's part of the indices ``batch``, of which there are as many for each."""
        return batch[self.rank::self.processes]

    def replica(self, model: nn.Module) -> nn.Module:
        """Return what to call in training.

        With several processes, gradients become their mean over all of them, and every step begins with the first
        process's buffers.
        """
        if self.processes == 1:
            return model
        return DistributedDataParallel(model)

    @torch.no_grad()
    def agree(self, model: nn.Module) -> None:
        """Take the mean, over the processes, of every buffer of real numbers, such as running statistics."""
        if self.processes > 1:
            for buffer in model.buffers():
                if buffer.is_floating_point():
                    distributed.all_reduce(buffer)
                    buffer.div_(self.processes)

    def autocast(self, allowed: bool) -> AbstractContextManager:
        """Return the context of a training step's forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.mixed and allowed else nullcontext()

    def random(self) -> dict[str, Tensor]:
        """Return the states of the random number generators, by device."""
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        return states

    def restore(self, states: dict[str, Tensor]) -> None:
        """Put back what :meth:`random` returned."""
        torch.set_rng_state(states["cpu"])
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self.device)


ALONE = Place(torch.device("cpu"))


class Draws:
    """The random numbers of one process: most are drawn alike by all processes, those within :meth:`own` are not.

    The order of images and the transitions of an optimizer have to be the same everywhere, so that replicas stay
    equal; noise on images, and weights drawn for one pass, should not. A single process has one stream for all.
    """

    def __init__(self, place: Place):
        self.place = place
        self._own: dict[str, Tensor] = {}

    def renew(self) -> None:
        """Begin a stream of one's own, from a number that all processes draw alike."""
        if self.place.processes > 1:
            seed = int(torch.randint(2**62, ())) + self.place.rank
            shared = self.place.random()
            torch.manual_seed(seed)
            self._own = self.place.random()
            self.place.restore(shared)

    @contextmanager
    def own(self) -> Iterator[None]:
        """Within the block random numbers are this process's own."""
        if self.place.processes == 1:
            yield
            return
        shared = self.place.random()
        self.place.restore(self._own)
        try:
            yield
        finally:
            self._own = self.place.random()
            self.place.restore(shared)


@contextmanager
def on_cpu(model: nn.Module) -> Iterator[None]:
    """Within the block ``model``, which is on one device, is in the CPU's memory."""
    device = next((tensor.device for tensor in model.state_dict().values()), ALONE.device)
    model.cpu()
    try:
        yield
    finally:
        model.to(device)


def is_first() -> bool:
    """Tell whether this process is the only one, or the first of those that ``torchrun`` started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def place(device: str) -> Iterator[Place]:
    """Yield where to train: one of :data:`DEVICES`, ``auto`` being a GPU where there is one.

    Under ``torchrun`` the processes are joined (gloo on CPUs, NCCL on GPUs), and each takes the GPU of its number.
    """
    if device not in DEVICES:
        raise UserError(f"Device must be one of {', '.join(DEVICES)}, not {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("Device cuda must have a GPU that this torch can use, and there is none; use cpu, or install "
                        "a torch with CUDA")
    kind = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    at = torch.device(kind, int(os.environ.get("LOCAL_RANK", "0")) if kind == "cuda" else None)
    mixed = kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "cuda":
        torch.cuda.set_device(at)
    if processes == 1:
        yield Place(at, mixed=mixed)
        return
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)  # a group cannot be made twice
    yield Place(at, rank, processes, mixed)
