"""What every registered network must do; a new one joins by being registered."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from segwright.errors import ShapeError
from segwright.layers import resize
from segwright.losses import SegmentationLoss, cross_entropy
from segwright.models import SegmentationModel, create_model, list_models
from segwright.types import SegmentationOutput
from tests.support.compare import distance
from tests.support.fill import fill, images

STATE_KEYS = Path(__file__).parents[1] / "golden" / "state_keys"

PARAMETERS = {"fast_scnn": 1.11e6, "bisenet": 1_541_963, "icnet": 6_699_987}
"""The paper's count at 19 classes; of the others there is none in parameters (BiSeNet's "5.8M" are megabytes, counted
here). Ours leaves auxiliary heads out and may be 3 % above: some papers count no norms."""

OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {"backbone": "resnet18"} for name in ("deeplabv3", "deeplabv3plus", "encnet", "fcn", "pspnet")},
    "danet": {"backbone": "resnet18"},
    "dupsampling": {"backbone": "resnet18"},
    "fastfcn": {"backbone": "resnet18"},
    "bisenet": {"backbone": "resnet18"},
    "icnet": {},
    "gated_scnn": {"trunk": "resnet50"},
}
"""What keeps the networks small where the paper's trunk would only cost time."""

MIXTURES: list[dict[str, Any]] = [
    {"backbone": "resnet18", "decoder": "fcn", "neck": "jpu"},
    {"backbone": "mobilenetv3_small_050", "decoder": "pspnet", "neck": "jpu"},
    {"backbone": "mobilenetv3_small_050", "decoder": "encnet"},
    {"backbone": "convnext_atto", "decoder": "deeplabv3"},
    {"backbone": "convnext_atto", "decoder": "deeplabv3plus", "neck": "jpu"},
    {"backbone": "efficientnet_lite0", "decoder": "danet", "neck": "jpu"},
    {"backbone": "swin_tiny_patch4_window7_224", "decoder": "encnet", "neck": "jpu"},
]
"""Compositions by name: every decoder, both kinds of strides, and trunks of several families."""


UPSAMPLED: list[tuple[str, dict[str, Any]]] = [
    ("dupsampling", {"backbone": "resnet18c", "output_stride": 32, "low_level": ("conv1_2", "b1u2c2", "c4")}),
    ("pspnet", {"backbone": "resnet18", "upsampler": "dupsampling"}),
]
"""Networks that end in DUpsampling: from inside the trunk at the other stride, and in another system."""


class Case(NamedTuple):
    """A network that is asked."""

    name: str
    options: dict[str, Any]

    def __str__(self) -> str:
        return "-".join([self.name, *(str(value) for value in self.options.values())])


CASES = [Case(name, OPTIONS.get(name, {})) for name in list_models() if name != "encoder_decoder"]
CASES += [Case("encoder_decoder", options) for options in MIXTURES]
CASES += [Case(*upsampled) for upsampled in UPSAMPLED]

SIZES = [(1, 1), (1, 7), (7, 1), (2, 3), (33, 97), (64, 96), (160, 31)]
NUM_CLASSES = 5

each_case = pytest.mark.parametrize("case", CASES, ids=str)


def network(case: Case, num_classes: int = NUM_CLASSES) -> SegmentationModel:
    model = create_model(case.name, num_classes=num_classes, **case.options)
    fill(model)
    return model.eval()


def loss_of(model: SegmentationModel, output: SegmentationOutput, masks: Tensor) -> Tensor:
    loss_fn = SegmentationLoss(
        cross_entropy,
        model.aux_weights,
        align_corners=model.align_corners,
        aux_losses=model.aux_losses,
        joint_losses=model.joint_losses,
    )
    return loss_fn(output, masks)["loss"]


def random_masks(batch: int, size: tuple[int, int], num_classes: int = NUM_CLASSES) -> Tensor:
    return torch.randint(num_classes, (batch, *size))


@each_case
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_logits_have_the_images_size(case: Case, size: tuple[int, int]) -> None:
    output = network(case)(images(0, *size, batch=2))
    assert output.logits.shape == (2, NUM_CLASSES, *size)
    assert output.logits.isfinite().all()


@each_case
@pytest.mark.parametrize("size", SIZES)
def test_trains_on_a_batch_of_one(case: Case, size: tuple[int, int]) -> None:
    model = network(case).train()
    output = model(images(0, *size))
    assert output.logits.shape == (1, NUM_CLASSES, *size)
    loss_of(model, output, random_masks(1, size)).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    assert all(buffer.isfinite().all() for buffer in model.buffers())


@each_case
@torch.no_grad()
def test_any_number_of_bands_is_read(case: Case) -> None:
    model = create_model(case.name, num_classes=NUM_CLASSES, in_channels=4, **case.options).eval()
    bands = torch.randn(1, 4, 33, 47, generator=torch.Generator().manual_seed(0))
    logits = model(bands).logits
    assert logits.shape == (1, NUM_CLASSES, 33, 47)
    bands[:, 3] += torch.randn(33, 47)
    assert not torch.equal(model(bands).logits, logits)
    with pytest.raises(ShapeError, match=r"\(N, 4, H, W\)"):
        model(bands[:, :3])


@each_case
def test_one_class_is_enough(case: Case) -> None:
    model = network(case, num_classes=1).train()
    output = model(images(0, 40, 56, batch=2))
    assert output.logits.shape == (2, 1, 40, 56)
    assert all(logits.shape[1] == 1 for logits in output.aux.values())
    losses = loss_of(model, output, random_masks(2, (40, 56), num_classes=1))
    assert losses == 0 if not model.aux_losses else losses.isfinite()  # one class leaves nothing to tell apart


