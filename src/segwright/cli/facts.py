"""What can be said of a network without its weights: size, work, options, paper."""

import inspect
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, get_args

import torch
from torch.utils.flop_counter import FlopCounterMode

from segwright.models import SegmentationModel, build_model, model_builder
from segwright.zoo import Entry, catalog, own_infos
from segwright.zoo.published import datasets

NUM_CLASSES = 19
SIZE = (1024, 2048)


def model_facts(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Facts about a registered network at 19 classes; nothing is computed, for all runs on the meta device.

    Raises:
        ConfigError: unknown model or option.
    """
    builder = model_builder(name)
    with torch.device("meta"):
        model = build_model(name, NUM_CLASSES, options or {}).eval()
    document = inspect.getdoc(inspect.getmodule(builder)) or ""
    title, _, text = document.partition("\n")
    papers = [line.removeprefix("Paper:").strip() for line in text.splitlines() if line.startswith("Paper:")]
    return {
        "name": name,
        "system": title.rstrip("."),
        "paper": papers[0] if papers else "",
        "parameters": count_used_parameters(model),
        "parameters_in_training": sum(parameter.numel() for parameter in model.parameters()),
        "gmacs": count_gmacs(model),
        "num_classes": NUM_CLASSES,
        "size": list(SIZE),
        "options": builder_options(name),
        "published": [entry_facts(entry) for entry in catalog() if entry.model == name],
    }


def entry_facts(entry: Entry) -> dict[str, Any]:
    """What is published of a network, with its score and licence where there are weights."""
    weights = entry.weights
    if weights is None:
        return {"id": entry.id, "model": entry.model, "options": dict(entry.options), "source": entry.source}
    labels = datasets()[weights.dataset]
    return {
        "id": entry.id,
        "model": entry.model,
        "options": dict(entry.options),
        "data": labels.title,
        "num_classes": entry.num_classes,
        "miou": weights.miou,
        "miou_multi_scale": weights.miou_multi_scale,
        "protocol": weights.protocol,
        "preprocessing": asdict(entry.preprocessing),
        "parameters": weights.parameters,
        "licences": {"weights": weights.licence, "training_data": labels.terms},
        "url": weights.url,
        "sha256": weights.sha256_start,
        "classes": list(labels.classes[: entry.num_classes]),
    }


def own_facts(name: str) -> dict[str, Any]:
    """What the file of a network that we trained ourselves says of it."""
    info = own_infos()[name]
    return {
        "id": name,
        "model": info.name,
        "options": dict(info.options),
        "data": info.provenance.get("data"),
        "num_classes": info.num_classes,
        "miou": 100 * info.scores["miou"],
        "miou_multi_scale": 100 * info.scores["miou_multi_scale"],
        "protocol": info.scores["protocol"],
        "preprocessing": asdict(info.preprocessing),
        "parameters": None,
        "licences": dict(info.licences),
        "file": "comes with segwright",
        "classes": list(info.classes),
    }


def count_used_parameters(model: SegmentationModel) -> int:
    """Parameters that the logits depend on in evaluation; heads that only train are left out."""
    images = torch.empty(1, model.in_channels, 128, 128, device="meta")
    model(images).logits.sum().backward()
    used = sum(parameter.numel() for parameter in model.parameters() if parameter.grad is not None)
    model.zero_grad()
    return used


def count_gmacs(model: SegmentationModel) -> float:
    """Billions of multiply-adds of convolutions and matrix products for one picture of 1024 x 2048."""
    images = torch.empty(1, model.in_channels, *SIZE, device="meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(images)
    return counter.get_total_flops() / 2e9


def builder_options(name: str) -> dict[str, dict[str, Any]]:
    """The builder's keyword arguments and the one that all have, with defaults and, where they are listed, choices."""
    parameters = list(inspect.signature(model_builder(name)).parameters.values())[1:]
    options: dict[str, dict[str, Any]] = {
        parameter.name: {
            "default": None if parameter.default is parameter.empty else parameter.default,
            "choices": [choice for choice in get_args(parameter.annotation) if isinstance(choice, str | int)],
        }
        for parameter in parameters
    }
    return {**options, "in_channels": {"default": 3, "choices": []}}
