import pytest
import torch
from torch import nn

from segwright.backbones.wide_resnet38 import PreActivatedBlock, WideResNet38


@pytest.fixture(scope="module")
def on_meta() -> WideResNet38:
    with torch.device("meta"):
        return WideResNet38()


def test_parameter_count_is_the_paper_s_trunk(on_meta: WideResNet38) -> None:
    assert sum(parameter.numel() for parameter in on_meta.parameters()) == 105_062_720


def test_blocks_per_stage(on_meta: WideResNet38) -> None:
    assert [len(on_meta.get_submodule(f"mod{stage}")) for stage in range(2, 8)] == [3, 3, 6, 3, 1, 1]  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 97), (64, 96), (128, 65)])
def test_maps_have_the_stated_channels_and_strides(on_meta: WideResNet38, size: tuple[int, int]) -> None:
    maps = on_meta(torch.empty(2, 3, *size, device="meta"))
    wanted = zip(on_meta.channels, on_meta.strides, strict=True)
    assert [tuple(features.shape) for features in maps] == [
        (2, channels, -(-size[0] // stride), -(-size[1] // stride)) for channels, stride in wanted
    ]


def test_stages_5_to_7_dilate_their_3x3_convolutions(on_meta: WideResNet38) -> None:
    rates: dict[int, set[tuple[int, ...]]] = {number: set() for number in range(1, 8)}
    for name, conv in on_meta.named_modules():
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
            rates[int(name[3])].add(conv.dilation)
    assert rates == {1: {(1, 1)}, 2: {(1, 1)}, 3: {(1, 1)}, 4: {(1, 1)}, 5: {(2, 2)}, 6: {(4, 4)}, 7: {(4, 4)}}


def test_only_the_last_two_stages_drop_channels(on_meta: WideResNet38) -> None:
    dropped = [module.p for module in on_meta.modules() if isinstance(module, nn.Dropout2d) and module.p]
    assert dropped == [0.3, 0.5]


def test_block_is_pre_activated_and_projects_what_it_activated() -> None:
    block = PreActivatedBlock(4, (3, 6)).eval()
    assert block.projection is not None
    features = torch.randn(2, 4, 5, 5)
    activated = block.norms[0](features).relu()
    change = block.convs[1](block.norms[1](block.convs[0](activated)).relu())
    torch.testing.assert_close(block(features), change + block.projection(activated))


def test_block_of_equal_width_adds_its_input_as_it_is() -> None:
    block = PreActivatedBlock(4, (2, 3, 4)).eval()
    assert block.projection is None
    features = torch.randn(2, 4, 5, 5)
    before = features.clone()
    for conv in block.convs:
        nn.init.zeros_(conv.weight)  # type: ignore[arg-type]
    assert torch.equal(block(features), before)
    assert torch.equal(features, before)


def test_block_trains_on_one_value_per_channel() -> None:
    block = PreActivatedBlock(4, (2, 3, 8), dilation=4, dropout=0.5).train()
    block(torch.randn(1, 4, 1, 1)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in block.parameters())
