"""What stands where: houses or gardens along the street, then trees, posts, cars and people."""

import numpy as np

from segwright.data.synthetic.buildings import build_house
from segwright.data.synthetic.cars import put_car
from segwright.data.synthetic.furniture import METALS, put_bollard, put_fence, put_lamp_post, put_sign
from segwright.data.synthetic.people import put_person
from segwright.data.synthetic.plants import plant_hedge, plant_tree
from segwright.data.synthetic.shadows import Shadows
from segwright.data.synthetic.stage import FAR, NEAR, Item, Stage

SIDES = (-1, 1)


def lay_out(stage: Stage, shadows: Shadows) -> list[Item]:
    """Everything that stands on the ground, in any order."""
    items: list[Item] = []
    for side in SIDES:
        _lots(stage, side, shadows, items)
        _avenue(stage, side, shadows, items)
        _posts(stage, side, shadows, items)
        _parked_cars(stage, side, shadows, items)
    _driving_cars(stage, shadows, items)
    _walkers(stage, shadows, items)
    return items


def _lots(stage: Stage, side: int, shadows: Shadows, items: list[Item]) -> None:
    """Houses wall to wall in town, with gardens between them in the suburbs, few of them at a park."""
    gap_share = {"city": 0.12, "suburb": 0.42, "park": 0.62}[stage.street.character]
    if stage.street.character == "park" and side == stage.pick(SIDES):
        gap_share = 0.1
    z, stands_free = stage.between(-14, 0), False
    while z < FAR:
        length = stage.between(7, 12) if stage.street.character == "suburb" else stage.between(8, 18)
        if z + length < NEAR + 1:
            pass  # behind us
        elif stage.chance(gap_share):
            _garden(stage, side, (z, z + length), shadows, items)
            stands_free = True
        else:
            items.append(build_house(stage, side, (z, z + length), shadows, stands_free=stands_free))
            stands_free = False
        z += length


def _garden(stage: Stage, side: int, z: tuple[float, float], shadows: Shadows, items: list[Item]) -> None:
    """A fence or hedge at the street, trees behind it."""
    line = stage.street.building_line(side)
    for _ in range(round((z[1] - z[0]) * (0.35 if z[0] < 50 else 0.15))):
        at = stage.between(*z)
        if at > 3.5:
            items.append(plant_tree(stage, line + side * stage.between(1.6, 9), at, stage.between(3, 9), shadows))
    items.append(plant_hedge(stage, line + side * 1.1, z, stage.between(1.3, 2.4)))
    if stage.chance(0.85):
        items.append(put_fence(stage, line, z, shadows))


def _avenue(stage: Stage, side: int, shadows: Shadows, items: list[Item]) -> None:
    """A row of trees at the kerb."""
    if not stage.chance(0.25 + 0.6 * stage.street.greenery):
        return
    spacing, height = stage.between(8, 15), stage.between(4.5, 9)
    for z in np.arange(stage.between(5, 14), 100, spacing).tolist():
        if stage.chance(0.9):
            x = side * (stage.street.half_road + 0.8)
            items.append(plant_tree(stage, x, z + stage.between(-0.6, 0.6), height * stage.between(0.8, 1.15), shadows))


def _posts(stage: Stage, side: int, shadows: Shadows, items: list[Item]) -> None:
    """Lamp posts in a row, signs here and there, bollards in places."""
    kerb = side * (stage.street.half_road + 0.45)
    kind, metal = stage.pick(["arm", "arm", "lantern"]), stage.pick(METALS)
    if stage.chance(0.85):
        for z in np.arange(stage.between(4, 13), 110, stage.between(11, 22)).tolist():
            items.append(put_lamp_post(stage, side, kerb, z, kind, metal, shadows))
    count = int(stage.between(1, 4))
    for index in range(count):
        z = 4.5 * (8.5 ** ((index + stage.between(0.1, 0.8)) / count))  # as many near as far, none behind another
        items.append(put_sign(stage, kerb + side * stage.between(0, 0.25), z, shadows))
    if stage.chance(0.3):
        start = stage.between(4, 20)
        for z in np.arange(start, start + stage.between(4, 14), 1.5).tolist():
            items.append(put_bollard(stage, side * (stage.street.half_road + 0.3), z, shadows))


def _parked_cars(stage: Stage, side: int, shadows: Shadows, items: list[Item]) -> None:
    """Cars along the kerb, where the road is wide enough."""
    if stage.street.half_road < 3.6 or not stage.chance(0.75):
        return
    x, z = side * (stage.street.half_road - 1.05), stage.between(5, 9)
    if abs(x - stage.camera.x) < 2.0:
        z += 9
    while z < 90:
        if stage.chance(0.3 + 0.6 * stage.street.crowd):
            items.append(put_car(stage, x, z, shadows, oncoming=side < 0))
        z += stage.between(5.6, 7.0)


def _driving_cars(stage: Stage, shadows: Shadows, items: list[Item]) -> None:
    """Traffic keeps to the right: it goes away from us there and comes towards us on the left."""
    parking = 2.0 if stage.street.half_road > 4.4 else 0.0
    lane = (stage.street.half_road - parking) / 2
    for side in SIDES:
        z = stage.between(6, 30)
        while z < 110:
            if stage.chance(0.25 + 0.5 * stage.street.crowd) and lane > 1.1:
                items.append(put_car(stage, side * lane + stage.between(-0.2, 0.2), z, shadows, oncoming=side < 0))
            z += stage.between(9, 34)


def _walkers(stage: Stage, shadows: Shadows, items: list[Item]) -> None:
    """People on both pavements, some in pairs, and now and then one who crosses the road."""
    for side in SIDES:
        width = stage.street.pavements[0 if side < 0 else 1]
        for _ in range(int(stage.between(1, 3 + 8 * stage.street.crowd))):
            z = 4.2 * (14 ** stage.between(0, 1))
            x = side * (stage.street.half_road + stage.between(0.7, max(0.9, width - 0.4)))
            items.append(put_person(stage, x, z, shadows))
            if stage.chance(0.35):
                items.append(put_person(stage, x + stage.between(0.5, 0.7), z + stage.between(-0.3, 0.3), shadows))
    if stage.chance(0.35):
        x = stage.between(-0.8, 0.8) * stage.street.half_road
        items.append(put_person(stage, x, stage.between(6, 24), shadows))
