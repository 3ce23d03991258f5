"""Peak memory, time and CPU time of `segwright predict` on TIFFs of growing size; each in a process of its own.

    python benchmarks/big_pictures.py --sides 5000 20000 --storage tiled rows

Tiled pictures are JPEG-compressed in blocks of 512x512, those in rows deflate-compressed, 16 rows to a strip. Both are
drawn from repeated street scenes, and removed afterwards. Needs the extra geo.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from memory import peak_megabytes

WINDOW = ("--window", "1024", "1024")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[1500, 3000], help="height and width in pixels")
    parser.add_argument("--storage", nargs="+", choices=("tiled", "rows"), default=["tiled", "rows"])
    parser.add_argument("--model", default="camvid/fast_scnn")
    parser.add_argument("--folder", type=Path, help="for the pictures; default: a temporary one")
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        predict(given.child)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for storage in given.storage:
            for side in given.sides:
                picture = Path(folder) / f"{storage}_{side}.tif"
                draw(picture, side, storage)
                measure(picture, given.model, Path(folder) / "masks")
                picture.unlink()


def draw(path: Path, side: int, storage: str) -> None:
    """A picture of that height and width, written 512 rows at a time."""
    import rasterio
    from rasterio.transform import from_origin

    from segwright.data.synthetic import draw_scene

    scene = np.moveaxis(draw_scene(0, (512, 1024))[0], -1, 0)
    kind = (
        {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "jpeg", "photometric": "ycbcr"}
        if storage == "tiled"
        else {"blockysize": 16, "compress": "deflate", "zlevel": 1, "interleave": "pixel"}
    )
    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_000_000, 0.1, 0.1)}
    shape = {"height": side, "width": side, "count": 3, "dtype": "uint8", "BIGTIFF": "IF_SAFER"}
    row = np.tile(scene, (1, 1, -(-side // scene.shape[2])))[:, :, :side]
    with (
        rasterio.Env(GDAL_CACHEMAX=64 << 20),
        rasterio.open(path, "w", driver="GTiff", **shape, **place, **kind) as file,
    ):
        for top in range(0, side, 512):
            height = min(512, side - top)
            file.write(np.roll(row, top // 3, axis=2)[:, :height], window=((top, top + height), (0, side)))


def measure(picture: Path, model: str, out: Path) -> None:
    words = ["predict", model, str(picture), *WINDOW, "--out", str(out)]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, __file__, "--child", *words], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    cpu, peak = map(float, done.stdout.split()[-2:])
    sizes = f"{picture.stat().st_size / 2**20:6.0f} MB -> {(out / picture.name).stat().st_size / 2**20:5.1f} MB"
    print(f"{picture.stem:<14} {sizes}  {seconds:7.1f} s, {cpu:6.1f} s of CPU  peak {peak:5.0f} MB", flush=True)


def predict(words: list[str]) -> None:
    from segwright.cli.main import main as segwright

    code = segwright(words)
    print(time.process_time(), peak_megabytes())
    sys.exit(code)


if __name__ == "__main__":
    main()
