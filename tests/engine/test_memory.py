from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from segwright.data import SegmentationData, load_data
from segwright.engine.memory import free_main_memory, free_memory, measure_need
from segwright.models import create_model, list_models
from tests.engine.runs import tiny_config


@pytest.fixture(scope="module")
def data(scenes: Path) -> SegmentationData:
    return load_data(scenes)


def test_need_grows_with_the_crop(scenes: Path, data: SegmentationData) -> None:
    small, large = (measure_need(tiny_config(scenes, data__crop_size=size), data) for size in ((64, 96), (128, 192)))
    assert small.fixed == large.fixed
    assert large.per_picture == pytest.approx(4 * small.per_picture, rel=0.1)


def test_need_of_half_precision_is_smaller(scenes: Path, data: SegmentationData) -> None:
    full, half = (
        measure_need(tiny_config(scenes, data__crop_size=(128, 192), train__precision=precision), data)
        for precision in ("fp32", "bf16")
    )
    assert 0.4 * full.per_picture < half.per_picture < 0.9 * full.per_picture


def test_need_of_a_crop_is_more_than_what_the_first_layer_gives(scenes: Path, data: SegmentationData) -> None:
    need = measure_need(tiny_config(scenes, data__crop_size=(128, 192)), data)
    first_map = 4 * 32 * 64 * 96  # Fast-SCNN, table 1; before and after its normalisation
    assert 2 * first_map < need.per_picture < 40 * first_map


@pytest.mark.parametrize(
    ("settings", "copies"),
    [({}, 4), ({"train__ema": None}, 3), ({"train__optimizer": "adamw"}, 5)],
    ids=["sgd", "no average", "adamw"],
)
def test_weights_are_there_once_per_copy(
    scenes: Path, data: SegmentationData, settings: dict[str, object], copies: int
) -> None:
    model = create_model("fast_scnn", num_classes=len(data.classes))
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert measure_need(tiny_config(scenes, **settings), data).fixed == copies * weights


class Teacher(nn.Module):
    """One layer of 3 x 3 weights."""

    in_channels = 3

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, width, 3, padding=1, bias=False)

    def strided_logits(self, images: Tensor) -> Tensor:
        result: Tensor = self.layer(images)
        return result


@pytest.mark.parametrize(("width", "is_wide"), [(8, False), (800, True)])
def test_a_teacher_s_weights_and_a_large_layer_of_it_count(
    width: int, is_wide: bool, scenes: Path, data: SegmentationData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segwright.engine.memory.load_model", lambda _: Teacher(width))
    alone = measure_need(tiny_config(scenes), data)
    need = measure_need(tiny_config(scenes, model__teacher="runs/large"), data)
    assert need.fixed == alone.fixed + 4 * 27 * width
    large = 2 * 4 * (3 + width) * 32 * 48  # what the layer reads and writes of a crop, twice
    assert need.per_picture == (alone.per_picture // 2 + large if is_wide else alone.per_picture)


@pytest.mark.parametrize("name", [name for name in list_models() if name != "fast_scnn"])
def test_every_network_can_be_measured(name: str, scenes: Path, data: SegmentationData) -> None:
    small = {"gated_scnn": {"trunk": "resnet50"}, "icnet": {}}
    options = small.get(name, {"backbone": "resnet18"})
    config = tiny_config(scenes, model__name=name, model__options=options, loss__class_weights="log")
    assert measure_need(config, data).per_picture > 0


def test_free_memory_of_the_cpu_is_the_machine_s() -> None:
    free = free_memory(torch.device("cpu"))
    assert free is None or free > 0


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MEMINFO = {"proc/meminfo": "MemTotal:  9000 kB\nMemAvailable:    2000 kB\n"}


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        (MEMINFO, 2_048_000),
        ({**MEMINFO, "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "5\n"}, 2_048_000),
        ({**MEMINFO, "sys/fs/cgroup/memory.max": "1000\n", "sys/fs/cgroup/memory.current": "400\n"}, 600),
        ({**MEMINFO, "sys/fs/cgroup/memory.max": "300\n", "sys/fs/cgroup/memory.current": "400\n"}, 0),
        (
            {
                **MEMINFO,
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "100\n",
            },
            900,
        ),
    ],
    ids=["untold", "machine", "no limit", "container", "full", "older container"],
)
def test_free_main_memory_is_within_the_container_s_limit(
    files: dict[str, str], free: int | None, tmp_path: Path
) -> None:
    assert free_main_memory(system(tmp_path, files)) == free
