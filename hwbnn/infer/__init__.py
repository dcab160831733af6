"""Bit-packed inference: the same integers as :mod:`hwbnn.golden`, with a word of bits where it has integers.

>>> session = hwbnn.infer.load("model.onnx", device="auto")
>>> session.run(images), session.classes(images)

A network is lowered once (:mod:`hwbnn.infer.lower`) to steps on packed arrays, which an engine carries out: compiled
kernels on the processor (extra ``cpu``), NumPy where they are not installed, or CUDA (extra ``cuda``).
"""

from hwbnn.infer.images import Folder, read_images
from hwbnn.infer.loading import DEVICES, load
from hwbnn.infer.session import Session

__all__ = ["DEVICES", "Folder", "Session", "load", "read_images"]
