"""segwright predict --engine ray: what is done is told, skipped, and remembered in the output folder."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segwright.cli.console import Meter, print_json, say, say_error
from segwright.errors import ConfigError, DataError, Interrupted

if TYPE_CHECKING:
    from segwright.deploy.manifest import Manifest
    from segwright.deploy.scale_out import Outcome, Work
    from segwright.inference.jobs import Job

_SHOWN = 20
"""Failed pictures that are listed; the manifest has all."""


def predict_on_ray(
    model: str,
    jobs: Sequence["Job"],
    out: Path,
    options: dict[str, Any],
    workers: int | None,
    address: str | None,
    *,
    as_json: bool,
) -> None:
    """Predict what the manifest of the output folder does not have yet.

    Raises:
        ConfigError: no such number of workers, a device that Ray does not give, or a manifest of another model.
        DataError: some pictures could not be predicted; the others are written.
        Interrupted: stopped; what is done is in the manifest.
    """
    from segwright.deploy.manifest import Manifest, fingerprint
    from segwright.deploy.scale_out import Work
    from segwright.runtime.offline import is_offline

    _check(options["device"], workers)
    settings = {name: options[name] for name in ("scales", "window", "runtime", "precision")}
    made_with = {"model": model, "fingerprint": fingerprint(model), "flip": options["tta"] == "flip", **settings}
    with Manifest(out, made_with) as manifest:
        todo = [job for job in jobs if not manifest.is_done(job)]
        if len(todo) < len(jobs):
            say("note:", f"{len(jobs) - len(todo)} of {len(jobs)} pictures are done and unchanged: skipped")
        place = str(Path(model).absolute()) if Path(model).exists() else model
        work = Work(place, options, len(jobs), is_offline())
        outcomes = _predicted(jobs, todo, work, manifest, workers, address, as_json=as_json) if todo else []
    failed = [outcome for outcome in outcomes if outcome.error]
    if as_json:
        _print(jobs, outcomes)
    say("done:", f"{len(todo) - len(failed)} pictures predicted, see {manifest.path}")
    for outcome in failed[:_SHOWN]:
        say_error(outcome.error or "", outcome.fix)
    if len(failed) > _SHOWN:
        say("note:", f"{len(failed) - _SHOWN} further failed pictures are in {manifest.path}")
    if failed:
        raise DataError(
            f"{len(failed)} of {len(jobs)} pictures could not be predicted",
            fix="mend or remove the files above and give the same command: only they are predicted again",
        )


def _check(device: str, workers: int | None) -> None:
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {workers}", fix="leave it out to use the whole cluster")
    if device.startswith("cuda:"):
        raise ConfigError(f"Ray gives each worker its GPU, got --device {device}", fix="give auto, cuda or cpu")


def _predicted(
    jobs: Sequence["Job"], todo: Sequence["Job"], work: "Work", manifest: "Manifest", workers: int | None,
    address: str | None, *, as_json: bool,
) -> list["Outcome"]:  # fmt: skip
    """The outcomes to tell of: all with ``as_json``, which needs room for them, else those that failed."""
    from segwright.deploy.scale_out import Cluster, remove_unfinished

    kept: list[Outcome] = []
    began, first, meter, runtimes = time.time(), len(jobs) - len(todo), Meter(), set()
    done = first
    try:
        with Cluster(address) as cluster:
            share = cluster.share(workers, work.options["device"], len(todo))
            say("ray:", share.describe())
            for outcome in cluster.run(todo, work, share):
                manifest.add(outcome.job, outcome.size, outcome.mtime_ns, outcome.error)
                runtimes.add(outcome.runtime)
                done += 1
                if done == first + 1:  # not before: starting the workers is no rate of pictures
                    meter.begin("predicting", done)
                meter.update("predicting", done, len(jobs), f"{meter.rate('predicting', done):.1f} images/s")
                if as_json or outcome.error:
                    kept.append(outcome)
    except KeyboardInterrupt as reason:
        remove_unfinished({path.parent for job in todo for path in job.outputs()}, began)
        raise Interrupted(
            f"stopped by Ctrl-C at {done} of {len(jobs)} pictures", fix="give the same command to go on"
        ) from reason
    finally:
        meter.close()
    for runtime in sorted(runtimes - {""}):
        say("runtime:", runtime)
    return kept


def _print(jobs: Sequence["Job"], outcomes: Sequence["Outcome"]) -> None:
    """Every picture in the order of the sources, those that were skipped by their files alone."""
    from segwright.inference.jobs import summary

    by_source = {outcome.job.source: outcome for outcome in outcomes}
    results = []
    for job in jobs:
        outcome = by_source.get(job.source)
        if outcome is None:
            files = summary(job, {}, 0)
            results.append({name: files[name] for name in files if name not in ("areas", "milliseconds")})
            results[-1]["skipped"] = True
        elif outcome.error:
            results.append({"source": str(job.source), "error": outcome.error})
        else:
            results.append(summary(job, outcome.areas, outcome.milliseconds))
    print_json({"results": results})
