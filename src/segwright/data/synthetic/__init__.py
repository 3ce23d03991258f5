"""Street scenes we draw ourselves, picture and mask at once: the demo data, free of any download or licence."""

from segwright.data.synthetic.classes import CLASSES, IGNORE_INDEX, PALETTE
from segwright.data.synthetic.dataset import write_dataset
from segwright.data.synthetic.scene import draw_scene

__all__ = ["CLASSES", "IGNORE_INDEX", "PALETTE", "draw_scene", "write_dataset"]
