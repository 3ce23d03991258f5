from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from segwright.errors import ConfigError, WeightsError
from segwright.runtime.exported import Exported, Precision, check_file, chosen_precision, is_exported, only_cpu
from tests.support.exported import record


def test_record_survives_the_file() -> None:
    exported = replace(
        record(input="pixels", output="mask", precision="int8", align_corners=True), argmax_agreement=0.98
    )
    assert Exported.from_metadata(exported.to_metadata(), "a.onnx") == exported
    unmeasured = replace(exported, max_logit_difference=None, argmax_agreement=None)
    assert Exported.from_metadata(unmeasured.to_metadata(), "a.onnx") == unmeasured


@pytest.mark.parametrize("metadata", [{}, {"format": "other"}, {"framework": "x"}])
def test_file_of_another_program_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(WeightsError, match=r"'a\.onnx' was not exported by segwright") as caught:
        Exported.from_metadata(metadata, "a.onnx")
    assert "segwright export" in caught.value.fix


def test_newer_format_is_refused() -> None:
    with pytest.raises(WeightsError, match="export format 2") as caught:
        Exported.from_metadata({**record().to_metadata(), "export_format_version": "2"}, "a.onnx")
    assert caught.value.fix == "update segwright"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("export_format_version", "one"),
        ("input", "video"),
        ("output", ""),
        ("align_corners", "maybe"),
        ("precision", "int4"),
        ("argmax_agreement", "most"),
        ("argmax_agreement", "nan"),
        ("max_logit_difference", "-1"),
        ("classes", "[not json"),
        ("classes", "[]"),
        ("name", "null"),
        ("palette", "[" * 50_000),
    ],
)
def test_damaged_field_is_refused_by_name(key: str, value: str) -> None:
    with pytest.raises(WeightsError, match=rf"'a\.onnx' has damaged metadata \({key} "):
        Exported.from_metadata({**record().to_metadata(), key: value}, "a.onnx")


@pytest.mark.parametrize("key", ["export_format_version", "input", "output", "align_corners", "precision"])
def test_missing_field_is_refused(key: str) -> None:
    metadata = record().to_metadata()
    del metadata[key]
    with pytest.raises(WeightsError, match=key):
        Exported.from_metadata(metadata, "a.onnx")


def test_file_that_the_system_does_not_open_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.onnx").write_bytes(b"\x08")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match=r"a\.onnx' cannot be read \(Permission denied\)"):
        check_file(tmp_path / "a.onnx")


def test_endings_tell_exported_files() -> None:
    assert [name for name in ("a.onnx", "A.ONNX", "a.xml", "a.bin", "a.safetensors", "run") if is_exported(name)] == [
        "a.onnx",
        "A.ONNX",
        "a.xml",
    ]


@pytest.mark.parametrize(
    ("asked", "own", "chosen"),
    [
        ("auto", "fp32", "fp32"),
        ("auto", "bf16", "bf16"),
        ("auto", "int8", "int8"),
        ("int8", "int8", "int8"),
        ("bf16", "fp32", "bf16"),
    ],
)
def test_precision_is_the_files_own_or_bf16_of_float32(asked: str, own: Precision, chosen: str) -> None:
    assert chosen_precision(asked, own, Path("a.onnx")) == chosen


@pytest.mark.parametrize(("asked", "own"), [("fp32", "bf16"), ("fp32", "int8"), ("int8", "fp32"), ("bf16", "int8")])
def test_precision_that_the_file_lacks_is_refused(asked: str, own: Precision) -> None:
    with pytest.raises(ConfigError, match=f"exported in {own}, it cannot compute in {asked}") as caught:
        chosen_precision(asked, own, Path("a.onnx"))
    assert f"segwright export MODEL --format openvino --precision {asked}" in caught.value.fix


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="fp64"):
        chosen_precision("fp64", "fp32", Path("a.onnx"))


def test_other_devices_than_the_cpu_are_refused() -> None:
    only_cpu("auto", "onnx")
    only_cpu("cpu", "onnx")
    with pytest.raises(ConfigError, match="cuda"):
        only_cpu("cuda", "onnx")


def test_file_of_another_kind_is_refused_by_its_start(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    with pytest.raises(WeightsError, match="does not exist"):
        check_file(path)
    (tmp_path / "folder.xml").mkdir()
    with pytest.raises(WeightsError, match="is a folder"):
        check_file(tmp_path / "folder.xml")
    for content, problem in (
        (b"", "empty"),
        (b"\x89PNG", "of another kind"),
        (b"<?xml version='1.0'?><a/>", "of another"),
    ):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=problem):
            check_file(path)
    path.write_bytes(b"<?xml version='1.0'?>\n<net name='a'/>")
    check_file(path)
