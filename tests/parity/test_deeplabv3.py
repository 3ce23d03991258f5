"""DeepLabv3 against mmsegmentation, segmentation-models-pytorch and torchvision.

Where theirs depart from the paper (each a named option here): none has a multi-grid at output stride 8; mmsegmentation
halves the dilation in a stage's first block, is a quarter of the trunk wide, merges by 3x3 and begins with image
pooling; the other two add a 3x3 convolution after merging; torchvision's auxiliary head on MobileNetV3 reads the first
block of stride 8, and its rates there are those of output stride 8 at 16.
"""

import pytest
import torch
from torch import nn

from segwright import zoo
from segwright.models import build_model, create_model
from segwright.zoo.systems import deeplabv3
from tests.support.parity import count_macs, file_of, full_distance, golden_distance, on_meta
from tests.support.reference import golden, shared

AUX = {"aux": "aux0_native"}
GOLDEN = {
    "mmseg/deeplabv3_r50-d8": AUX,
    "smp/deeplabv3_resnet34": {},
    "torchvision/deeplabv3_resnet50": AUX,
    "torchvision/deeplabv3_mobilenet_v3_large": AUX,
}
"""Our names of the auxiliary outputs of each record that the tests carry."""
UNRECORDED = {"mmseg/deeplabv3_r101-d8", *(f"smp/deeplabv3_resnet{depth}" for depth in (18, 101, 152))}
WITH_OUTPUTS = [entry.id for entry in deeplabv3.ENTRIES if entry.id not in UNRECORDED]


@pytest.mark.parametrize("id", GOLDEN)
def test_logits_equal_the_reference(id: str) -> None:
    assert golden_distance(id, GOLDEN[id]) < 1e-4


@pytest.mark.parametrize("id", ["smp/deeplabv3_resnet34", "torchvision/deeplabv3_mobilenet_v3_large"])
def test_logits_at_the_image_s_size_equal_the_reference(id: str) -> None:
    assert full_distance(id) < 1e-4


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("id", WITH_OUTPUTS)
def test_whole_records_equal_ours(id: str, large: bool) -> None:
    """Only in the large ones do the rates 24 and 36 see something different."""
    assert full_distance(id, large=large) < 1e-4


def test_keys_of_the_deep_network_convert() -> None:
    record, own = shared("mmseg__deeplabv3_r101-d8").record, on_meta("mmseg/deeplabv3_r101-d8")
    theirs = {key: torch.empty(shape, device="meta") for key, shape, *_ in record["state_dict"]}
    converted = zoo.convert("mmseg/deeplabv3_r101-d8", theirs)
    assert {key: tensor.shape for key, tensor in converted.items()} == {
        key: tensor.shape for key, tensor in own.state_dict().items()
    }
    assert sum(parameter.numel() for parameter in own.parameters()) == record["params_total"]


@pytest.mark.parametrize("id", GOLDEN)
def test_parameter_count_equals_the_reference(id: str) -> None:
    count = sum(parameter.numel() for parameter in on_meta(id).parameters())
    assert count == golden(file_of(id)).record["params_total"]


@pytest.mark.parametrize("id", GOLDEN)
def test_multiplications_equal_the_reference(id: str) -> None:
    for size, wanted in golden(file_of(id)).record["macs"].items():
        assert count_macs(on_meta(id), *map(int, size.split("x"))) == wanted, size


@pytest.mark.parametrize(
    ("options", "dilations", "rates"),
    [
        ({"output_stride": 8}, [1, 2, 2, 2, 2, 2, 2, 4, 4], [12, 24, 36]),
        ({"output_stride": 16, "multi_grid": [1, 2, 4]}, [1, 1, 1, 1, 1, 1, 1, 2, 4], [6, 12, 18]),
    ],
)
def test_mmsegmentation_s_dilations(options: dict[str, object], dilations: list[int], rates: list[int]) -> None:
    """Its d16-mg124 networks have the multi-grid in place of the stage's dilation."""
    with torch.device("meta"):
        model = build_model("deeplabv3", 19, {"backbone": "resnet50c", "variant": "mmseg", **options})
    blocks = [block for number in (3, 4) for block in model.backbone.network.get_submodule(f"layer{number}")]
    assert [block.conv2.dilation[0] for block in blocks] == dilations
    assert [branch[0].dilation[0] for branch in model.decoder.aspp.branches] == [1, *rates]


def test_mmsegmentation_s_small_network_is_a_quarter_as_wide() -> None:
    """Its r18 and r18b; the counts are those of the published weights."""
    for backbone, count in (("resnet18c", 13_986_374), ("resnet18", 13_967_142)):
        with torch.device("meta"):
            model = build_model("deeplabv3", 19, {"backbone": backbone, "variant": "mmseg", "output_stride": 8})
        assert model.decoder.classifier.in_channels == 128
        assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_torchvision_s_mobilenet_has_its_own_normalisation() -> None:
    norms = list(on_meta("torchvision/deeplabv3_mobilenet_v3_large").modules())
    assert sum(isinstance(part, nn.BatchNorm2d) and part.eps == 1e-3 for part in norms) == 46
    assert sum(isinstance(part, nn.BatchNorm2d) and part.eps == 1e-5 for part in norms) == 8


def test_the_paper_s_multi_grid_is_told_apart() -> None:
    """The comparison is sharp enough: with the paper's multi-grid the logits move by far more than 1e-4."""
    id, reference = "smp/deeplabv3_resnet34", golden("smp__deeplabv3_resnet34")
    model = create_model("deeplabv3", num_classes=19, **zoo.create(id).info.options, multi_grid=(1, 2, 4))
    model.load_state_dict(zoo.convert(id, reference.state_dict))
    tag, images = next(reference.runs())
    with torch.no_grad():
        assert reference.distances(tag, {"native": model.eval().strided_logits(images).logits})["native"] > 1e-2
