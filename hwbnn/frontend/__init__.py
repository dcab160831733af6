"""Model exchange: an ONNX (QONNX) file in, an integer network out (extra ``onnx``)."""

from hwbnn.frontend.lower import Import, import_onnx, load_onnx

__all__ = ["Import", "import_onnx", "load_onnx"]
