"""YAML that says where it is wrong: no tabs, no key twice, a line number in every error."""

from pathlib import Path
from typing import Any

import yaml

from segwright.errors import ConfigError, SegmentationError

_DEEPEST = 100
"""Lists and mappings in one another; YAML's own loader calls itself for each, until Python gives up."""


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping; YAML's own loader keeps the last in silence."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self._depth == _DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem=f"more than {_DEEPEST} lists or mappings lie in one another", problem_mark=mark
            )
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            mark = key_node.start_mark
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key is a list or a mapping", problem_mark=mark)
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem="'<<' is not read: write the keys out", problem_mark=mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"'{key}' stands twice", problem_mark=mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, *, error: type[SegmentationError] = ConfigError) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        path: the file.
        error: class of the error raised.

    Raises:
        SegmentationError: as ``error``: missing or unreadable file, tabs, bad syntax, a key twice, no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as reason:
        raise error(f"'{path}' cannot be read ({reason})", fix="give the path of a UTF-8 YAML file") from reason
    for number, line in enumerate(text.splitlines(), start=1):
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent:
            fix = "YAML wants spaces: replace each tab by two"
            raise error(f"'{path}' line {number} is indented with a tab", fix=fix)
    try:
        content = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as reason:
        line_number = reason.problem_mark.line + 1 if reason.problem_mark else "?"
        raise error(f"'{path}' line {line_number}: {reason.problem}", fix="mend that line") from reason
    except (yaml.YAMLError, ValueError) as reason:  # ValueError: a date that does not exist
        raise error(f"'{path}' is not YAML ({reason})", fix="mend the file") from reason
    if not isinstance(content, dict):
        raise error(f"'{path}' holds no 'key: value' lines", fix="see the README for an example")
    return content
