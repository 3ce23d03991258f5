"""ICNet's progressive compression on a data set: full width, 3/4, 1/2, each step trained from the one before.

Run: python recipes/icnet_compression.py DATA --out runs/icnet --epochs 100
Hardware and score: not measured; each step costs what an ICNet of its width costs (117, 66 and 30 GMACs at 1025x2049).
"""

import argparse
import logging
from pathlib import Path

import segwright
from segwright.models import save_model
from segwright.models.icnet import compress

RATES = (1.0, 0.75, 0.5)


def main() -> None:
    """Train, compress and tune; every step is a run folder, the last one holds the network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder or data.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs/icnet"))
    parser.add_argument("--epochs", type=float, default=100.0, help="of the full width")
    parser.add_argument("--tuning-epochs", type=float, default=30.0, help="after each compression")
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    weights = None
    for rate in RATES:
        if weights is not None:
            narrow = compress(segwright.load_model(weights), rate)
            weights = options.out / f"start_{rate}.safetensors"
            save_model(narrow, weights)
        run = segwright.train(
            options.data,
            "icnet",
            out=options.out / f"width_{rate}",
            epochs=options.epochs if weights is None else options.tuning_epochs,
            batch_size=options.batch_size,
            lr=options.lr if weights is None else options.lr / 10,
            weights=weights,
            settings={"model.options": {"width": rate}, "train.weight_decay": 1e-4},
        )
        weights = run.model


if __name__ == "__main__":
    main()
