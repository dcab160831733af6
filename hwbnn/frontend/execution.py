"""One node of a graph on arrays, in the arithmetic of qonnx's executor."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper
from qonnx.custom_op.registry import getCustomOp, is_custom_op
from qonnx.util.basic import get_preferred_qonnx_opset

__all__ = ["ExecutionError", "Executor"]

_IR_VERSION = 8  # of the one-node models; any that onnxruntime reads


class ExecutionError(Exception):
    """A node cannot be evaluated; the message is one line of the evaluator's reason."""

    def __init__(self, reason: Exception):
        text = " ".join(str(reason).split()).split("Status Message: ")[-1]
        super().__init__(text if len(text) < 200 else f"{text[:200]}...")


class Executor:
    """Run single nodes exactly as qonnx's ``execute_onnx`` does.

    Custom operations run qonnx's own NumPy definitions; standard ones run in onnxruntime as a model of
    one node, so nothing is fused with its neighbours. Sessions are kept per node.

    Parameters
    ----------
    opsets : mapping
        Operator-set version by domain; ``""`` is ONNX's own.
    """

    def __init__(self, opsets):
        self._opsets = dict(opsets)
        self._sessions: dict[tuple, tuple[onnx.NodeProto, onnxruntime.InferenceSession]] = {}
        self._options = onnxruntime.SessionOptions()
        self._options.log_severity_level = 4  # problems are raised, and the raiser names the node
        self._options.intra_op_num_threads = 1  # single nodes are too small for a pool of spinning threads

    def __call__(self, node: onnx.NodeProto, arrays: Sequence[NDArray | None]) -> list[NDArray]:
        """Return the outputs of ``node`` for its inputs in order; None for an absent optional input.

        Raises :class:`ExecutionError` where the node is not valid for them.
        """
        try:
            if is_custom_op(node.domain, node.op_type):
                return self._custom(node, arrays)
            return self._standard(node, arrays)
        except Exception as error:  # onnxruntime's exceptions have no common base, qonnx asserts
            raise ExecutionError(error) from error

    def opset(self, domain: str) -> int:
        """Version of a domain's operations; qonnx's preferred one where the model does not say."""
        return self._opsets.get(domain, get_preferred_qonnx_opset())

    def _custom(self, node, arrays):
        context = dict(zip(node.input, arrays, strict=True))
        context |= {name: np.zeros(()) for name in node.output}
        getCustomOp(node, onnx_opset_version=self.opset(node.domain)).execute_node(context, onnx.GraphProto())
        return [np.asarray(context[name]) for name in node.output]

    def _standard(self, node, arrays):
        feeds = {f"i{k}": np.ascontiguousarray(array) if array.ndim else array
                 for k, array in enumerate(arrays) if array is not None}
        key = (id(node), *((name, array.dtype.str) for name, array in feeds.items()))
        if key not in self._sessions:
            self._sessions[key] = node, self._session(node, feeds)  # the node is kept, so its id stays its own
        session = self._sessions[key][1]
        results = session.run(None, feeds)
        return [np.asarray(result) for result in results]

    def _session(self, node, feeds):
        local = onnx.NodeProto()
        local.CopyFrom(node)
        del local.input[:], local.output[:]
        local.input.extend(f"i{k}" if f"i{k}" in feeds else "" for k in range(len(node.input)))
        local.output.extend(f"o{k}" if name else "" for k, name in enumerate(node.output))
        inputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), None)
                  for name, array in feeds.items()]
        outputs = [helper.make_empty_tensor_value_info(name) for name in local.output if name]
        model = helper.make_model(helper.make_graph([local], "node", inputs, outputs), ir_version=_IR_VERSION,
                                  opset_imports=[helper.make_opsetid("", self._opsets[""])])
        return onnxruntime.InferenceSession(model.SerializeToString(), self._options,
                                            providers=["CPUExecutionProvider"])
