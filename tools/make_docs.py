"""Writes docs/config.md and docs/models.md from the code; tests compare. Run ``python tools/make_docs.py``."""

from collections import Counter
from pathlib import Path

from segwright.cli.facts import model_facts
from segwright.config import Config
from segwright.models import list_models
from segwright.zoo import catalog

DOCS = Path(__file__).parents[1] / "docs"

HEAD = """# Settings

A run's settings are one tree. A recipe is a YAML file of it (`segwright train DATA --recipe FILE`),
`--set group.key=value` replaces a leaf, and the run folder's `config.yaml` shows what was used, with the reason where
it was chosen automatically (`none` below: "choose for me"). Unknown keys are errors.

This page is written by `python tools/make_docs.py`.
"""


def config_page() -> str:
    """The page as text."""
    parts = [HEAD]
    for group, field in Config.model_fields.items():
        settings = field.annotation
        assert settings is not None
        parts.append(f"\n## {group}\n\n| key | default | meaning |\n|---|---|---|\n")
        for key, leaf in settings.model_fields.items():
            default = leaf.get_default(call_default_factory=True)
            shown = "none" if default is None else list(default) if isinstance(default, tuple) else default
            parts.append(f"| `{group}.{key}` | `{shown}` | {leaf.description} |\n")
    return "".join(parts)


MODELS_HEAD = """# Models

Parameters in evaluation at 19 classes, multiply-adds for one picture of 1024x2048, with the options that are the
default (`segwright models show NAME` tells them; other backbones and output strides change both). *Checkpoints* counts
the published ones that load by their id: `segwright models list` has them all, with data, mIoU and licence.

This page is written by `python tools/make_docs.py`.

| name | system | parameters | GMACs | checkpoints | paper |
|---|---|---|---|---|---|
"""


def models_page() -> str:
    """The page as text."""
    published = Counter(entry.model for entry in catalog() if entry.weights is not None)
    rows = []
    for name in list_models():
        facts = model_facts(name)
        size = f"{facts['parameters']:,} | {facts['gmacs']:.1f}"
        rows.append(f"| `{name}` | {facts['system']} | {size} | {published[name] or '-'} | {facts['paper']} |\n")
    return MODELS_HEAD + "".join(rows)


if __name__ == "__main__":
    (DOCS / "config.md").write_text(config_page(), encoding="utf-8")
    (DOCS / "models.md").write_text(models_page(), encoding="utf-8")
