"""The measures the house holds: sizes, copies, who may print, who may do without torch, what the lock may name."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
PACKAGE = SRC / "segwright"
TREES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
LINES = {name: len((PACKAGE / name).read_text().splitlines()) for name in TREES}
BELOW_CLI = {name: tree for name, tree in TREES.items() if not name.startswith("cli/")}

Function = ast.FunctionDef | ast.AsyncFunctionDef

TORCH_FREE = """
import importlib, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch is not to be imported here")

sys.meta_path.insert(0, NoTorch())
for name in sys.argv[1:]:
    importlib.import_module(name)
assert "torch" not in sys.modules
"""


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def without_docstring(function: Function) -> list[ast.stmt]:
    return function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body


def length(function: Function) -> int:
    """Lines from ``def`` to the end; the docstring does not count."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    if len(without_docstring(function)) < len(function.body):
        lines -= (function.body[0].end_lineno or 0) - function.body[0].lineno + 1
    return lines


def too_long(trees: dict[str, ast.Module], limit: int, only: str = "") -> list[str]:
    return [
        f"{name}:{function.lineno} {function.name} has {length(function)} lines"
        for name, tree in trees.items()
        for function in functions(tree)
        if only in ("", function.name) and length(function) > limit
    ]


def prints_or_exits(tree: ast.AST) -> list[int]:
    """Lines that call print, exit, quit or sys.exit, import sys.exit, or name SystemExit."""
    lines = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print" | "exit" | "quit")):
                lines.append(node.lineno)
            case ast.Attribute(value=ast.Name(id="sys"), attr="exit") | ast.Name(id="SystemExit"):
                lines.append(node.lineno)
            case ast.ImportFrom(module="sys", names=names) if any(alias.name == "exit" for alias in names):
                lines.append(node.lineno)
    return lines


def copies(trees: dict[str, ast.Module]) -> dict[str, list[tuple[str, int]]]:
    """Groups of functions of six lines or more that are the same but for name and docstring: place and lines."""
    groups: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, tree in trees.items():
        for function in functions(tree):
            if length(function) >= 6:
                code = ast.dump(function.args) + "".join(map(ast.dump, without_docstring(function)))
                groups[code].append((f"{name}:{function.lineno} {function.name}", length(function)))
    return {code: places for code, places in groups.items() if len(places) > 1}


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def module_names(paths: Iterable[Path]) -> list[str]:
    return [".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def import_without_torch(*modules: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", TORCH_FREE, *modules]
    return subprocess.run(command, cwd=SRC, capture_output=True, text=True, timeout=60, check=False)


def test_no_function_is_longer_than_50_lines() -> None:
    assert TREES
    assert too_long(TREES, 50) == []


def test_no_forward_is_longer_than_30_lines() -> None:
    assert too_long(TREES, 30, only="forward") == []


def test_no_file_is_longer_than_400_lines() -> None:
    assert {name: lines for name, lines in LINES.items() if lines > 400} == {}


def test_no_model_file_is_longer_than_250_lines() -> None:
    models = {name: lines for name, lines in LINES.items() if name.startswith("models/")}
    assert models
    assert {name: lines for name, lines in models.items() if lines > 250} == {}


def test_nothing_below_the_command_line_prints_or_exits() -> None:
    assert [f"{name}:{line}" for name, tree in BELOW_CLI.items() for line in prints_or_exits(tree)] == []


def test_exact_copies_are_below_one_percent_of_the_lines() -> None:
    groups = list(copies(TREES).values())
    copied = sum(lines for places in groups for _, lines in places[1:])
    assert copied < 0.01 * sum(LINES.values()), groups


def test_runtime_imports_with_torch_blocked() -> None:
    modules = module_names(sorted((PACKAGE / "runtime").rglob("*.py")))
    assert "segwright.runtime" in modules
    result = import_without_torch(*modules)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("module", ["errors", "info", "config"])
def test_base_module_imports_with_torch_blocked(module: str) -> None:
    result = import_without_torch(f"segwright.{module}")
    assert result.returncode == 0, result.stderr


def test_an_import_of_torch_is_blocked() -> None:
    result = import_without_torch("segwright.types")
    assert "torch is not to be imported here" in result.stderr


def test_lock_is_plain_pins() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[0-9][0-9a-z.]*", line)] == []
    assert [name for name in pins() if name.startswith(("nvidia-", "cuda-", "triton"))] == []


def test_lock_meets_every_declared_requirement() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    locked = {normalised(name): version for name, version in pins().items()}
    wanted = [Requirement(line) for line in (*project["dependencies"], *extras["train"], *extras["dev"])]
    assert [str(need) for need in wanted if not need.specifier.contains(locked.get(normalised(need.name), ""))] == []


def test_base_installs_without_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {Requirement(line).name for line in project["dependencies"]}
    assert names == {"numpy", "pillow", "pydantic", "pyyaml", "typer", "rich", "safetensors"}


def planted(body: str) -> dict[str, ast.Module]:
    return {"planted.py": ast.parse(body)}


def test_length_leaves_the_docstring_out() -> None:
    (function,) = functions(ast.parse('def f():\n    """One\n    two."""\n    return 1\n'))
    assert length(function) == 2


@pytest.mark.parametrize(
    ("measure", "source"),
    [
        (lambda trees: too_long(trees, 50), "def f():\n" + "    a = 1\n" * 50),
        (lambda trees: too_long(trees, 30, only="forward"), "def forward():\n" + "    a = 1\n" * 30),
        (lambda trees: prints_or_exits(trees["planted.py"]), "print(1)"),
        (lambda trees: prints_or_exits(trees["planted.py"]), "import sys\nsys.exit(1)"),
        (lambda trees: prints_or_exits(trees["planted.py"]), "raise SystemExit"),
        (copies, "def f(a):\n" + "    a = 1\n" * 5 + "def g(a):\n    'Named otherwise.'\n" + "    a = 1\n" * 5),
    ],
)
def test_measure_finds_a_planted_offence(measure: Callable[[dict[str, ast.Module]], object], source: str) -> None:
    assert measure(planted(source))
