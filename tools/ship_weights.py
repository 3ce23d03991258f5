"""Makes a model file that comes with the package: half precision, and what it scores on the test split.

    python tools/ship_weights.py MODEL DATA src/segwright/zoo/shipped/NAME.safetensors

The scores are those of the file as it is shipped: of every picture once and whole, and at scales 1 and 1.5 with the
mirrored picture.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from segwright import load_model
from segwright.evaluation import evaluate
from segwright.models import save_model

LICENCES = {
    "code": "Apache-2.0",
    "weights": "Apache-2.0, for research: see the training data",
    "training_data": "CamVid, for research and teaching",
}


def main() -> None:
    """Score, round, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    model = load_model(arguments.model).half()
    rounded = load_model(arguments.model)
    rounded.load_state_dict(model.state_dict())
    once = evaluate(rounded, arguments.data, split="test")
    averaged = evaluate(rounded, arguments.data, split="test", scales=(1.0, 1.5), flip=True)
    protocol = "test split, at the labels' size"
    scores = {**once.to_json(), "miou_multi_scale": averaged.miou, "protocol": protocol}
    provenance = {key: value for key, value in model.info.provenance.items() if key != "config"}
    model.info = replace(model.info, scores=scores, licences=LICENCES, provenance=provenance)
    save_model(model, arguments.out)
    size = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out}: {size:.2f} MB, mIoU {100 * once.miou:.2f}, {100 * averaged.miou:.2f} averaged")


if __name__ == "__main__":
    main()
