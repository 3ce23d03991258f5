"""What a tensor of our network is called in somebody else's.

A map is a list of substitutions on our name, made in the order in which they stand, each at most once. It follows the
structure of our network, so that it holds for every depth and option.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

Substitution = tuple[str, str | Callable[[re.Match[str]], str]]


class KeyMap(NamedTuple):
    """How one source names the tensors of one of our networks.

    Args:
        substitutions: pattern and replacement, as in ``re.sub``, on the path of the module that holds the tensor;
            the last word of a key (``weight``, ``running_mean``, ...) stays.
        classifier: our key of a tensor whose first side is the number of classes.
        whole: further substitutions, on the whole key.
        unneeded: patterns of keys of theirs that our network has no use for, such as an ImageNet classifier.
        changes: by our key, what makes our tensor of theirs where they concatenate maps in another order.
    """

    substitutions: Sequence[Substitution]
    classifier: str
    whole: Sequence[Substitution] = ()
    unneeded: Sequence[str] = ()
    changes: Mapping[str, Callable[[Tensor], Tensor]] = {}

    def their_key(self, key: str) -> str:
        """Their name of our tensor ``key``."""
        module, dot, leaf = key.rpartition(".")
        return _substitute(_substitute(module, self.substitutions) + dot + leaf, self.whole)

    def our_tensor(self, key: str, theirs: Tensor) -> Tensor:
        """Our tensor ``key`` from theirs."""
        return self.changes[key](theirs) if key in self.changes else theirs

    def is_unneeded(self, key: str) -> bool:
        """Whether their tensor ``key`` is known to be of no use to us."""
        return any(re.search(pattern, key) for pattern in self.unneeded)


MapBuilder = Callable[[Mapping[str, Any]], KeyMap]
"""The key map of our network with the given builder options."""


def _substitute(text: str, substitutions: Iterable[Substitution]) -> str:
    for pattern, replacement in substitutions:
        text = re.sub(pattern, replacement, text, count=1)
    return text


def counted_from_one(template: str) -> Callable[[re.Match[str]], str]:
    """``template`` with the match's number, where they count from 1 and we from 0."""
    return lambda match: template.format(int(match[1]) + 1)


def has_deep_stem(backbone: str) -> bool:
    """Whether a ResNet begins with three 3x3 convolutions (timm's suffixes c, s, d, ...) instead of one 7x7."""
    return bool(re.fullmatch(r"resnet\d+[a-z]", backbone))


def mmseg_resnet(backbone: str) -> list[Substitution]:
    """Mmsegmentation's ResNet: the deep stem is one sequence, normalisation included."""
    stem: list[Substitution] = [(r"^backbone\.network\.conv1\.(\d)$", r"backbone.stem.\1")]
    stem += [(r"^backbone\.network\.bn1$", "backbone.stem.7" if has_deep_stem(backbone) else "backbone.bn1")]
    return [*stem, (r"^backbone\.network\.", "backbone.")]


def mmseg_fcn_head(ours: str, theirs: str) -> list[Substitution]:
    """Mmsegmentation's FCNHead of one convolution."""
    return [
        (rf"^{ours}\.0\.0$", f"{theirs}.convs.0.conv"),
        (rf"^{ours}\.0\.1$", f"{theirs}.convs.0.bn"),
        (rf"^{ours}\.2$", f"{theirs}.conv_seg"),
    ]


def mmseg_network(backbone: str, decoder: Iterable[Substitution]) -> list[Substitution]:
    """A network of mmsegmentation's on a ResNet, with an auxiliary head.

    Args:
        backbone: our trunk's name.
        decoder: our decoder's modules as ``decode_head``'s; convolutions and normalisations are named after that.
    """
    return [
        *mmseg_resnet(backbone),
        *decoder,
        (r"^(decode_head\..*)\.0$", r"\1.conv"),
        (r"^(decode_head\..*)\.1$", r"\1.bn"),
        *mmseg_fcn_head("aux_head", "auxiliary_head"),
    ]


def torchvision_fcn_head(ours: str, theirs: str) -> list[Substitution]:
    """The head as one sequence: convolution, normalisation, ReLU, dropout, classifier (torchvision, semseg)."""
    return [(rf"^{ours}\.0\.([01])$", rf"{theirs}.\1"), (rf"^{ours}\.2$", f"{theirs}.4")]


def last_block_first(share: float) -> Callable[[Tensor], Tensor]:
    """For a convolution of concatenated maps: their last ``share`` of the input channels are our first."""

    def change(weight: Tensor) -> Tensor:
        return weight.roll(round(share * weight.shape[1]), dims=1)

    return change
