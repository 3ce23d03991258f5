"""The README's blocks run as they stand, on smaller data and for fewer steps; written pages are up to date."""

import os
import re
import runpy
import shlex
from pathlib import Path

import pytest

from segwright.cli.main import main
from segwright.data.synthetic import write_dataset

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHORTER = {
    "--minutes 30": "--iters 4 --batch-size 2 --crop-size 64 96",
    "minutes=30": "iters=4, batch_size=2, crop_size=(64, 96)",
    "yard/images/val/1.jpg": "yard/images/val/scene_0000.jpg",
    "1.jpg": "scene_0000.jpg",
}


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    for long, short in SHORTER.items():
        found = [block.replace(long, short) for block in found]
    return found


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_dataset(tmp_path / "yard", counts={"train": 4, "val": 2}, size=(64, 96))


def test_readme_commands_run(yard: Path) -> None:
    commands = [line.partition("#")[0] for block in blocks("bash") for line in block.splitlines()]
    ours = [shlex.split(command)[1:] for command in commands if command.startswith("segwright ")]
    assert len(ours) >= 4
    for words in ours:
        assert main(words) == 0, words
    assert len(list(Path("predictions").glob("*.png"))) == 2


def test_readme_python_runs(yard: Path) -> None:
    (block,) = blocks("python")
    exec(compile(block, "README.md", "exec"), {})
    assert Path("mask.png").is_file()
    assert Path("overlay.jpg").is_file()


def test_readme_data_yaml_is_understood(tmp_path: Path) -> None:
    from segwright.data.dataset import read_data_yaml

    (block,) = blocks("yaml")
    (tmp_path / "data.yaml").write_text(block)
    assert read_data_yaml(tmp_path / "data.yaml").classes == ("background", "crop", "weed")


@pytest.mark.parametrize("page", ["config", "models"])
def test_written_page_is_up_to_date(page: str) -> None:
    written = runpy.run_path(str(ROOT / "tools" / "make_docs.py"))[f"{page}_page"]()
    assert (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8") == written, "run: python tools/make_docs.py"


@pytest.mark.parametrize(
    "page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", *map(str, Path("docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert "://" in link or (path.parent / link).exists(), f"{page}: {link}"


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
