"""segwright models list | show."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from segwright.cli.console import print_json, print_table, say_next
from segwright.cli.options import Json

app = typer.Typer(help="The networks: parameters, work, paper, published checkpoints.", rich_markup_mode=None)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All networks, at 19 classes, GMACs at 1024x2048; then all published checkpoints with mIoU and licence."""
    from segwright.cli.facts import entry_facts, model_facts, own_facts
    from segwright.models import list_models
    from segwright.zoo import catalog, own_infos

    facts = [model_facts(name) for name in list_models()]
    entries = [*map(own_facts, own_infos()), *(entry_facts(entry) for entry in catalog())]
    if as_json:
        print_json({"models": facts, "published": entries})
    else:
        rows = [[f["name"], f["system"], f"{f['parameters'] / 1e6:.2f} M", f"{f['gmacs']:.1f}"] for f in facts]
        print_table(["model", "system", "parameters", "GMACs"], rows, left=2)
        print()
        print_published([entry for entry in entries if "miou" in entry])
    say_next("models", "show", facts[0]["name"])


def print_published(entries: Sequence[Mapping[str, Any]]) -> None:
    """Checkpoints with weights: data, mIoU at one scale and at several, licence and the data's terms."""
    rows = [
        [
            entry["id"],
            entry["data"],
            f"{entry['licences']['weights']}; {entry['licences']['training_data']}",
            figure(entry["miou"]),
            figure(entry["miou_multi_scale"]),
        ]
        for entry in entries
    ]
    headings = ["published checkpoint", "data", "licence; terms of the pictures", "mIoU %", "scales+flip"]
    print_table(headings, rows, left=3)


def figure(value: float | None) -> str:
    """A published figure as it stands there."""
    return "-" if value is None else f"{value:.2f}"


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of a network or checkpoint in segwright models list.")],
    as_json: Json = False,
) -> None:
    """One network or checkpoint: parameters, GMACs, options, paper; data, scores, licence."""
    from segwright.cli.facts import entry_facts, model_facts, own_facts
    from segwright.zoo import find, own_infos

    if name in own_infos():
        facts = own_facts(name)
    elif "/" in name:
        facts = entry_facts(find(name))
    else:
        facts = model_facts(name)
    if as_json:
        print_json(facts)
    elif "/" in name:
        print_entry(facts)
    else:
        print_network(facts)
    if "/" in name:
        say_next(*(("predict", name, "PICTURES") if "miou" in facts else ("models", "show", facts["model"])))
    else:
        say_next("train", "DATA", "--model", name)


def print_network(facts: Mapping[str, Any]) -> None:
    """Size, work, options and checkpoints of a network."""
    print(f"{facts['system']}\n{facts['paper']}\n")
    print(f"parameters   {facts['parameters']:,} at {facts['num_classes']} classes")
    print(f"in training  {facts['parameters_in_training']:,} with auxiliary heads")
    print(f"GMACs        {facts['gmacs']:.2f} at {facts['size'][0]}x{facts['size'][1]} (height x width)")
    for option, values in facts["options"].items():
        choices = f" of {', '.join(map(str, values['choices']))}" if values["choices"] else ""
        print(f"option       {option}: {values['default']}{choices}")
    for entry in facts["published"]:
        if "url" not in entry:
            print(f"rebuilds     {entry['id']}")
    if with_weights := [entry for entry in facts["published"] if "url" in entry]:
        print()
        print_published(with_weights)


def print_entry(facts: Mapping[str, Any]) -> None:
    """All that is known of somebody else's network."""
    options = ", ".join(f"{key}={value}" for key, value in facts["options"].items())
    lines = {"id": facts["id"], "model": f"{facts['model']} ({options})", "source": facts.get("source")}
    if "miou" in facts:
        by = "as published" if "url" in facts else "by segwright evaluate"
        lines |= {
            "data": f"{facts['data']}, {facts['num_classes']} classes",
            "mIoU": f"{figure(facts['miou'])} %; {figure(facts['miou_multi_scale'])} % with scales and flip "
            f"({facts['protocol']}), {by}",
            "parameters": f"{facts['parameters']:,} with auxiliary heads" if facts["parameters"] else None,
            "licence": f"{facts['licences']['weights']}; pictures: {facts['licences']['training_data']}",
            "file": facts.get("url") or facts["file"],
            "classes": ", ".join(facts["classes"]),
        }
    for topic, text in lines.items():
        if text:
            print(f"{topic:<12} {text}")
