from pathlib import Path

import pytest

from segwright.errors import ConfigError, DataError
from segwright.strict_yaml import read_yaml


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nested_mappings_and_lists_are_read(tmp_path: Path) -> None:
    content = read_yaml(written(tmp_path, "base: {a: 1, 2: b}\nnames: [Straße, 'no']\n"))
    assert content == {"base": {"a": 1, 2: "b"}, "names": ["Straße", "no"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb:\n\tc: 2\n", "line 3 is indented with a tab"),
        ("a: 1\nb: 2\na: 3\n", "line 3: 'a' stands twice"),
        ("a:\n  0: x\n  1: y\n  0: z\n", "line 4: '0' stands twice"),
        ("a: 1\nb: [1, 2\n", "line 3"),
        ("a: 1\n[1, 2]: b\n", "line 2: a key is a list or a mapping"),
        ("a: &a {b: 1}\nc: {<<: *a, d: 2}\n", "line 2: '<<' is not read"),
        ("a: 1\nb: !!python/object:os.system x\n", "line 2"),
        ("a: 2024-13-45\n", "is not YAML (month must be in 1..12)"),
        ("a: \x07\n", "is not YAML"),
        ("a:\n  " + "[" * 20_000, "line 2: more than 100 lists or mappings lie in one another"),
        ("a: " + "{b: " * 20_000, "line 1: more than 100 lists or mappings lie in one another"),
        ("", "holds no 'key: value' lines"),
        ("- a\n- b\n", "holds no 'key: value' lines"),
    ],
)
def test_what_is_no_strict_yaml_is_refused_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.fix


def test_the_error_is_of_the_class_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_yaml(tmp_path / "missing.yaml", error=DataError)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: Straße".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(path)
