"""The networks that others trained and published: every one of their 10,000 predictions and accumulators."""

import bnn_pynq
import numpy as np
import pytest

from hwbnn import golden, infer

pytest.importorskip("numba", reason="10,000 images need the compiled engine, extra cpu")
pytestmark = pytest.mark.skipif(bnn_pynq.DATA is None, reason="HWBNN_DATA must point to models/bnn_pynq and the sets")


def test_lfc_w1a1_on_all_of_mnist():
    net, published = bnn_pynq.lfc(bnn_pynq.DATA)
    x = bnn_pynq.mnist_test(bnn_pynq.DATA)
    assert np.array_equal(infer.load(net, "cpu").classes(x), published["pred_log2"])
    assert np.array_equal(golden.classes(net, x[:300]), published["pred_log2"][:300])


def test_cnv_w1a1_on_all_of_cifar10():
    net, published = bnn_pynq.cnv(bnn_pynq.DATA)
    x = bnn_pynq.cifar_test(bnn_pynq.DATA)
    logits = infer.load(net, "cpu").run(x)
    assert np.array_equal(logits, published["last_layer_acc"])
    assert np.array_equal(logits.argmax(axis=1), published["pred"])
    assert np.array_equal(golden.run(net, x[:20]), published["last_layer_acc"][:20])
