"""What the drawn street scenes hold: class names, their colours and their indices."""

CLASSES: tuple[str, ...] = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "person",
)
"""Class names; the position is the index in the masks."""

PALETTE: tuple[tuple[int, int, int], ...] = (
    (70, 130, 180),
    (84, 82, 92),
    (170, 170, 160),
    (128, 64, 128),
    (244, 90, 220),
    (107, 142, 35),
    (240, 210, 30),
    (190, 140, 120),
    (20, 40, 160),
    (220, 20, 60),
)
"""One RGB colour (0..255) per class, near those of Cityscapes."""

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PERSON = range(len(CLASSES))

IGNORE_INDEX = 255
"""The bonnet of our own car at the lower edge of some scenes: left out of loss and scores."""
