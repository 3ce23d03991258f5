"""Compression by l1 norms: smaller by the expected count, and equal to the wide network with the other filters at 0."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from segwright.errors import ConfigError
from segwright.models import create_model, load_model_file, save_model
from segwright.models.icnet import ICNet, compress
from segwright.models.icnet_compression import channel_groups, kept_filters, l1_norms
from tests.support.compare import distance
from tests.support.fill import fill, images


def network(width: float, num_classes: int = 3, **options: object) -> ICNet:
    model = create_model("icnet", num_classes=num_classes, width=width, **options)
    assert isinstance(model, ICNet)
    fill(model)
    return model.eval()


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def mask(model: ICNet, rate: float) -> None:
    """Zero the filters that compression would remove: weights, and scale and shift of their normalisation."""
    with torch.device("meta"):
        narrow = create_model("icnet", num_classes=model.num_classes, width=rate)
    assert isinstance(narrow, ICNet)
    for name, kept in kept_filters(model, narrow)[0].items():
        conv, norm = model.get_submodule(name)
        gone = torch.ones(conv.out_channels, dtype=torch.bool)
        gone[kept] = False
        for tensor in (conv.weight, norm.weight, norm.bias):
            tensor[gone] = 0


@pytest.fixture
def wide() -> ICNet:
    return network(0.25)


@pytest.mark.parametrize("rate", [0.1875, 0.125, 0.1])
@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_compressed_network_equals_the_masked_one(wide: ICNet, rate: float, training: bool) -> None:
    pictures = images(0, 97, 129, batch=2).double()
    narrow = compress(wide.double(), rate).train(training)
    mask(wide.train(training), rate)
    got, wanted = narrow(pictures), wide(pictures)
    assert distance(got.logits, wanted.logits) < 1e-9
    assert set(got.aux) == set(wanted.aux) == ({"low", "medium"} if training else set())
    assert all(distance(got.aux[name], logits) < 1e-9 for name, logits in wanted.aux.items())


@torch.no_grad()
def test_compressed_network_equals_the_masked_one_at_the_paper_s_widths() -> None:
    wide, pictures = network(1.0, num_classes=19), images(0, 65, 97)
    narrow = compress(wide, 0.75)
    mask(wide, 0.75)
    assert distance(narrow(pictures).logits, wide(pictures).logits) < 1e-5


@torch.no_grad()
def test_wide_network_stays_as_it_is(wide: ICNet) -> None:
    before = {key: tensor.clone() for key, tensor in wide.state_dict().items()}
    compress(wide, 0.125)
    assert wide.width == wide.info.options["width"] == 0.25
    assert all(torch.equal(tensor, before[key]) for key, tensor in wide.state_dict().items())


def test_progressive_compression_ends_at_the_paper_s_size() -> None:
    model = create_model("icnet", num_classes=19, width=1.0, aux=False)
    sizes = [parameters(model)]
    for rate in (0.75, 0.5):
        model = compress(model, rate)
        sizes.append(parameters(model))
    assert sizes == [26_734_483, 15_050_419, 6_699_987]


def test_every_filter_and_every_input_is_in_one_group(wide: ICNet) -> None:
    groups = channel_groups(wide)
    producers = [name for group in groups for name in group.producers]
    consumers = [name for group in groups for name in group.consumers]
    names = {
        name if name.startswith(("classifier", "aux_heads")) else name.removesuffix(".0"): conv
        for name, conv in wide.named_modules()
        if isinstance(conv, nn.Conv2d)
    }
    assert sorted(producers) == sorted(name for name, conv in names.items() if conv.out_channels != 3)
    assert sorted(consumers) == sorted(name for name, conv in names.items() if conv.in_channels != 3)


@torch.no_grad()
def test_maps_that_are_added_are_in_one_group(wide: ICNet) -> None:
    together = [set(group.producers) for group in channel_groups(wide) if len(group.producers) > 1]
    assert {"conv3_1.projection", "conv3_1.increase", *(f"conv3.{block}.increase" for block in range(3))} in together
    assert {"fusion_low.low", "fusion_low.high"} in together
    assert [len(group) for group in together] == [4, 5, 7, 4, 2, 2]


@torch.no_grad()
def test_filters_of_the_smallest_norms_go(wide: ICNet) -> None:
    conv = wide.stem[0][0]
    conv.weight[::2] *= 0.01
    narrow = compress(wide, 0.125)
    assert torch.equal(narrow.stem[0][0].weight, conv.weight[1::2])
    assert torch.equal(l1_norms(wide.stem[0]), torch.stack([weights.abs().sum() for weights in conv.weight]))


@torch.no_grad()
def test_added_filters_go_by_the_sum_of_their_norms(wide: ICNet) -> None:
    """A convolution of large weights does not outvote the one that it is added to."""
    low, high = wide.fusion_low.low[0], wide.fusion_low.high[0]
    nn.init.constant_(low.weight, 1000.0)
    nn.init.ones_(high.weight)
    low.weight[:32] *= 1.1
    high.weight[32:] *= 2
    assert (compress(wide, 0.125).fusion_low.high[0].weight == 2).all()


def test_compressed_file_loads_and_computes_the_same(wide: ICNet, tmp_path: Path) -> None:
    save_model(compress(wide, 0.1), tmp_path / "narrow.safetensors")
    loaded, direct = load_model_file(tmp_path / "narrow.safetensors"), compress(wide, 0.1)
    assert loaded.info == direct.info
    assert loaded.info.options == {"width": 0.1}
    assert loaded.info.provenance["compressed"] == "from width 0.25 to 0.1 by l1 norms"
    assert torch.equal(loaded(images(0, 33, 65)).logits, direct(images(0, 33, 65)).logits)


def test_tuning_starts_from_the_compressed_file(wide: ICNet, tmp_path: Path) -> None:
    narrow, path = compress(wide, 0.125), tmp_path / "narrow.safetensors"
    save_model(narrow, path)
    tuned = create_model("icnet", num_classes=3, weights=path, width=0.125)
    assert all(torch.equal(tensor, narrow.state_dict()[key]) for key, tensor in tuned.state_dict().items())


def test_other_options_mode_and_precision_stay() -> None:
    wide = network(0.1, num_classes=2, backbone="resnet101", aux=False).double().train()
    narrow = compress(wide, 0.05)
    assert narrow.info.options == {"backbone": "resnet101", "aux": False, "width": 0.05}
    assert len(narrow.conv4) == 23
    assert narrow.training
    assert narrow.classifier.weight.dtype == torch.float64


@pytest.mark.parametrize("rate", [0.0, -1.0, 0.25, 0.5])
def test_wrong_rate_is_named(wide: ICNet, rate: float) -> None:
    with pytest.raises(ConfigError, match=r"below the network's own width 0\.25"):
        compress(wide, rate)


def test_other_networks_are_refused() -> None:
    with pytest.raises(ConfigError, match="got FastSCNN"):
        compress(create_model("fast_scnn", num_classes=2), 0.5)
    with pytest.raises(ConfigError, match="got MMSegICNet"):
        compress(create_model("icnet", num_classes=2, variant="mmseg", backbone="resnet18c"), 0.5)


def test_gradients_reach_every_weight_of_the_compressed_network(wide: ICNet) -> None:
    narrow = compress(wide, 0.125).train()
    output = narrow(images(0, 96, 128, batch=4))
    sum(logits.square().mean() for logits in (output.logits, *output.aux.values())).backward()
    gradients: dict[str, Tensor | None] = {name: parameter.grad for name, parameter in narrow.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []
