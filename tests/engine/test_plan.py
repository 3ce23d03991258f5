from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.config import Config, with_settings
from segwright.data import Pair, load_data
from segwright.engine.distributed import cpu_computes_bf16, pick_precision
from segwright.engine.plan import Plan, crop_for, make_plan, plan_length
from segwright.errors import ConfigError, DataError
from tests.engine.runs import tiny_config, write_stripes


def pictures(folder: Path, sizes: list[tuple[int, int]]) -> list[Pair]:
    pairs = []
    for index, size in enumerate(sizes):
        path = folder / f"{index}.png"
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)
        pairs.append(Pair(path, path))
    return pairs


@pytest.mark.parametrize(
    ("sizes", "crop"),
    [
        ([(360, 480)], (360, 480)),
        ([(1024, 2048)], (512, 1024)),
        ([(20, 40)], (32, 40)),
        ([(100, 100), (200, 300), (300, 500)], (200, 300)),
        ([], (512, 1024)),
    ],
)
def test_crop_is_the_median_size_within_bounds(
    sizes: list[tuple[int, int]], crop: tuple[int, int], tmp_path: Path
) -> None:
    assert crop_for(pictures(tmp_path, sizes))[0] == crop


def test_unreadable_pictures_do_not_count_for_the_crop(tmp_path: Path) -> None:
    pairs = pictures(tmp_path, [(64, 96)])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert crop_for([*pairs, Pair(tmp_path / "bad.png", tmp_path / "bad.png")])[0] == (64, 96)


def test_everything_left_open_is_chosen_with_a_reason(scenes: Path) -> None:
    plan = make_plan(with_settings(Config(), {"train.device": "cpu", "train.batch_size": 4}), load_data(scenes))
    train, data = plan.config.train, plan.config.data
    assert data.crop_size == (64, 96)
    assert train.iters == 200  # 100 epochs of 8 pictures, 4 per step
    assert (train.epochs, train.minutes) == (None, None)
    assert (train.log_every, train.eval_every, train.save_every) == (2, 20, 20)
    assert train.precision == ("bf16" if cpu_computes_bf16() else "fp32")
    assert plan.reasons["train.iters"] == "100 epochs of 8 pictures, 4 per step"
    assert plan.reasons.keys() == {
        "train.precision",
        "data.crop_size",
        "data.workers",
        "train.iters",
        "train.eval_every",
        "train.log_every",
        "train.save_every",
    }


def test_what_is_given_is_kept_and_has_no_reason(scenes: Path) -> None:
    config = tiny_config(scenes)
    plan = make_plan(config, load_data(scenes))
    assert plan.config == config
    assert plan.reasons == {}


def test_epochs_count_the_pictures_of_all_processes_and_accumulated_batches(scenes: Path) -> None:
    config = tiny_config(scenes, train__iters=None, train__epochs=6, train__accumulate=2)
    assert make_plan(config, load_data(scenes)).config.train.iters == 12
    assert make_plan(config, load_data(scenes), processes=3).config.train.iters == 4


def test_less_than_a_batch_is_one_step(tmp_path: Path) -> None:
    data = write_stripes(tmp_path / "data", 2, {"train": 1, "val": 1})
    config = tiny_config(data, train__iters=None, train__epochs=0.1, train__batch_size=8)
    assert make_plan(config, load_data(data)).config.train.iters == 1


def open_plan(minutes: float) -> Plan:
    return Plan(with_settings(Config(), {"train.minutes": minutes}))


def test_minutes_leave_time_for_the_validations() -> None:
    plan = open_plan(minutes=2)
    plan_length(plan, seconds_per_step=0.5, seconds_per_evaluation=5)
    assert plan.config.train.iters == (120 - 4 * 5) / 0.5
    assert plan.config.train.eval_every == 67
    assert plan.reasons["train.iters"] == "2 minutes at 0.500 s a step, as measured at the start"


def test_half_of_the_minutes_at_least_is_training() -> None:
    plan = open_plan(minutes=1)
    plan_length(plan, seconds_per_step=1, seconds_per_evaluation=1000)
    assert plan.config.train.iters == 30


def test_time_for_no_step_is_one_step() -> None:
    plan = open_plan(minutes=0.001)
    plan_length(plan, seconds_per_step=10, seconds_per_evaluation=1)
    assert plan.config.train.iters == 1


def test_precisions_that_cannot_be_had_are_refused() -> None:
    with pytest.raises(ConfigError, match="fp16 does not train on cpu"):
        pick_precision("fp16", "cpu")
    assert pick_precision("bf16", "cpu") == "bf16"


def test_device_that_is_not_there_is_refused(scenes: Path) -> None:
    with pytest.raises(ConfigError, match="no device 'cuda:99'"):
        make_plan(tiny_config(scenes, train__device="cuda:99"), load_data(scenes))


def test_split_that_is_not_there_is_refused(scenes: Path) -> None:
    with pytest.raises(DataError, match="night"):
        make_plan(tiny_config(scenes, data__train_split="night"), load_data(scenes))
