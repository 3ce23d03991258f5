"""Whether the network may be used."""

import os


def is_offline() -> bool:
    """Whether the network is forbidden, by ``--offline`` or as huggingface_hub reads it."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
