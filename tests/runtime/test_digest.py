from pathlib import Path

import pytest

from segwright.errors import WeightsError
from segwright.runtime import digest as module
from segwright.runtime.digest import BLANK, DIGEST, check_digest, digest_of


def write(path: Path, before: bytes = b"graph", after: bytes = b"weights") -> dict[str, str]:
    """A file with its digest in it; returns its metadata."""
    path.write_bytes(before + BLANK.encode() + after)
    said = digest_of(path)
    path.write_bytes(before + said.encode() + after)
    return {DIGEST: said}


def test_a_file_as_it_was_written_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    check_digest(path, write(path))


@pytest.mark.parametrize("place", [0, 4, 69, 75])
def test_a_changed_byte_is_refused(tmp_path: Path, place: int) -> None:
    path = tmp_path / "a.onnx"
    metadata = write(path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"'.*a\.onnx' is damaged or was changed after the export") as caught:
        check_digest(path, metadata)
    assert "export it anew" in caught.value.fix


@pytest.mark.parametrize("said", ["", "0", "a" * 64, "x" * 10_000])
def test_another_digest_is_refused(tmp_path: Path, said: str) -> None:
    path = tmp_path / "a.onnx"
    write(path)
    with pytest.raises(WeightsError, match="damaged"):
        check_digest(path, {DIGEST: said})


@pytest.mark.parametrize("change", [b"Weights", b"weight", b"weights!"])
def test_weights_beside_an_xml_count(tmp_path: Path, change: bytes) -> None:
    path = tmp_path / "a.xml"
    path.with_suffix(".bin").write_bytes(b"weights")
    metadata = write(path)
    check_digest(path, metadata)
    path.with_suffix(".bin").write_bytes(change)
    with pytest.raises(WeightsError, match=r"a\.xml' or its 'a\.bin' is damaged"):
        check_digest(path, metadata)


def test_weights_that_are_gone_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.with_suffix(".bin").write_bytes(b"weights")
    metadata = write(path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(WeightsError, match=r"a\.xml' cannot be read \(No such file"):
        check_digest(path, metadata)


def test_a_file_from_before_there_were_digests_is_taken(tmp_path: Path) -> None:
    check_digest(tmp_path / "a.onnx", {"format": "segwright"})


@pytest.mark.parametrize("before", range(60, 70))
def test_a_digest_across_two_blocks_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    path = tmp_path / "a.onnx"
    whole = write(path, bytes(before), bytes(100))
    for length in (1, 64, 100):
        monkeypatch.setattr(module, "_BLOCK", length)
        check_digest(path, whole)
