"""What the page shows, section by section, from the records of a build."""

from dataclasses import dataclass
from typing import Any

from hwbnn import ir
from hwbnn.plan import MatrixVectorStage, ParallelStage, Stage, depends_on_data
from hwbnn.report.charts import Bar, bars, confusion_matrix
from hwbnn.report.graph import shape_of
from hwbnn.report.results import Results
from hwbnn.report.text import count, duration, percent

__all__ = ["Card", "Layer", "accuracies", "agreement", "cards", "clock", "confusion", "cycle_chart", "cycle_rows",
           "layers", "memory_bits", "origin", "steps", "summary", "tool_versions", "weight_bits"]

_STEPS = ("compile", "simulate", "estimate", "synth", "report")


@dataclass(frozen=True)
class Card:
    """A headline figure; ``mood`` colours the line below it, ``good`` or ``bad``."""

    what: str
    figure: str
    unit: str = ""
    more: str = ""
    mood: str = ""
    absent: bool = False


@dataclass(frozen=True)
class Layer:
    """A row of the layer table; ``plumbing`` computes nothing of the network."""

    name: str
    component: str
    plumbing: bool
    takes: str
    gives: str
    weights: str | None
    pe: int | None
    simd: int | None
    cycles: int
    flip_flops: int
    memory_bits: int


def layers(results: Results) -> list[Layer]:
    """One row per stage of the accelerator."""
    network, rows = results.network, []
    for stage in results.plan.stages:
        takes, gives = _ends(stage, network)
        matrix = stage if isinstance(stage, MatrixVectorStage | ParallelStage) else None
        node = network.node(stage.nodes[0]) if matrix else None
        rows.append(Layer(
            stage.name, " + ".join(network.node(name).op for name in stage.nodes) or _plumbing(stage),
            not stage.nodes, takes, gives,
            f"{matrix.rows} × {matrix.columns} {getattr(node, 'weight_levels', '')}".strip() if matrix else None,
            matrix.fold.pe if matrix else None, matrix.fold.simd if matrix else None, stage.ii, stage.flip_flops,
            sum(memory.bits for memory in stage.memories)))
    return rows


def _ends(stage: Stage, network: ir.Network) -> tuple[str, str]:
    """Tensors where the stage computes some, and what crosses its streams where it is plumbing."""
    if stage.nodes:
        first, last = network.node(stage.nodes[0]), network.node(stage.nodes[-1])
        return shape_of(network.tensors[first.input]), shape_of(network.tensors[last.output])
    return tuple(f"{s.beats} beats of {s.lanes}" for s in (stage.i, stage.o))  # pyright: ignore[reportReturnType]  # two


def _plumbing(stage: Stage) -> str:
    return {"FrameInputStage": "AXI4-Stream input", "FrameOutputStage": "AXI4-Stream output",
            "JoinStage": "joins beats", "PartStage": "parts beats"}.get(type(stage).__name__, type(stage).__name__)


def accuracies(results: Results) -> list[dict[str, Any]]:
    """Accuracy by torch, golden and hardware, and on which images."""
    rows = []
    training, accuracy = results.training, results.accuracy
    if training is not None and "accuracy" in training:
        rows.append({"by": "PyTorch, in training", "images": f"{training.get('data', '')}:test",
                     "accuracy": training["accuracy"].get("test")})
    if accuracy is not None:
        images = f"{accuracy['images']} ({count(accuracy['count'])})"
        rows += [{"by": "golden model, exact integers", "images": images, "accuracy": accuracy["golden"]},
                 {"by": "hardware, emitted Verilog", "images": images, "accuracy": accuracy["hardware"]}]
    return rows


def agreement(results: Results) -> str:
    """How simulation and golden compare."""
    found = results.simulation
    if found is None:
        return ""
    if found["mismatches"] == 0 and not found["faults"]:
        stalls = {"random": ", with random stalls on both sides", "worst": ", under the worst stalls",
                  "gaps": ", with gaps between frames"}.get(found["stalls"], "")
        where = found["simulator"] if found["engine"] == "cocotb" else f"the {found['engine']} engine"
        return (f"All {count(found['frames'])} outputs of the hardware equal the golden model's, simulated on "
                f"{where}{stalls}.")
    return "; ".join(found["problems"])


def confusion(results: Results) -> dict[str, Any] | None:
    """The heat map of the hardware's confusions."""
    if results.accuracy is None:
        return None
    counts = results.accuracy["confusion"]
    return confusion_matrix(counts, [str(n) for n in range(len(counts))])


def cycle_rows(results: Results) -> list[dict[str, Any]]:
    """Cycles predicted and simulated."""
    predicted, measured = _predicted(results), (results.simulation or {}).get("measured") or {}
    return [{"what": what, "predicted": predicted[name], "simulated": measured.get(name),
             "time": duration((predicted[name] + more) / results.manifest.clock_hz)}
            for what, name, more in (("first frame, from its first beat in to its last beat out", "first", 1),
                                     ("between frames, in the steady state", "interval", 0))]