@each_case
def test_output_type_is_the_same_in_both_modes(case: Case) -> None:
    model = network(case)
    for is_training in (True, False):
        output = model.train(is_training)(images(0, 33, 97, batch=2))
        assert type(output) is SegmentationOutput
        assert isinstance(output.logits, Tensor)
        assert isinstance(output.aux, dict)


@each_case
def test_aux_names_equal_aux_weights_in_training_and_are_none_in_evaluation(case: Case) -> None:
    model = network(case)
    picture = images(0, 33, 97, batch=2)
    trained = model.train().strided_logits(picture).aux
    assert set(trained) == set(model.aux_weights)
    pixelwise = [trained[key] for key in trained if key not in model.aux_losses]
    assert all(logits.ndim == 4 and logits.shape[:2] == (2, NUM_CLASSES) for logits in pixelwise)
    assert model.train()(picture).aux.keys() == trained.keys()
    assert model.eval()(picture).aux == {}
    assert model.strided_logits(picture).aux == {}


@each_case
def test_every_parameter_gets_a_finite_gradient(case: Case) -> None:
    model = network(case).train()
    loss_of(model, model(images(0, 96, 128, batch=4)), random_masks(4, (96, 128))).backward()
    gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
    assert [key for key, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()] == []
    assert [key for key, gradient in gradients.items() if gradient is not None and not gradient.any()] == []


@each_case
@torch.no_grad()
def test_evaluation_is_deterministic(case: Case) -> None:
    model, picture = network(case), images(0, 33, 97)
    buffers = copy.deepcopy(dict(model.named_buffers()))
    assert torch.equal(model(picture).logits, model(picture).logits)
    assert all(torch.equal(buffer, buffers[key]) for key, buffer in model.named_buffers())


@each_case
@torch.no_grad()
def test_evaluation_does_not_depend_on_batch_neighbours(case: Case) -> None:
    model, pictures = network(case), images(0, 33, 97, batch=3)
    pictures[1:] *= 100
    assert distance(model(pictures).logits[:1], model(pictures[:1]).logits) < 1e-4


@each_case
@torch.no_grad()
def test_evaluation_follows_a_permutation_of_the_batch(case: Case) -> None:
    model, pictures, order = network(case), images(0, 64, 48, batch=4), [2, 0, 3, 1]
    assert distance(model(pictures[order]).logits, model(pictures).logits[order]) < 1e-4


@pytest.mark.parametrize("name", list_models())
def test_state_dict_keys_equal_the_stored_list(name: str) -> None:
    with torch.device("meta"):
        keys = list(create_model(name, num_classes=NUM_CLASSES).state_dict())
    assert keys == (STATE_KEYS / f"{name}.txt").read_text().split()


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count_is_near_the_paper_s(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=19)
    count = sum(parameter.numel() for key, parameter in model.named_parameters() if not key.startswith("aux"))
    assert 1 <= count / PARAMETERS[name] < 1.03


@each_case
@torch.no_grad()
def test_exported_program_equals_eager(case: Case) -> None:
    model, pictures = network(case), images(0, 256, 320, batch=2)
    program = torch.export.export(model, (pictures[:1],)).module()
    assert distance(program(pictures[1:]).logits, model(pictures[1:]).logits) < 1e-5


@each_case
@torch.no_grad()
def test_float64_agrees(case: Case) -> None:
    model, picture = network(case), images(0, 65, 97)
    expected = copy.deepcopy(model).double()(picture.double()).logits
    assert expected.dtype == torch.float64
    assert distance(model(picture).logits, expected) < 1e-4


@each_case
@torch.no_grad()
def test_channels_last_agrees(case: Case) -> None:
    model, picture = network(case), images(0, 65, 97, batch=2)
    reordered = copy.deepcopy(model).to(memory_format=torch.channels_last)
    got = reordered(picture.to(memory_format=torch.channels_last)).logits
    assert distance(got, model(picture).logits) < 1e-4


@each_case
@pytest.mark.parametrize("size", [(33, 97), (64, 96)])
@torch.no_grad()
def test_forward_is_strided_logits_and_one_resize(case: Case, size: tuple[int, int]) -> None:
    model, picture = network(case), images(0, *size)
    logits = model.strided_logits(picture).logits
    has_own_upsampling = getattr(model, "upsampler", None) is not None  # its logits have the image's size already
    assert (logits.shape[-2:] == size) if has_own_upsampling else (logits.shape[-1] < size[1])
    assert torch.equal(model(picture).logits, resize(logits, size, align_corners=model.align_corners))


@each_case
def test_copy_computes_the_same_and_shares_nothing(case: Case) -> None:
    model, picture = network(case), images(0, 33, 97)
    before = model(picture).logits
    twin = copy.deepcopy(model)
    assert torch.equal(twin(picture).logits, before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(model(picture).logits, before)
    assert twin.info == model.info


@each_case
def test_batch_without_a_valid_pixel_gives_zero_loss_and_zero_gradient(case: Case) -> None:
    model = network(case).train()
    loss = loss_of(model, model(images(0, 33, 97, batch=2)), torch.full((2, 33, 97), 255))
    loss.backward()
    assert loss == 0
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())


@each_case
@pytest.mark.parametrize("value", [0.0, 2.6, -2.1])
def test_picture_of_one_colour_gives_no_nan(case: Case, value: float) -> None:
    model, picture = network(case), torch.full((2, 3, 64, 96), value)
    assert model(picture).logits.isfinite().all()
    output = model.train()(picture)
    loss_of(model, output, random_masks(2, (64, 96))).backward()
    assert output.logits.isfinite().all()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@each_case
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32), (1, 3, 0, 32), (1, 3, 32, 0), (0, 3, 32, 32)])
def test_images_of_another_shape_are_named(case: Case, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"images of shape \(N, 3, H, W\), got"):
        network(case)(torch.zeros(shape))
