"""What the names of masks have behind those of their pictures."""

from collections.abc import Iterable


def how_masks_end(images: Iterable[str], masks: Iterable[str]) -> str:
    """What to add to the fix for missing masks where each mask is named after a picture, with one ending behind.

    Args:
        images: stems of the pictures.
        masks: stems of the masks.

    Returns:
        Half a sentence that begins with ``;``, or an empty string.
    """
    ending = ending_of(images, masks)
    return f"; the masks' names end in '{ending}': rename them to the pictures' stems" if ending else ""


def ending_of(images: Iterable[str], masks: Iterable[str]) -> str:
    """The one ending that all masks' stems have behind a picture's stem; empty where there is none, or no need."""
    pictures, named = set(images), sorted(masks)
    if not named or not pictures.isdisjoint(named):
        return ""
    endings = (named[0].removeprefix(stem) for stem in pictures if named[0].startswith(stem))
    ending = min(endings, key=len, default="")
    return ending if all(stem.endswith(ending) for stem in named) else ""
