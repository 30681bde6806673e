"""Train-time augmentation of the BEVDet line (FlashOcc, SCOcc, FusionOcc, EFFOcc): images drawn anew, the scene mirrored.

Source: Huang et al., "BEVDet" (2021): data augmentation in the image view and in bird's-eye view; figures of the FlashOcc configs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from occ_perception.datasets.occ3d import OccupancyTruth


@dataclass(frozen=True)
class ImageDraw:
    """How one camera's picture becomes a network input in training; past frames of that camera share it.

    Order: resize to size (width, height), cut box (left, top, right, bottom), mirror, turn by degrees about the middle.
    """

    resize: float
    size: tuple[int, int]
    box: tuple[int, int, int, int]
    mirror: bool
    degrees: float

    def transform(self) -> tuple[np.ndarray, np.ndarray]:
        """post_rot (2, 2) and post_tran (2,) float64: pixel in the drawn picture = post_rot @ pixel in the source + post_tran."""
        width, height = self.box[2] - self.box[0], self.box[3] - self.box[1]
        rotation, shift = np.eye(2) * self.resize, -np.array(self.box[:2], np.float64)
        if self.mirror:
            flip = np.diag([-1.0, 1.0])
            rotation, shift = flip @ rotation, flip @ shift + (width, 0)
        angle = np.radians(self.degrees)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        middle = np.array([width, height]) / 2
        return turn @ rotation, turn @ shift + middle - turn @ middle

    def apply(self, image: np.ndarray, nearest: bool = False) -> np.ndarray:
        """The drawn picture of (H, W, 3) or, for labels, (H, W) uint8; nearest: no interpolation on resizing, for labels.

        Turning leaves corners 0 and never interpolates, as the published code has it (labels: 0 = noise).
        """
        resample = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
        picture = Image.fromarray(image).resize(self.size, resample).crop(self.box)
        if self.mirror:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(picture.rotate(self.degrees))


@dataclass(frozen=True)
class ImageDraws:
    """What pictures are drawn from. resize: added to the scale that fits the width; degrees: of the turn; mirror: half of them."""

    input_size: tuple[int, int] = (704, 256)
    resize: tuple[float, float] = (-0.06, 0.11)
    degrees: tuple[float, float] = (-5.4, 5.4)
    mirror: bool = True

    def draw(self, source_size: tuple[int, int], random: np.random.Generator) -> ImageDraw:
        """One draw for a picture of source_size (width, height); the lower border is kept, the rest is cut off at the top."""
        (width, height), (input_width, input_height) = source_size, self.input_size
        resize = input_width / width + random.uniform(*self.resize)
        size = int(width * resize), int(height * resize)
        left = int(random.uniform(0, max(0, size[0] - input_width)))
        top = size[1] - input_height
        mirror = self.mirror and bool(random.integers(2))
        return ImageDraw(resize, size, (left, top, left + input_width, top + input_height), mirror, random.uniform(*self.degrees))


@dataclass(frozen=True)
class SceneDraw:
    """How the scene around the vehicle is turned, scaled and mirrored ("BDA"); mirror_x turns forward into backward.

    The published occupancy configurations only mirror, since voxels cannot be turned without loss: `volume` and `truth` refuse a
    draw that turns or scales.
    """

    degrees: float = 0.0
    scale: float = 1.0
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def mirrored(cls, random: np.random.Generator) -> SceneDraw:
        """Forward-backward and left-right, each with probability 1/2."""
        return cls(mirror_x=bool(random.integers(2)), mirror_y=bool(random.integers(2)))

    def matrix(self) -> np.ndarray:
        """(3, 3) float64: drawn point = matrix @ point in the ego frame."""
        angle = np.radians(self.degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        return np.diag([-1.0 if self.mirror_x else 1.0, -1.0 if self.mirror_y else 1.0, 1.0]) @ (self.scale * turn)

    def volume(self, values: np.ndarray) -> np.ndarray:
        """Labels or masks (nx, ny, nz) of the drawn scene. Raises ValueError for a draw that turns or scales."""
        if self.degrees or self.scale != 1:
            raise ValueError(f'a scene turned by {self.degrees:g} degrees and scaled by {self.scale:g} has no voxels of its own: '
                             'only mirror occupancy labels')
        axes = tuple(axis for axis, mirror in enumerate((self.mirror_x, self.mirror_y)) if mirror)
        return np.flip(values, axes)

    def truth(self, truth: OccupancyTruth) -> OccupancyTruth:
        """The truth of the drawn scene, its flow turned along (the published code leaves the flow's signs as they were)."""
        flow = None if truth.flow is None else self.volume(truth.flow) * np.diag(self.matrix())[:2].astype(truth.flow.dtype)
        return OccupancyTruth(self.volume(truth.labels), self.volume(truth.mask_camera), self.volume(truth.mask_lidar),
                              None if truth.instances is None else self.volume(truth.instances), flow, truth.others)

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (N, 9) of the drawn scene: centre x, y, z, length, width, height, yaw [rad], velocity x, y."""
        out, matrix = boxes.copy(), self.matrix().astype(boxes.dtype)
        out[:, :3] = boxes[:, :3] @ matrix.T
        out[:, 3:6] *= self.scale
        out[:, 6] += np.radians(self.degrees).astype(boxes.dtype)
        if self.mirror_x:
            out[:, 6] = np.pi - out[:, 6]
        if self.mirror_y:
            out[:, 6] = -out[:, 6]
        out[:, 7:9] = boxes[:, 7:9] @ matrix[:2, :2].T
        return out
