"""segwright models list | show."""

from typing import Annotated

import typer

from segwright.cli.console import print_json, print_table, say_next
from segwright.cli.options import Json

app = typer.Typer(help="The networks: parameters, work, paper, published checkpoints.", rich_markup_mode=None)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All networks, at 19 classes; GMACs at 1024x2048."""
    from segwright.cli.facts import model_facts
    from segwright.models import list_models
    from segwright.zoo import catalog

    facts = [model_facts(name) for name in list_models()]
    entries = catalog()
    if as_json:
        published = [{"id": entry.id, "model": entry.model, "source": entry.source} for entry in entries]
        print_json({"models": facts, "published": published})
    else:
        rows = [[f["name"], f["system"], f"{f['parameters'] / 1e6:.2f} M", f"{f['gmacs']:.1f}"] for f in facts]
        print_table(["model", "system", "parameters", "GMACs"], rows, left=2)
        if entries:
            print()
            print_table(["published", "model"], [[entry.id, entry.model] for entry in entries], left=2)
    say_next("models", "show", facts[0]["name"])


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in segwright models list.")], as_json: Json = False
) -> None:
    """One network: parameters, GMACs, options and paper."""
    from segwright.cli.facts import model_facts

    facts = model_facts(name)
    if as_json:
        print_json(facts)
    else:
        print(f"{facts['system']}\n{facts['paper']}\n")
        print(f"parameters   {facts['parameters']:,} at {facts['num_classes']} classes")
        print(f"in training  {facts['parameters_in_training']:,} with auxiliary heads")
        print(f"GMACs        {facts['gmacs']:.2f} at {facts['size'][0]}x{facts['size'][1]} (height x width)")
        for option, values in facts["options"].items():
            choices = f" of {', '.join(map(str, values['choices']))}" if values["choices"] else ""
            print(f"option       {option}: {values['default']}{choices}")
        for entry in facts["published"]:
            print(f"published    {entry}")
    say_next("train", "DATA", "--model", name)
