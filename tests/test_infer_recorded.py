"""Small batches: kernels recorded once and carried out again on other images, with the same result."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zoo
from infer_cases import images, network

from hwbnn import golden, infer, ir
from hwbnn.infer.session import Session

pytest.importorskip("numba", reason="only the compiled engine records")
from hwbnn.infer import cpu  # only where numba is there


def dense(name: str, source: str, rng, rows: int, columns: int, levels=ir.BIPOLAR) -> list[ir.Node]:
    """A layer with thresholds that writes ``name``."""
    limits = np.sort(rng.integers(-9, 9, (rows, len(levels) - 1)), axis=1)
    return [ir.MatMul(f"{name}-fc", (source,), (f"{name}-acc",), rng.choice(levels.values(), (rows, columns)), levels),
            ir.Threshold(f"{name}-act", (f"{name}-acc",), (name,), limits, levels)]


@pytest.mark.parametrize("name", zoo.MLPS)
@pytest.mark.parametrize("count", [1, 3, 8])
def test_zoo(name, count):
    net = zoo.MLPS[name]()
    x = images(net, 4 * count, np.random.default_rng(0))
    session = infer.load(net, "cpu")
    want = golden.run(net, x)
    for start in range(0, len(x), count):
        part = slice(start, start + count)
        np.testing.assert_array_equal(session.run(x[part]), want[part])


@pytest.mark.parametrize("levels", [ir.BIPOLAR, ir.TERNARY], ids=str)
def test_the_recording_ends_where_another_step_reads_what_it_passed_over(levels):
    rng = np.random.default_rng(1)
    source = ir.Input("x", (70,), (70,), levels)
    nodes = [*dense("a", "x", rng, 90, 70, levels), *dense("b", "a", rng, 90, 90, levels),
             ir.Add("sum", ("a", "b"), ("s",)),
             ir.MatMul("fc", ("s",), ("y",), rng.choice([-1, 1], (5, 90)), ir.BIPOLAR)]
    net = network(nodes, source)
    session = infer.load(net, "cpu")
    assert [step.nodes for step in cpu._chain(session.program)] == [(), ("a-fc", "a-act")]
    x = images(net, 6, rng)
    for k in range(6):
        np.testing.assert_array_equal(session.run(x[k:k + 1]), golden.run(net, x[k:k + 1]))
    straight = network([*nodes[:4], ir.MatMul("fc", ("b",), ("y",), rng.choice([-1, 1], (5, 90)), ir.BIPOLAR)],
                       source)
    assert len(cpu._chain(infer.load(straight, "cpu").program)) == 4


def test_results_are_the_callers_own():
    net = zoo.MLPS["logits"]()
    x = images(net, 2, np.random.default_rng(0))
    session = infer.load(net, "cpu")
    first = session.run(x[:1])
    kept = first.copy()
    session.run(x[1:])
    assert np.array_equal(first, kept)


def test_a_recording_in_use_is_left_alone(monkeypatch):
    net = zoo.MLPS["ternary"]()
    x = images(net, 40, np.random.default_rng(0))
    engine, want = cpu.NumbaEngine(), golden.run(net, x)
    session = Session(net, engine)
    session.run(x[:1])
    (run,) = engine._recorded.values()
    with run.lock:
        assert np.array_equal(session.run(x[1:2]), want[1:2])
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda k: session.run(x[k:k + 1]), range(40)))
    assert np.array_equal(np.concatenate(got), want)
    monkeypatch.setattr(cpu, "_RECORDINGS", 1)
    assert np.array_equal(session.run(x[:2]), want[:2]) and len(engine._recorded) == 1
