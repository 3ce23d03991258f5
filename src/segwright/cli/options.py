"""Options that several commands share, and the ones that take several values after one flag."""

from collections.abc import Sequence
from typing import Annotated

import typer

ModelArgument = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Model file, run folder, exported file, checkpoint, or id of models list."),
]
DataArgument = Annotated[str, typer.Argument(metavar="DATA", help="Folder of pictures and masks, or a data.yaml.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Runtime = Annotated[
    str, typer.Option(help="auto, torch or compiled; onnx or openvino for a file that segwright export wrote.")
]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16; fp16 on GPUs, int8 for files exported in it.")]
Flip = Annotated[bool, typer.Option("--flip", help="Average with the mirrored picture's probabilities.")]
Window = Annotated[
    tuple[int, int] | None,
    typer.Option(metavar="H W", help="Predict in a sliding window of this size; default: the whole picture."),
]
Scales = Annotated[
    list[float] | None,
    typer.Option(metavar="X...", help="Sizes whose probabilities are averaged, as --scales 0.75 1 1.25; default: 1."),
]

_TAKE_SEVERAL = ("--scales", "--shares", "--strides", "--codes")
_TAKE_WORDS = {
    "--runtime": ("torch", "compiled", "onnx", "openvino"),
    "--precision": ("auto", "fp32", "bf16", "fp16", "int8"),
}
"""Of ``segwright bench``, where models may follow: the words that belong to the option."""
_ANYWHERE = ("--debug", "--offline")


def arrange(words: Sequence[str]) -> list[str]:
    """A command line as typer reads it.

    ``--scales 0.75 1`` becomes ``--scales 0.75 --scales 1``: all numbers that follow belong to the option, and so do
    all runtimes and precisions of ``segwright bench``. ``--debug`` and ``--offline`` may stand anywhere and come first.
    What follows ``--`` stays as it is.
    """
    end = words.index("--") if "--" in words else len(words)
    arranged, option, count = [word for word in words[:end] if word in _ANYWHERE], "", 0
    rest = [word for word in words[:end] if word not in _ANYWHERE]
    wide = (*_TAKE_SEVERAL, *_TAKE_WORDS) if rest[:1] == ["bench"] else _TAKE_SEVERAL
    for word in rest:
        if option and _belongs(word, option):
            if count:
                arranged.append(option)
            count += 1
        else:
            option, count = (word if word in wide else ""), 0
        arranged.append(word)
    return [*arranged, *words[end:]]


def _belongs(word: str, option: str) -> bool:
    return word in _TAKE_WORDS[option] if option in _TAKE_WORDS else _is_number(word)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
