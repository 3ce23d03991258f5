"""mmsegmentation from the command to a mask, as its documentation shows: config, checkpoint and picture."""

import sys
from pathlib import Path

from peers.operators import stand_in

stand_in()

import mmseg  # noqa: E402
from mmseg.apis import inference_model, init_model  # noqa: E402

if __name__ == "__main__":
    config, checkpoint, picture = sys.argv[1:]
    model = init_model(str(Path(mmseg.__file__).parent / ".mim" / "configs" / config), checkpoint, device="cpu")
    mask = inference_model(model, picture).pred_sem_seg.data[0].numpy()
    print(mask.shape)
