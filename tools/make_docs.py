"""Writes docs/config.md from the tree of settings; a test compares. Run ``python tools/make_docs.py``."""

from pathlib import Path

from segwright.config import Config

PAGE = Path(__file__).parents[1] / "docs" / "config.md"

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


if __name__ == "__main__":
    PAGE.write_text(config_page(), encoding="utf-8")
