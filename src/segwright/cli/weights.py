"""Published weights on the command line: fetched with a bar before the command needs them."""

from pathlib import Path

from segwright.cli.console import progress


def fetch_weights(model: str) -> None:
    """Download the weights of a catalog id unless they are here; anything else is left to the command.

    Raises:
        WeightsError: the file cannot be had.
    """
    if Path(model).exists() or "/" not in model:
        return
    from segwright.runtime.exported import is_exported

    if is_exported(model):  # a file that does not exist, which the catalog's torch need not be loaded for
        return
    from segwright.zoo import catalog, fetch

    entry = next((entry for entry in catalog() if entry.id == model), None)
    if entry is None or entry.weights is None:
        return
    with progress(f"downloading {entry.weights.file}", unit="MB") as tell:
        fetch(entry.weights, lambda done, total: tell(done >> 20, (total or done) >> 20))
