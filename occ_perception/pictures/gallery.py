"""All pictures of a run: a composite per received frame, stills, the GIF and the page."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from occ_perception.datasets.bag_frames import BagFrames
from occ_perception.datasets.occ3d import read_truth
from occ_perception.pictures.animation import write_gif
from occ_perception.pictures.composite import FramePicture, compose
from occ_perception.pictures.report import Report, write_report
from occ_perception.runtime.live_score import LiveScore, ReceivedGrid, Score

GIF_FRAMES = 26
NAMES = {'page': 'index.html', 'animation': 'occupancy.gif', 'still': 'frame.png'}


def compose_run(grids: Sequence[ReceivedGrid], live: LiveScore, truth_files: Mapping[int, Path], bag: BagFrames,
                title: str) -> Iterator[Image.Image]:
    """Composites of the received grids that have truth, in time order; drawn in parallel threads."""
    scored = {grid.stamp_ns: grid for grid in reversed(grids) if grid.stamp_ns in truth_files}
    start = min(truth_files)

    def draw(index: int) -> Image.Image:
        grid = scored[live.stamps_ns[index]]
        images = {name: camera.image for name, camera in bag.frame(grid.stamp_ns).cameras.items()}
        miou, geometric = live.running[index]
        return compose(FramePicture(title, index, live.received, (grid.stamp_ns - start) * 1e-9, images, grid.labels,
                                    read_truth(truth_files[grid.stamp_ns]), grid.instance_ids, miou, geometric, grid.latency_ms))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(draw, range(live.received))


def write_gallery(folder: Path, frames: Sequence[Image.Image], live: LiveScore, scores: Mapping[str, Score], title: str,
                  subtitle: str, seconds_per_frame: float, notes: Sequence[str], facts: Mapping[str, str]) -> list[Path]:
    """Write frames/NNN.jpg, a still, the GIF and the page into a folder; returns the paths of page, GIF, still and frames."""
    (folder / 'frames').mkdir(parents=True, exist_ok=True)
    for old in (folder / 'frames').glob('*.jpg'):
        old.unlink()
    for k, frame in enumerate(frames):
        frame.save(folder / 'frames' / f'{k + 1:03d}.jpg', quality=90, subsampling=0)
    still, animation, page = (folder / NAMES[name] for name in ('still', 'animation', 'page'))
    frames[len(frames) // 2].save(still)
    step = -(-len(frames) // GIF_FRAMES)
    write_gif(frames[::step], animation, step * seconds_per_frame)
    write_report(Report(title, subtitle, live, scores, frames, seconds_per_frame, notes, facts), page)
    return [page, animation, still, folder / 'frames']
