"""The report: everything a build knows is on the page, what is missing is named, and the page stands alone."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo import mlp, tiny

from hwbnn import UserError, golden, ir
from hwbnn.build import Build, compile
from hwbnn.builddir import BuildDirectory
from hwbnn.cost import Quantity, Unknown
from hwbnn.plan import Fold, lower
from hwbnn.report import limits, text, view, write
from hwbnn.report.charts import Bar, bars, confusion_matrix, roofs
from hwbnn.report.drawing import Box, Edge, draw
from hwbnn.report.graph import network_graph, shape_of, standalone
from hwbnn.report.results import Results
from hwbnn.synth import Cells, SynthesisResult, Use

FOLDS = {"fc0": Fold(2, 4), "fc1": Fold(3, 2)}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Build:
    """Compiled, and nothing else."""
    path = tmp_path_factory.mktemp("plain") / "b"
    return compile(tiny(), path, board="ulx3s-85f", folds=FOLDS, command="hwbnn compile x")


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Build:
    """Compiled, simulated, estimated, and with the record of a synthesis."""
    build = compile(tiny(), tmp_path_factory.mktemp("full") / "b", board="ulx3s-85f", folds=FOLDS)
    x = np.random.default_rng(0).integers(0, 16, (20, 8))
    labels = golden.classes(tiny(), x)
    labels[0] = (labels[0] + 1) % 3
    build.simulate(x, labels=labels, images="some:images", engine="amaranth")
    build.estimate()
    stages = {stage.name: Cells(lut4=100 + n, lut=100 + n, ff=stage.flip_flops)
              for n, stage in enumerate(build.plan.stages)}
    result = SynthesisResult(
        board="ulx3s-85f", technology="ecp5-85", network=build.manifest.network, seed=1, clock_hz=25_000_000,
        fmax_hz=87.6e6, accelerator=sum(stages.values(), Cells()), stages=stages,
        design=Cells(lut4=4000, lut=4000, ff=1234),
        placed={"lut": Use(4321, 83640), "ff": Use(1234, 83640), "pins": Use(5, 365), "dsp": Use(0, 156)},
        bitstream=None, versions={"nextpnr-ecp5": "0.11.1"}, seconds={"total": 3.0})
    build.directory.write_json("synth/result.json", result.to_json(build.directory))
    return build


class Page(HTMLParser):
    """Collects what a reader sees, and every address that the page refers to."""

    def __init__(self, content: str):
        super().__init__()
        self.words, self.addresses, self.figures, self.open = [], [], {}, []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.open.append((tag, dict(attrs)))
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tag, attrs = self.open[-1] if self.open else ("", {})
        if tag == "script":
            if "data-plot" in attrs:
                self.figures[attrs["data-plot"]] = json.loads(data)
        elif tag != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(build: Build) -> Page:
    return Page(write(build.directory).read_text())


# the page ----------------------------------------------------------------------------------------------------

def test_page_stands_alone(full):
    path = write(full.directory)
    assert path == full.path / "report.html"
    assert path.stat().st_size < 6_000_000
    content = path.read_text()
    assert all(address.startswith("#source-") for address in Page(content).addresses)
    assert not re.search(r"@import|url\(", (Path(view.__file__).parent / "page.css").read_text())


def test_page_tells_everything(full):
    seen = page(full).text
    results = Results.read(full.directory)
    for stage in full.plan.stages:
        assert stage.name in seen
    first, interval = full.plan.cycles.first, full.plan.cycles.interval
    assert f"first frame, from its first beat in to its last beat out {first} {first}" in seen
    assert f"between frames, in the steady state {interval} {interval}" in seen
    assert "95.00 %" in seen and "All 20 outputs of the hardware equal the golden model's" in seen
    assert "87.6 MHz 25 MHz reached" in seen
    assert f"{results.synthesis.accelerator.lut:,}" in seen and "4,321 83,640 5.2 %" in seen
    assert text.figure(full.estimated.resources.mapped_luts) in seen
    for name in ("network digest", full.manifest.network, "hwbnn.compile", "nextpnr-ecp5", "0.11.1"):
        assert name in seen
    assert "Not there yet" not in seen
    assert f"Latency {text.duration((first + 1) / 25e6)}" in seen, "as `hwbnn estimate` and `hwbnn compile` have it"


def test_page_shows_where_the_cycles_go(full):
    content = write(full.directory).read_text()
    profile = json.loads((full.path / "sim/result.json").read_text())["profile"]
    drawing = ElementTree.fromstring(re.search(r'<svg class="timeline".*?</svg>', content, re.DOTALL)[0])
    titles = [element.text for element in drawing.iter() if element.tag.endswith("title")]
    assert len(titles) == 6 * len(profile["stages"])
    start, last = profile["stages"][1]["passes"][2]
    assert f"{profile['stages'][1]['stage']}, frame 2: cycles {start:,} to {last:,}" in titles
    cycles = full.plan.cycles
    words = [element.text for element in drawing.iter() if element.tag.endswith("text")]
    assert f"first frame: {cycles.first:,} cycles" in words and f"between frames: {cycles.interval:,} cycles" in words
    seen = Page(content).text
    row = next(row for row in profile["stages"] if row["stage"] == profile["bottleneck"])
    shares = [text.percent(row[kind] / profile["cycles"]) for kind in ("transferred", "stalled", "starved", "idle")]
    assert f"{' '.join(shares)} depth {row['fifo_depth']} {text.percent(row['utilisation'])} limits" in seen
    assert f"Over {profile['frames']} frames of the steady state" in seen


def test_report_reads_a_result_without_a_profile(full, tmp_path):
    other = Build(shutil.copytree(full.path, tmp_path / "b"))
    record = json.loads((other.path / "sim/result.json").read_text())
    other.directory.write_json("sim/result.json", {**record, "profile": None})
    assert f"hwbnn simulate {other.path} --images SET:SPLIT --engine compiled makes it" in page(other).text


def test_what_lies_between_stages_has_a_row(full, tmp_path):
    other = Build(shutil.copytree(full.path, tmp_path / "b"))
    record = json.loads((other.path / "synth/result.json").read_text())
    record["accelerator"]["lut"] += 17
    other.directory.write_json("synth/result.json", record)
    assert re.search(r"between stages [– ]+ 17 ", page(other).text)
    assert "between stages –" not in page(full).text


def test_page_says_what_is_missing(plain):
    seen = page(plain).text
    for command in (f"hwbnn simulate {plain.path} --images SET:SPLIT", f"hwbnn estimate {plain.path}",
                    f"hwbnn synth {plain.path}"):
        assert command in seen
    assert "hwbnn compile x" in seen
    assert set(page(plain).figures) == {"plot-cycles", "plot-limits"}


def test_page_escapes_names(tmp_path):
    net = tiny()
    net = ir.Network("<script>alert(1)</script>", net.input, net.nodes, net.outputs)
    build = compile(net, tmp_path / "b", board="ulx3s-85f", folds=FOLDS, command="hwbnn compile '<b>'")
    content = write(build.directory).read_text()
    assert "<script>alert" not in content and "&lt;script&gt;alert(1)" in content and "<b>" not in content


def test_page_needs_a_build(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match=rf"^Build directory must be complete, and {tmp_path}/b has no build\.json; "):
        write(BuildDirectory(tmp_path / "b"))


def test_damaged_result_is_named(plain):
    (plain.path / "estimate.json").write_text("{")
    try:
        with pytest.raises(UserError, match=rf"^File {plain.path}/estimate\.json must be a JSON object, and it is "
                                            r"damaged; make it again with `hwbnn estimate`$"):
            write(plain.directory)
    finally:
        (plain.path / "estimate.json").unlink()


def test_results_of_another_network_are_not_shown(plain):
    (plain.path / "estimate.json").write_text(json.dumps({"network": "another"}))
    try:
        assert Results.read(plain.directory).estimate is None
    finally:
        (plain.path / "estimate.json").unlink()


def test_charts_are_figures_that_plotly_accepts(full):
    graph_objects = pytest.importorskip("plotly.graph_objects")

    def coloured(value):
        if isinstance(value, dict):
            return {key: coloured(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [coloured(inner) for inner in value]
        if value == "series":
            return "Blues"
        return "#123456" if isinstance(value, str) and value.startswith("series-") else value

    figures = page(full).figures
    assert set(figures) == {"plot-confusion", "plot-cycles", "plot-resources", "plot-energy", "plot-limits"}
    for figure in figures.values():
        graph_objects.Figure(coloured(figure))


def test_confusion_matrix_tells_counts():
    figure = confusion_matrix([[3, 1], [0, 0]], ["a", "b"])
    (trace,) = figure["data"]
    assert trace["customdata"][0] == [[3, 0.75], [1, 0.25]] and trace["text"] == [["3", "1"], ["", ""]]
    assert trace["z"][0] == [0.75, -1.0]  # a confusion is below zero, and strengthened
    assert not any(trace["z"][1])


def test_bars_have_whiskers_only_where_there_is_an_interval():
    trace, = bars({"s": [Bar("a", 2, 1, 4), Bar("b", 3, 3, 3), Bar("c", 1)]}, unit="u")["data"]
    assert trace["error_x"]["array"] == [2, None, None] and trace["error_x"]["arrayminus"] == [1, None, None]
    trace, = bars({"s": [Bar("a", 2)]}, unit="u")["data"]
    assert "error_x" not in trace and trace["text"] == ["2"]


# text --------------------------------------------------------------------------------------------------------

def test_numbers_are_readable():
    assert text.count(None) == "–" and text.count(1234567) == "1,234,567"
    assert [text.duration(s) for s in (None, 2.0, 12.3e-6, 4e-3, 5e-9)] == ["–", "2 s", "12.3 µs", "4 ms", "5 ns"]
    assert text.percent(0.123) == "12 %" and text.percent(None) == "–"
    assert text.figure(Quantity(1000, 1200, 1500, "LUT4", "m")) == "1,200 (1,000–1,500)"
    assert text.figure(Quantity.exact(5, "FF")) == "5" and text.figure(Unknown("J", "why")) == "unknown"
    assert text.parts(Quantity(1e-9, 2e-9, 3e-9, "J", "m")) == ("2 nJ", "1–3 nJ")
    assert text.nominal(Quantity.exact(5, "FF")) == "5 FF"
    assert text.reasons(["a unknown: nobody tells", "b unknown: nobody tells", "c"]) == "a, b: nobody tells; c"


def test_shape_of_shortens_long_ranges():
    assert shape_of(ir.Tensor((28, 28, 1), ir.Levels(0, 255))) == "28×28×1 of 0..255"
    assert shape_of(ir.Tensor((4,), ir.Levels(-64, 64, 2))) == "4 of −64..64 by 2"
    assert shape_of(ir.Tensor((4,), ir.Levels(-(10**9), 10**9))) == "4 of 31 bits"


# the drawing -------------------------------------------------------------------------------------------------

def geometry(svg: str):
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
    boxes = [tuple(map(float, found)) for found in
             re.findall(r'<rect x="([\d.-]+)" y="([\d.-]+)" width="([\d.]+)" height="([\d.]+)"', svg)]
    return width, height, boxes


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.sets(
    st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda pair: pair[0] < pair[1]), max_size=14))))
def test_any_graph_is_drawn_from_top_to_bottom_without_overlaps(graph):
    count, pairs = graph
    order = [Box(str(n), f"box {n}", "op", ("line",) * (n % 3)) for n in range(count)]
    edges = [Edge(str(a), str(b), f"{a}-{b}") for a, b in sorted(pairs)]
    width, height, places = geometry(draw(order, edges, title="t"))
    assert len(places) == count
    for x, y, w, h in places:
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
    for a, b in pairs:
        assert places[a][1] + places[a][3] < places[b][1]
    for n, (x0, y0, w0, h0) in enumerate(places):
        for x1, y1, w1, h1 in places[n + 1:]:
            assert x0 + w0 < x1 or x1 + w1 < x0 or y0 + h0 < y1 or y1 + h1 < y0


def test_a_cycle_cannot_be_drawn():
    with pytest.raises(ValueError, match=r"^Graph must have no cycle, and one goes through a$"):
        draw([Box("a", "a"), Box("b", "b")], [Edge("a", "b"), Edge("b", "a")], title="t")


def test_drawing_names_layers_and_folding():
    net = mlp((8, 6, 3), name="n<1>", classes=True)
    svg = network_graph(net, lower(net, FOLDS))
    for words in ("fc0", "MatMul + Threshold", "6 × 8 bipolar weights", "PE 2, SIMD 4", "TopK", "8 of 0..15",
                  "n&lt;1&gt;"):
        assert words in svg
    assert "PE" not in network_graph(net)


def test_drawing_can_stand_alone():
    tree = ElementTree.fromstring(standalone(network_graph(tiny())))
    assert tree.tag == "{http://www.w3.org/2000/svg}svg" and any(e.tag.endswith("style") for e in tree.iter())


def test_the_page_draws_the_roofline_and_the_precisions(plain):
    results = Results.read(plain.directory)
    roof = limits.found(results)
    figure = limits.chart(roof)
    drawn = {trace["name"]: trace for trace in figure["data"] if "name" in trace}
    assert drawn["layer, over the whole interval"]["text"] == ["fc0", "fc1"]
    assert drawn["layer, over the whole interval"]["y"] == [row.attained for row in roof.rows]
    assert drawn["while it works (PE × SIMD)"]["y"] == [8, 6]
    (left, right), (low, high) = drawn["memories"]["x"], drawn["memories"]["y"]
    assert low / left == pytest.approx(high / right) and low / left == pytest.approx(roof.bits_per_cycle)
    assert [row["layer"] for row in limits.rows(roof)] == ["fc0", "fc1"] and "times as many" in limits.note(roof)
    assert [row["name"] for row in limits.precisions(results)] == ["float32", "int8", "ternary", "binary"]
    assert limits.rests(results) == []
    text = write(plain.directory).read_text()
    assert "How far the folding is" in text and "The same network in other precisions" in text


def test_a_roofline_without_memory_traffic_or_limits_is_drawn():
    figure = roofs([("a", None, 1.0, 2.0, None)], bandwidth=10)
    assert [trace["name"] for trace in figure["data"] if "name" in trace] == [
        "memories", "limit by look-up tables", "while it works (PE × SIMD)", "layer, over the whole interval"]
