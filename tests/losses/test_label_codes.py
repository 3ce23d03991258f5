"""The regression on compressed labels against a slow twin."""

import pytest
import torch
from torch import Tensor

from segwright.errors import ShapeError
from segwright.layers.dupsampling import DUpsample
from segwright.losses import LabelCodeLoss, SegmentationLoss, cross_entropy
from segwright.types import SegmentationOutput

RATIO, CLASSES, CODES = 2, 3, 5


@pytest.fixture
def upsampler() -> DUpsample:
    torch.manual_seed(0)
    layer = DUpsample(CODES, CLASSES, RATIO, trains_on_codes=True)
    basis = torch.linalg.qr(torch.randn(CLASSES * RATIO**2, CODES)).Q
    layer.set_codes(basis, basis.T)
    return layer


def loss_of(upsampler: DUpsample, prediction: Tensor, masks: Tensor) -> Tensor:
    loss = LabelCodeLoss(upsampler.encode, RATIO)
    return loss(prediction, masks, pixel_loss=cross_entropy, ignore_index=255)


def twin(upsampler: DUpsample, prediction: Tensor, masks: Tensor) -> float:
    """Mean over labelled patches and channels, a patch at a time."""
    assert upsampler.projection is not None
    distances = []
    for image, codes in zip(masks, prediction, strict=True):
        for row in range(codes.shape[1]):
            for column in range(codes.shape[2]):
                patch = torch.zeros(CLASSES, RATIO, RATIO)
                for i in range(RATIO):
                    for j in range(RATIO):
                        y, x = row * RATIO + i, column * RATIO + j
                        if y < image.shape[0] and x < image.shape[1] and image[y, x] != 255:
                            patch[image[y, x], i, j] = 1
                if patch.any():
                    distances.append((codes[:, row, column] - upsampler.projection @ patch.flatten()).square().mean())
    return float(torch.stack(distances).mean())


def test_loss_equals_the_slow_twin_on_sides_that_do_not_divide(upsampler: DUpsample) -> None:
    masks = torch.randint(CLASSES, (2, 5, 7))
    masks[0, :2, :4] = 255
    masks[1, 3, 3] = 255
    prediction = torch.randn(2, CODES, 3, 4)
    assert float(loss_of(upsampler, prediction, masks)) == pytest.approx(twin(upsampler, prediction, masks), rel=1e-5)


def test_codes_of_the_labels_have_no_loss(upsampler: DUpsample) -> None:
    masks = torch.randint(CLASSES, (2, 6, 6))
    assert loss_of(upsampler, upsampler.encode(masks, 255), masks) < 1e-12


def test_patches_without_a_label_do_not_count(upsampler: DUpsample) -> None:
    masks = torch.randint(CLASSES, (1, 4, 4))
    masks[0, :2, :2] = 255
    prediction = upsampler.encode(masks, 255)
    prediction[0, :, 0, 0] += 100
    assert loss_of(upsampler, prediction, masks) < 1e-12


def test_batch_without_a_label_gives_zero_with_a_graph(upsampler: DUpsample) -> None:
    prediction = torch.randn(1, CODES, 2, 2, requires_grad=True)
    loss = loss_of(upsampler, prediction, torch.full((1, 4, 4), 255))
    loss.backward()
    assert loss == 0
    assert prediction.grad is not None
    assert not prediction.grad.any()


def test_it_is_the_squared_error_of_the_scores_but_for_a_constant(upsampler: DUpsample) -> None:
    """W has orthonormal columns, so that the gradient in the codes is that of the distance of W x from the labels."""
    masks = torch.randint(CLASSES, (1, 4, 4))
    prediction = torch.randn(1, CODES, 2, 2, requires_grad=True)
    loss_of(upsampler, prediction, masks).backward()
    codes = prediction.detach().clone().requires_grad_()
    wanted = torch.nn.functional.one_hot(masks, CLASSES).permute(0, 3, 1, 2).float()
    ((upsampler(codes, (4, 4)) - wanted).square().sum() / (4 * CODES)).backward()
    assert prediction.grad is not None
    torch.testing.assert_close(prediction.grad, codes.grad)


def test_it_is_the_main_loss_where_it_is_given_for_main(upsampler: DUpsample) -> None:
    masks = torch.randint(CLASSES, (2, 4, 4))
    prediction = torch.randn(2, CODES, 2, 2)
    code_loss = LabelCodeLoss(upsampler.encode, RATIO)
    losses = SegmentationLoss(cross_entropy, {}, aux_losses={"main": code_loss})(
        SegmentationOutput(prediction, {}), masks
    )
    assert losses["loss"] == losses["main"] == loss_of(upsampler, prediction, masks)


def test_codes_of_another_size_are_refused(upsampler: DUpsample) -> None:
    with pytest.raises(ShapeError, match=r"\(1, 5, 4, 4\), the labels have \(1, 5, 2, 2\)"):
        loss_of(upsampler, torch.zeros(1, CODES, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long))
