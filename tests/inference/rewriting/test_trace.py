"""What is seen of a network in evaluation."""

import subprocess
import sys

import torch
from torch import Tensor, nn

from segwright.inference.rewriting.trace import trace
from segwright.models import SegmentationModel
from segwright.types import SegmentationOutput


class Watched(SegmentationModel):
    """A network with parts that are used in several ways, or not at all."""

    num_classes, aux_weights = 2, {}

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 2, 3, stride=2, padding=1), nn.BatchNorm2d(2)
        self.only_trained = nn.ModuleDict({"aux": nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))})
        self.list_with_one_unused = nn.ModuleList([nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)])
        self.only_weight_is_read, self.nothing_to_learn = nn.Conv2d(2, 2, 1), nn.Dropout()
        self.at_odd_sizes = nn.Conv2d(2, 2, 1)

    def strided_logits(self, images: Tensor) -> SegmentationOutput:
        maps = self.norm(self.conv(images))
        maps = self.list_with_one_unused[0](maps) * self.only_weight_is_read.weight.sum()
        if images.shape[-1] % 2:
            maps = self.at_odd_sizes(maps)
        return SegmentationOutput(maps, {"aux": self.only_trained["aux"](maps)} if self.training else {})


def test_dead_is_what_no_run_calls_or_reads() -> None:
    model = Watched().eval()
    assert trace(model, [(8, 10), (9, 7)]).dead == ("only_trained", "list_with_one_unused.1")
    assert trace(model, [(8, 10)]).dead == ("only_trained", "list_with_one_unused.1", "at_odd_sizes")


def test_fold_joins_a_convolution_to_its_only_reader() -> None:
    model = Watched().eval()
    assert trace(model, [(8, 10), (9, 7)]).folds == {model.conv: model.norm}


def test_as_much_is_seen_in_inference_mode() -> None:
    model = Watched().eval()
    with torch.inference_mode():
        assert trace(model, [(8, 10), (9, 7)]).folds == {model.conv: model.norm}


def test_map_sizes_are_those_of_the_first_run() -> None:
    model = Watched().eval()
    sizes = trace(model, [(8, 10), (9, 7)]).map_sizes
    assert sizes[model.conv] == (8, 10)
    assert sizes[model.list_with_one_unused[0]] == (4, 5)  # type: ignore[index]


def test_looking_on_leaves_no_hook_and_no_change() -> None:
    model = Watched().eval()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state = torch.random.get_rng_state()
    seen = trace(model, [(8, 10)])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert torch.equal(seen.logits[0], model.strided_logits(seen.images[0]).logits)


def test_looking_on_does_not_import_torchs_compiler() -> None:
    code = """
import sys
from segwright.inference.rewriting.trace import trace
from segwright.models import create_model
trace(create_model("fast_scnn", num_classes=2).eval(), [(32, 32)])
assert "torch._dynamo" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
