"""Recurrent layers with quantized weights and states, and a language model made of one."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwbnn_train.layers import QuantLinear

__all__ = ["LSTM", "RNN", "LanguageModel", "Recurrent"]


class Recurrent(nn.Module):
    """What both kinds share: ``gates = W_i[token] + W_h h + b`` for each step, from a state of zeros.

    Inputs are tokens, numbers from 0 (N x steps); the column of ``W_i`` of a token is what a product with its one-hot
    vector would be. Outputs are the hidden states (N x steps x units).

    Weights are quantized once for all steps. Every activation function's output goes through ``activation``, and so
    does the hidden state, which the next step multiplies by weights; what adds up in between stays real.

    Parameters
    ----------
    tokens, units : :class:`int`
        Different tokens, and values of the hidden state.
    weight : callable
        Makes the quantizer of a layer's weights.
    activation : callable
        Makes the quantizer of activations in -1..1 (signed) or 0..1 (not).
    options : mapping
        What the two layers are made with; see :class:`~hwbnn_train.layers.Quantized`.
    """

    gates = 1
    input: QuantLinear
    hidden: QuantLinear

    def __init__(self, tokens: int, units: int, *, weight, activation, **options):
        if tokens < 1 or units < 1:
            raise ValueError(f"{type(self).__name__} tokens and units must be positive, not {tokens!r} and {units!r}")
        super().__init__()
        self.tokens, self.units = tokens, units
        self.input = QuantLinear(tokens, self.gates * units, weight=weight(), bias=True, **options)
        self.hidden = QuantLinear(units, self.gates * units, weight=weight(), **options)
        self.signed, self.unsigned = activation(True), activation(False)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens.long()
        columns = self.input.quantize_weight(self.input.weight).T
        sums = functional.embedding(tokens, columns) + self.input.bias  # N x steps x gates
        # weights are the same in every step: in training they are quantized once, in evaluation the layer is called
        recurrent = self.hidden.quantize_weight(self.hidden.weight) if self.training else None
        state = self.start(len(tokens), sums)
        outputs = []
        for now in sums.unbind(dim=1):
            h = state[0]
            product = self.hidden(h) if recurrent is None else self.hidden.product(h, recurrent, None)
            state = self.step(now + product, *state)
            outputs.append(state[0])
        return torch.stack(outputs, dim=1)

    def start(self, count: int, like: Tensor) -> tuple[Tensor, ...]:
        """Return the states before the first token."""
        return (like.new_zeros(count, self.units),)

    def step(self, sums: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return the states after a token, the hidden one first."""
        raise NotImplementedError  # every subclass defines it

    def extra_repr(self) -> str:
        return f"{self.tokens}, {self.units}"


class RNN(Recurrent):
    """A vanilla recurrent layer: ``h' = q(tanh(gates))``. See :class:`Recurrent`."""

    def step(self, sums: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return (self.signed(torch.tanh(sums)),)


class LSTM(Recurrent):
    """Long short-term memory: ``c' = f c + i g``, ``h' = q(o q(tanh(c')))``.

    ``i, f, o = q(sigmoid(gates))``, ``g = q(tanh(gates))``. The bias of the forget gate starts at 1, as in the
    experiments of "Loss-aware Binarization" (arXiv:1611.01600). Which values QNN quantizes (arXiv:1609.07061) is not
    known to us; here they are all but the cell ``c``. See :class:`Recurrent`.
    """

    gates = 4

    def __init__(self, tokens: int, units: int, **options):
        super().__init__(tokens, units, **options)
        with torch.no_grad():
            self.input.bias[units:2 * units] = 1.0

    def start(self, count: int, like: Tensor) -> tuple[Tensor, ...]:
        return like.new_zeros(count, self.units), like.new_zeros(count, self.units)

    def step(self, sums: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        _, cell = state
        through = self.unsigned(torch.sigmoid(sums[:, :3 * self.units]))
        i, f, o = through.chunk(3, dim=1)
        cell = f * cell + i * self.signed(torch.tanh(sums[:, 3 * self.units:]))
        return self.signed(o * self.signed(torch.tanh(cell))), cell


class LanguageModel(nn.Module):
    """Tokens (N x steps) to the logits of the tokens that follow (N x tokens x steps)."""

    def __init__(self, recurrent: Recurrent, output: QuantLinear):
        super().__init__()
        self.recurrent, self.output = recurrent, output

    def forward(self, tokens: Tensor) -> Tensor:
        states = self.recurrent(tokens)
        logits = self.output(states.flatten(0, 1))
        return logits.reshape(*tokens.shape, -1).transpose(1, 2)
