"""Images of a build directory on a board: what ``hwbnn run`` does."""

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn import golden, pack
from hwbnn.builddir import BuildDirectory
from hwbnn.plan import Plan, WeightImage, loader, plan_of
from hwbnn.rtl import result_values, stream_words
from hwbnn_boards import board as find_board
from hwbnn_boards.host import Link, Port, Progress, open_port
from hwbnn_boards.protocol import fingerprint, identity, image_beats, load_bytes, load_payloads, result_beats
from hwbnn_boards.top import LinkedAccelerator
from hwbnn_boards.virtual import ModelBoard, VirtualBoard

__all__ = ["VIRTUAL", "model_board", "run", "virtual_board"]

#: Name of the port behind which the board is simulated.
VIRTUAL = "virtual"

_FASTEST_DIVISOR = 4
_VIRTUAL_SECONDS = 3600.0  # a simulated board is slow, and it is known to be there


def virtual_board(plan: Plan) -> VirtualBoard:
    """Return a simulation of the whole design with its serial line at four clock cycles per bit."""
    payload = max(identity(plan).image_bytes, load_bytes(plan))
    patience = 20 * _FASTEST_DIVISOR * payload + 4 * (plan.cycles.first + 1000)
    return VirtualBoard(LinkedAccelerator(plan, divisor=_FASTEST_DIVISOR), patience=patience)


def model_board(plan: Plan, weights: Sequence[WeightImage] = ()) -> ModelBoard:
    """Return a board that answers with what golden computes.

    Where the plan is loadable it computes the network whose weights it was loaded with last: the plan's own or one of
    ``weights``. Before that, and after a load of anything else, it computes nothing and answers with zeros.
    """
    image, result = image_beats(plan), result_beats(plan)
    tensor = plan.network.outputs[0].tensor
    networks = {b"".join(loader.contents(plan.stages)): plan.network,
                **{b"".join(one.banks): one.network for one in weights}}
    banks = [] if plan.loader is None else list(map(bytearray, map(len, loader.contents(plan.stages))))

    def load(packet: bytes):
        assert plan.loader is not None  # or nothing is loaded
        size = loader.word_bytes(list(plan.loader.targets.values())[packet[0]])
        start = size * int.from_bytes(packet[1:loader.HEADER_BYTES], "little")
        content = packet[loader.HEADER_BYTES:]
        banks[packet[0]][start:start + len(content)] = content

    def compute(content: bytes) -> bytes:
        network = networks.get(b"".join(banks))
        if network is None:
            return bytes(result.size)
        codes = pack.unlanes(image.split(content), plan.input.levels.bits, plan.input.lanes)
        q = pack.levels_of(codes, plan.input.levels).reshape(1, *plan.network.input.shape)
        values = golden.evaluate(network, q)[tensor]
        return result.join(pack.lanes(pack.codes(values, plan.output.levels).reshape(-1, plan.output.lanes),
                                      plan.output.levels.bits))

    return ModelBoard(identity(plan), compute, load=None if plan.loader is None else load)


def run(directory: BuildDirectory | str | os.PathLike, images: ArrayLike, port: str | Port, *,
        baud: int | None = None, weights: WeightImage | None = None, progress: Progress | None = None
        ) -> NDArray[np.int64]:
    """Run images on the board of a build directory and return its integers.

    Parameters
    ----------
    directory : :class:`~hwbnn.builddir.BuildDirectory` or path
        What the board's bitstream was made from; another bitstream is refused.
    images : array (N, *graph shape)
        In the form the ONNX graph takes.
    port : :class:`str` or :class:`~hwbnn_boards.host.Port`
        Device or URL that pyserial knows, ``virtual`` for a simulation, or an open port.
    baud : :class:`int`
        Bits per second, where the bitstream was made for others than the board's.
    weights : :class:`~hwbnn.plan.WeightImage`
        To load first. A build with loadable layers is loaded with its own weights otherwise: the board may still hold
        others, and SPRAM holds none at power-up.
    progress : callable
        Called with the number of results so far and the number of images.

    Returns
    -------
    int64 array (N, *output shape)
        Class numbers or logits' integers, as the build says.
    """
    directory = directory if isinstance(directory, BuildDirectory) else BuildDirectory(directory)
    plan = plan_of(directory)
    image, result = image_beats(plan), result_beats(plan)
    if plan.loader is not None and weights is None:
        weights = WeightImage.of(directory)
    network = plan.network if weights is None else weights.network
    words = stream_words(plan, golden.encode(network, images))
    frames = [image.join(words[n:n + image.count]) for n in range(0, len(words), image.count)]

    opened: Port | None = None  # what is closed at the end
    if port == VIRTUAL:
        link = Link(virtual_board(plan), timeout=_VIRTUAL_SECONDS)
    elif isinstance(port, str):
        opened = open_port(port, baud or find_board(directory.manifest.board).baud)
        link = Link(opened)
    else:
        link = Link(port)
    try:
        link.identify(fingerprint(plan))
        if weights is not None:
            link.load(load_payloads(plan, weights.banks))
        answers = link.run(frames, progress=progress)
    finally:
        if opened is not None:
            opened.close()
    return result_values(plan, [word for answer in answers for word in result.split(answer)])
