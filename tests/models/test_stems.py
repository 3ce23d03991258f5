"""Networks for pictures of any number of bands, and where their first weights come from."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segwright.backbones import backbone
from segwright.errors import ConfigError
from segwright.models import create_model
from segwright.models.stems import adapted, stems, widen
from segwright.models.transfer import transfer_weights


def test_stems_are_the_convolutions_that_read_the_images() -> None:
    assert list(stems(create_model("fast_scnn", num_classes=3), 3)) == ["learning_to_downsample.0.0"]
    bisenet = create_model("bisenet", num_classes=3)
    assert list(stems(bisenet, 3)) == ["spatial_path.0.0", "backbone.network.conv1.0"]


@pytest.mark.parametrize("value", [0, -1, 2.0, "4", True, None])
def test_a_number_of_channels_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="in_channels must be a whole number"):
        create_model("fast_scnn", num_classes=2, in_channels=value)


def test_three_channels_are_rgb() -> None:
    assert create_model("fast_scnn", num_classes=2, in_channels=3).info.preprocessing.bands is None
    steps = create_model("fast_scnn", num_classes=2, in_channels=2).info.preprocessing
    assert (steps.bands, steps.unit, steps.mean, steps.std) == (2, 1.0, (0.0, 0.0), (1.0, 1.0))


def test_fresh_weights_of_more_bands_vary_as_their_sum_did() -> None:
    torch.manual_seed(0)
    three, twelve = (create_model("fast_scnn", num_classes=2, in_channels=bands) for bands in (3, 12))
    stem = "learning_to_downsample.0.0.weight"
    stds = [model.state_dict()[stem].std() for model in (three, twelve)]
    assert float(stds[1] / stds[0]) == pytest.approx(0.5, rel=0.1)


class Odd(nn.Module):
    """Reads the images by a 1x1 convolution, too, which is not taken for a stem."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.squeeze = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 1)

    def strided_logits(self, images: Tensor) -> Tensor:
        return self.stem(images).mean() + self.squeeze(images)  # type: ignore[no-any-return]


def test_a_network_that_reads_the_images_in_its_own_way_is_refused() -> None:
    network = Odd()
    with pytest.raises(ConfigError, match="3 channels only"):
        widen(network, 3, 4)
    assert network.training


@pytest.mark.parametrize(("before", "after"), [(3, 1), (3, 2), (3, 3), (3, 8), (4, 3), (5, 2)])
def test_adapted_weights_answer_grey_pictures_as_before(before: int, after: int) -> None:
    weight = torch.ones(2, before, 3, 3) * torch.tensor([1.0, -2.0])[:, None, None, None]
    torch.testing.assert_close(adapted(weight, after).sum(dim=1), weight.sum(dim=1))


def test_adapted_weights_are_timms() -> None:
    manipulate = pytest.importorskip("timm.models._manipulate")
    weight = torch.randn(4, 3, 7, 7)
    for bands in (1, 2, 3, 4, 7):
        torch.testing.assert_close(adapted(weight, bands), manipulate.adapt_input_conv(bands, weight))


def test_trained_weights_start_a_network_of_other_bands(caplog: pytest.LogCaptureFixture) -> None:
    # 8 and 16 bands: as many as some inner convolutions read.
    for name, bands in (("fast_scnn", 4), ("bisenet", 8), ("icnet", 16)):
        source = create_model(name, num_classes=2)
        model = create_model(name, num_classes=2, in_channels=bands)
        transfer_weights(model, source, "source")
        theirs, ours = source.state_dict(), model.state_dict()
        for key in ours:
            expected = theirs[key]
            if f"{key}".removesuffix(".weight") in stems(source, 3):
                expected = adapted(expected, bands)
            assert torch.equal(ours[key], expected), key
        assert model.info.preprocessing.bands == bands
        assert f"adapted from 3 to {bands} bands" in caplog.text


def test_imagenet_weights_start_a_trunk_of_other_bands(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    create, made = backbone.timm.create_model, []

    def fake(name: str, **options: Any) -> nn.Module:
        if options.pop("pretrained", False):
            made.append(create(name, **options))
            return made[-1]  # type: ignore[no-any-return]
        return create(name, **options)  # type: ignore[no-any-return]

    monkeypatch.setattr(backbone.timm, "create_model", fake)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    model = create_model("fcn", num_classes=2, backbone="resnet18", in_channels=4, weights="imagenet")
    assert made[0].conv1.weight.shape[1] == 4
    assert torch.equal(model.get_parameter("backbone.network.conv1.weight"), made[0].conv1.weight)
    assert model.info.preprocessing.bands == 4
    assert "adapted from 3 to 4 bands" in caplog.text
