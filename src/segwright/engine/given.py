"""What a run's processes were given: the same, or the run is refused."""

import hashlib
from collections.abc import Mapping

from segwright.config import Config, with_settings
from segwright.data import SegmentationData
from segwright.engine.folder import RunFolder
from segwright.engine.processes import must_agree, process_count
from segwright.errors import ConfigError, DataError


def compare_given(config: Config, data: SegmentationData, others: Mapping[str, object] | None = None) -> None:
    """Refuse processes whose settings, pictures or files are not the main one's; where the data lies may differ.

    Args:
        config: the settings.
        data: the data set.
        others: more facts by name.

    Raises:
        ConfigError: other settings.
        DataError: other pictures, classes or files, or a data set whose name is not UTF-8.
    """
    _refuse_unwritable(config.data.path, data.name)
    tree = config.model_dump(mode="json")
    settings = {f"setting {group}.{key}": value for group, leaves in tree.items() for key, value in leaves.items()}
    del settings["setting data.path"]
    must_agree(ConfigError, settings, "give all processes the same words and recipe")
    facts: dict[str, object] = {"the list of classes": data.classes}
    for split in (config.data.train_split, config.data.val_split):
        names = [f"{pair.image.name} {pair.mask.name}" for pair in data.pairs(split)]
        digest = hashlib.sha256("\n".join(names).encode(errors="surrogatepass")).hexdigest()[:8]
        facts[f"split '{split}'"] = f"{len(names)} pictures (digest of their names {digest})"
    must_agree(DataError, {**facts, **(others or {})}, "give all machines the same files, or one file system")


def _refuse_unwritable(path: str, name: str) -> None:
    """Refuse a data set whose path or name the texts in the run folder cannot hold.

    Raises:
        DataError: one of them is not UTF-8.
    """
    for given in (path, name):
        try:
            given.encode()
        except UnicodeEncodeError as reason:
            raise DataError(
                f"the name of data set '{given}' is not UTF-8, and the run's records cannot hold it",
                fix="rename the folder, and train again",
            ) from reason


def for_processes(config: Config, folder: RunFolder) -> Config:
    """The settings with which this many processes go on with a run of, perhaps, another number.

    The pictures of a batch stay the same: those of all processes together.

    Raises:
        ConfigError: they cannot be shared equally, or the statistics of normalisation would become others.
    """
    now, before, size = process_count(), folder.processes or process_count(), config.train.batch_size
    if now == before or size is None:
        return config
    batch = size * before
    reason = f"its batches of {batch} pictures cannot be shared equally" if batch % now else ""
    if config.train.batch_norm == "local":
        reason = "its batch normalisation is local, and would see another number of pictures"
    if reason:
        raise ConfigError(
            f"run '{folder.path}' was started with {before} processes and cannot go on with {now}: {reason}",
            fix=f"resume it with {before} processes",
        )
    return with_settings(config, {"train.batch_size": batch // now})
