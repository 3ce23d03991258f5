from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.config import Config, with_settings
from segwright.data import DataReport, Pair, load_data
from segwright.engine import plan as plan_module
from segwright.engine.distributed import cpu_computes_bf16, pick_precision
from segwright.engine.memory import MemoryNeed
from segwright.engine.plan import Plan, batch_in_memory, crop_for, make_plan, plan_length, seconds_per_step
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


GB = 10**9


def planned(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    pictures: int,
    fitting: int,
    processes: int = 1,
    accumulate: int = 1,
) -> Plan:
    """The plan for so many pictures where memory holds so many of them at once."""
    data = write_stripes(folder / "data", 2, {"train": pictures, "val": 1})
    monkeypatch.setattr(plan_module, "free_memory", lambda device: 101 * GB)
    config = tiny_config(
        data, train__batch_size=None, train__iters=None, train__epochs=10, train__accumulate=accumulate,
        data__memory_mb=0,
    )  # fmt: skip
    need = MemoryNeed(fixed=0, per_picture=int(0.6 * 100 * GB / fitting))
    return make_plan(config, load_data(data), processes, need=lambda config, data: need)


@pytest.mark.parametrize(
    ("pictures", "fitting", "batch", "accumulate"),
    [(30, 100, 12, 1), (30, 9, 9, 1), (30, 3, 3, 3), (30, 1, 1, 8), (5, 100, 5, 1), (5, 2, 2, 3), (1, 100, 1, 1)],
)
def test_batch_is_what_memory_and_pictures_allow_and_a_step_sees_eight(
    pictures: int, fitting: int, batch: int, accumulate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, monkeypatch, pictures=pictures, fitting=fitting)
    train = plan.config.train
    assert (train.batch_size, train.accumulate) == (batch, accumulate)
    assert train.iters == max(1, round(10 * pictures / (batch * accumulate)))
    assert "train.batch_size" in plan.reasons
    assert ("train.accumulate" in plan.reasons) == (accumulate > 1)


def test_batches_that_are_to_be_accumulated_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, monkeypatch, pictures=30, fitting=2, accumulate=2)
    assert (plan.config.train.batch_size, plan.config.train.accumulate) == (2, 2)
    assert "train.accumulate" not in plan.reasons


def test_processes_share_pictures_and_main_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, monkeypatch, pictures=6, fitting=100, processes=3)
    assert (plan.config.train.batch_size, plan.config.train.accumulate) == (2, 1)
    plan = planned(tmp_path / "more", monkeypatch, pictures=60, fitting=9, processes=3)
    assert (plan.config.train.batch_size, plan.config.train.accumulate) == (3, 1)


def test_only_the_main_process_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    plan = planned(tmp_path, monkeypatch, pictures=60, fitting=1, processes=2)
    assert plan.config.train.batch_size == 12


@pytest.mark.parametrize(
    ("weights", "processes", "rule", "reason"),
    [
        (None, 1, "local", "each picture is normalised by its own statistics"),
        ("imagenet", 1, "frozen", "the trunk's ImageNet statistics are kept"),
        ("runs/first", 1, "frozen", "the statistics of the given weights are kept"),
        (None, 2, "auto", ""),
    ],
)
def test_batch_of_one_keeps_statistics_where_there_are_some(
    weights: str | None, processes: int, rule: str, reason: str, scenes: Path
) -> None:
    settings = {"train.batch_size": 1, "model.weights": weights}
    plan = make_plan(with_settings(tiny_config(scenes), settings), load_data(scenes), processes)
    assert plan.config.train.batch_norm == rule
    assert plan.reasons.get("train.batch_norm", "").startswith(reason)


def test_batch_norm_that_is_given_is_kept(scenes: Path) -> None:
    config = tiny_config(scenes, train__batch_size=1, train__batch_norm="local")
    assert make_plan(config, load_data(scenes)).reasons == {}


def test_reason_of_the_batch_tells_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = planned(tmp_path, monkeypatch, pictures=30, fitting=4).reasons["train.batch_size"]
    assert reason == "a crop of 32x48 needs about 15.0 GB, 101.0 GB are free"


@pytest.mark.parametrize(
    ("need", "batch"),
    [
        (MemoryNeed(fixed=0, per_picture=GB), 5),
        (MemoryNeed(fixed=2 * GB, per_picture=GB), 3),
        (MemoryNeed(fixed=0, per_picture=100 * GB), 1),
        (MemoryNeed(fixed=100 * GB, per_picture=1), 1),
    ],
)
def test_weights_and_decoded_files_leave_less_for_the_batch(
    need: MemoryNeed, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "free_memory", lambda device: 10 * GB)
    settings = {"train.device": "cpu", "data.crop_size": (32, 48), "data.memory_mb": 500, "data.workers": 2}
    found, reason = batch_in_memory(with_settings(Config(), settings), need)
    assert found == batch
    assert ("try a smaller --crop-size" in reason) == (batch == 1)


def test_memory_that_is_not_told_leaves_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "free_memory", lambda device: None)
    config = with_settings(Config(), {"train.device": "cpu"})
    assert batch_in_memory(config, MemoryNeed(0, 1))[0] == 12


def counted(**pixels: int) -> DataReport:
    return DataReport({"train": 8}, {"train": pixels}, ())


@pytest.mark.parametrize(
    ("pixels", "rule", "reason"),
    [
        ({"road": 991, "pole": 9}, "log", "the rarest class, pole, holds 0.9 % of the pixels, less than 1 %"),
        ({"road": 990, "pole": 10}, "none", "the rarest class, pole, holds 1 % of the pixels, not less than 1 %"),
        (
            {"road": 900, "pole": 100, "tram": 0},
            "none",
            "the rarest class, pole, holds 10 % of the pixels, not less than",
        ),
    ],
)
def test_classes_are_weighted_where_one_is_rare(scenes: Path, pixels: dict[str, int], rule: str, reason: str) -> None:
    config = tiny_config(scenes, loss__class_weights="auto")
    plan = make_plan(config, load_data(scenes), report=counted(**pixels))
    assert plan.config.loss.class_weights == rule
    assert plan.reasons["loss.class_weights"].startswith(reason)


def test_class_weights_without_counts_are_refused(scenes: Path) -> None:
    with pytest.raises(ConfigError, match="pixel counts"):
        make_plan(tiny_config(scenes, loss__class_weights="auto"), load_data(scenes))


def test_crop_follows_the_short_side_to_which_pictures_are_resized(tmp_path: Path) -> None:
    assert crop_for(pictures(tmp_path, [(360, 480)]), short_side=90)[0] == (90, 120)
    assert crop_for(pictures(tmp_path, [(2000, 1000)]), short_side=100)[0] == (200, 100)


def test_slow_first_steps_and_one_that_was_disturbed_do_not_shorten_the_run() -> None:
    assert seconds_per_step([90.0, 7.0, 0.5, 0.4, 9.0, 0.5, 30.0, 0.6]) == 0.5
    assert seconds_per_step([90.0, 7.0]) == 7.0


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
