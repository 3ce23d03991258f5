"""The upsampling layer against an unofficial implementation's, with its weights.

Only the layer: the network around it is not the paper's (no pooling before the decoder, one shared 1x1 convolution for
both low-level maps, dense convolutions, codes of 256 channels). Its patches are counted row by row and then class by
class, ours class by class first. The last line of its forward swaps height and width, so that only square maps come
out right.
"""

import pytest
import torch
from torch import Tensor

from segwright.layers.dupsampling import DUpsample
from tests.support.compare import distance
from tests.support.fill import normal, sha256
from tests.support.reference import Reference, golden, shared

NAME, CLASSES, RATIO, CODES = "dupsampling__layer_r8", 19, 8, 64


def converted(reference: Reference) -> DUpsample:
    """Our layer with their W and P, whose values are brought into our order."""
    weights = reference.state_dict

    def reordered(matrix: Tensor) -> Tensor:
        return matrix.view(RATIO, RATIO, CLASSES, CODES).permute(2, 0, 1, 3).reshape(-1, CODES)

    layer = DUpsample(CODES, CLASSES, RATIO, trains_on_codes=True)
    theirs = weights["dupsample.conv_w.weight"][:, :, 0, 0], weights["dupsample.conv_p.weight"][:, :, 0, 0].T
    reconstruction, projection = map(reordered, theirs)
    layer.set_codes(reconstruction, projection.T)
    return layer


def codes_at(height: int, width: int) -> Tensor:
    """The layer's input in a run on images of this size: a sixteenth of it."""
    return torch.from_numpy(normal(55, (1, CODES, height // 16, width // 16)))


def rearranged(patches: Tensor) -> Tensor:
    """What their convolution gives, (1, rows, columns and classes of a patch, h, w), at its pixels."""
    height, width = patches.shape[-2:]
    parts = patches.view(1, RATIO, RATIO, CLASSES, height, width)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(1, CLASSES, RATIO * height, RATIO * width)


@torch.no_grad()
def test_scores_of_a_square_map_equal_the_reference() -> None:
    reference = golden(NAME)
    scores = converted(reference)(codes_at(96, 96), (48, 48))
    assert reference.distances("s1_96x96", {"out": scores})["out"] < 1e-6


def test_their_order_of_patches_is_told_apart() -> None:
    """The comparison is sharp enough: weights in their order give other scores."""
    reference, layer = golden(NAME), converted(golden(NAME))
    theirs = reference.state_dict["dupsample.conv_w.weight"][:, :, 0, 0]
    layer.set_codes(theirs, theirs.T)
    with torch.no_grad():
        scores = layer(codes_at(96, 96), (48, 48))
    assert reference.distances("s1_96x96", {"out": scores})["out"] > 1


@torch.no_grad()
def test_rearrangement_is_the_one_that_turns_their_convolution_into_their_scores() -> None:
    reference = golden(NAME)
    patches, scores = (torch.from_numpy(reference.arrays[f"s1_96x96__{name}"]) for name in ("conv_w", "out"))
    assert torch.equal(rearranged(patches), scores)


@torch.no_grad()
def test_scores_of_another_map_equal_the_right_rearrangement_of_their_convolution() -> None:
    reference = shared(NAME)
    patches = torch.from_numpy(reference.arrays["s1_96x160__conv_w"])
    scores = converted(reference)(codes_at(96, 160), (48, 80))
    assert distance(scores, rearranged(patches)) < 1e-6
    assert reference.record["outputs"]["s1_96x160"]["out"]["shape"] == [1, CLASSES, 80, 48]  # height and width swapped


def test_weights_are_the_recorded_ones() -> None:
    reference, layer = golden(NAME), converted(golden(NAME))
    weights = reference.state_dict
    hashes = reference.record["fill_sha256"]
    assert {name: sha256(weights[name].numpy()) for name in hashes} == hashes
    assert layer.projection is not None
    assert layer.weight.numel() + layer.projection.numel() == reference.record["params_total"]


@pytest.mark.parametrize(("row", "column", "label"), [(0, 0, 0), (3, 5, 7), (7, 1, 18)])
def test_one_value_of_a_patch_lands_at_the_same_pixel_and_class(row: int, column: int, label: int) -> None:
    patches = torch.zeros(1, RATIO**2 * CLASSES, 2, 3)
    patches[0, (row * RATIO + column) * CLASSES + label, 1, 2] = 1
    assert rearranged(patches).nonzero().tolist() == [[0, label, RATIO + row, 2 * RATIO + column]]
