import json
import os
import re
from dataclasses import replace

import pytest
import zoo

from hwbnn import ir
from hwbnn.builddir import BuildDirectory, Manifest, write_atomic
from hwbnn.errors import UserError


@pytest.fixture
def directory(tmp_path):
    net = zoo.tiny()
    build = BuildDirectory(tmp_path / "b")
    build.path.mkdir()
    ir.save(net, build / "network.npz")
    build.write_json("build.json", Manifest("ulx3s-85f", 25_000_000, 1e5, "class", {"fc0": {"pe": 1, "simd": 2}},
                                            ir.digest(net)))
    return build


def test_manifest_and_network_round_trip(directory):
    assert directory.manifest.folds == {"fc0": {"pe": 1, "simd": 2}}
    assert directory.network == zoo.tiny()


def test_interrupted_build(tmp_path):
    with pytest.raises(UserError, match=rf"^Build directory must be complete, and {re.escape(str(tmp_path))} has no "
                                        r"build\.json; make it with `hwbnn compile MODEL -o .*`$"):
        _ = BuildDirectory(tmp_path).manifest


@pytest.mark.parametrize(("content", "message"), [
    ("{", r"^File .*build\.json must be a JSON object, and it is damaged; make it again with `hwbnn compile`$"),
    ('{"format": 99}', r"^Build directory .* must have format 1, not 99; make it again with `hwbnn compile`$"),
    ('{"format": 1}', r"^Build file .* must have the entry 'board'; make it again with `hwbnn compile`$"),
])
def test_damaged_manifest(directory, content, message):
    (directory / "build.json").write_text(content)
    with pytest.raises(UserError, match=message):
        _ = directory.manifest


def test_changed_network_is_noticed(directory):
    ir.save(replace(zoo.tiny(), name="other"), directory / "network.npz")
    with pytest.raises(UserError, match=r"^Network in .* must be the one that was compiled, and it was changed; "
                                        r"make it again with `hwbnn compile`$"):
        _ = directory.network


def test_missing_file_names_its_command(directory):
    with pytest.raises(UserError, match=r"^File .*estimate\.json must exist; make it with `hwbnn estimate .*`$"):
        directory.read_json("estimate.json", "hwbnn estimate")


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    file = write_atomic(tmp_path / "a.json", "old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_json_is_readable(directory):
    text = (directory / "build.json").read_text()
    assert json.loads(text)["board"] == "ulx3s-85f" and text.endswith("}\n")


@pytest.mark.parametrize("content", ["[]", "null", "3", '"text"'])
def test_json_that_is_no_object_is_damaged(directory, content):
    for name in ("build.json", "estimate.json"):
        (directory / name).write_text(content)
        with pytest.raises(UserError, match=rf"^File .*{name} must be a JSON object, and it is damaged; make it again "
                                            r"with `hwbnn \w+`$"):
            directory.read_json(name, "hwbnn estimate")


def test_entries_of_another_kind_are_damage(directory):
    content = json.loads((directory / "build.json").read_text())
    (directory / "build.json").write_text(json.dumps({**content, "folds": {"fc0": 3}}))
    with pytest.raises(UserError, match=r"^File .*build\.json must be what `hwbnn compile MODEL -o` writes, and it is "
                                        r"damaged; make it again with `hwbnn compile MODEL -o .*`$"):
        _ = directory.manifest


@pytest.mark.parametrize("content", ["{", "[]", '{"compile": 3}', '{"compile": {}}'])
def test_damaged_provenance_is_left_out(directory, content):
    (directory / "commands.json").write_text(content)
    assert directory.commands == {}