def _predicted(results: Results) -> dict[str, int]:
    """From the images that were simulated, where cycles depend on them, else from the plan alone."""
    if depends_on_data(results.plan) and results.simulation is not None:
        return results.simulation["predicted"]
    return {"first": results.plan.cycles.first, "interval": results.plan.cycles.interval}


def cycle_chart(results: Results) -> dict[str, Any]:
    """Cycles per frame of each stage."""
    return bars({"cycles": [Bar(stage.name, stage.ii) for stage in results.plan.stages]}, unit="cycles per frame")


def cards(results: Results) -> list[Card]:
    """The headline figures that need no estimate."""
    plan, clock, path = results.plan, results.manifest.clock_hz, results.path
    measured = (results.simulation or {}).get("measured")
    as_predicted = measured == _predicted(results)
    cycles = "cycles as predicted" if as_predicted else "cycles differ from the prediction"
    mood = "" if measured is None else "good" if as_predicted else "bad"
    accuracy = results.accuracy
    if accuracy is None:
        first = Card("Accuracy in hardware", "not simulated", more=f"hwbnn simulate {path}", absent=True)
    else:
        same = accuracy["golden"] == accuracy["hardware"]
        first = Card("Accuracy in hardware", percent(accuracy["hardware"], 2),
                     more="same as the model" if same else f"model: {percent(accuracy['golden'], 2)}",
                     mood="good" if same else "bad")
    target = results.manifest.target_fps
    rate = clock / plan.cycles.interval
    return [
        first,
        Card("Rate", count(rate), "frames/s", f"asked for {count(target)}" if target is not None else "folding given"),
        Card("Latency", duration((plan.cycles.first + 1) / clock), "", cycles if measured else
             f"{count(plan.cycles.first + 1)} cycles at {clock / 1e6:g} MHz", mood),
    ]


def summary(results: Results) -> str:
    """One line on what was built."""
    weights = [node for node in results.network.nodes if isinstance(node, ir.MatMul | ir.Conv)]
    total = sum(node.weights.size for node in weights)
    sends = "the class" if results.manifest.output == "class" else "the integer logits"
    return (f"{len(weights)} layer{'s' if len(weights) != 1 else ''} with {count(total)} weights; the accelerator "
            f"sends {sends}; {count(results.plan.lanes)} products per cycle at {clock(results)}.")


def clock(results: Results) -> str:
    """The clock, for reading."""
    return f"{results.manifest.clock_hz / 1e6:g} MHz"


def weight_bits(results: Results) -> int:
    """Bits of all weights."""
    return sum(node.weights.size * node.weight_levels.bits for node in results.network.nodes
               if isinstance(node, ir.MatMul | ir.Conv))


def memory_bits(results: Results) -> int:
    """Bits of all memories in the Verilog."""
    return sum(memory.bits for memory in results.plan.memories)


def steps(results: Results) -> list[dict[str, str]]:
    """The commands that made the build, training first."""
    rows = []
    training = results.training
    if training is not None:
        command = f"hwbnn train {training.get('recipe', '')} --seed {training.get('seed')}"
        rows.append({"step": "train", "command": command, "took": _took(training.get("seconds")), "finished": ""})
    for name in _STEPS:
        if name in results.commands:
            entry = results.commands[name]
            rows.append({"step": name, "command": entry["command"],
                         "took": "" if name == "report" else _took(entry["seconds"]),
                         "finished": entry["finished"].replace("T", " ").removesuffix("+00:00")})
    return rows


def _took(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def origin(results: Results) -> list[tuple[str, str]]:
    """Where the build comes from, as names and values."""
    manifest, training = results.manifest, results.training or {}
    return [
        ("model", manifest.source or "given as a record"),
        *([("model SHA-256", training["model_sha256"])] if "model_sha256" in training else []),
        ("network digest", manifest.network),
        ("board", f"{results.board.title} ({results.board.name}), {manifest.clock_hz / 1e6:g} MHz"),
        *([("critical path", str(results.synthesis.critical))]
          if results.synthesis is not None and results.synthesis.critical is not None else []),
        ("output", manifest.output),
        ("seed of placement", str(manifest.seed)),
        *([("seed of training", str(training["seed"]))] if "seed" in training else []),
        *([("seed of stalls", str(results.simulation["seed"]))] if results.simulation else []),
    ]


def tool_versions(results: Results) -> list[tuple[str, str]]:
    """Versions of everything that had a part in the build."""
    found: dict[str, str] = {}
    for record in (results.training, results.simulation):
        found |= (record or {}).get("versions") or {}
    if results.synthesis is not None:
        found |= results.synthesis.versions
    return sorted({**found, **results.manifest.versions}.items())
