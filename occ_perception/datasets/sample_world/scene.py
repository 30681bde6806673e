"""Triangles ready for ray casting: Embree scenes with, per triangle, what shading needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh

from occ_perception.datasets.sample_world.mesh import Mesh, cross
from occ_perception.datasets.sample_world.street import Light, Street
from occ_perception.datasets.sample_world.textures import Atlas

UV, SUN, AMBIENT, NORMAL, SUNLIT = slice(0, 6), slice(6, 9), slice(9, 12), slice(12, 15), 15
COLUMNS = 16


@dataclass(frozen=True)
class Surfaces:
    """Per triangle: shading (T, 16) float32 [uv at corner 0, its change along u and v in texels; light of sun and sky times
    tint; normal; 1 where the sun can fall on it], texture (T,) int32 row of the atlas, label (T,) uint8, instance (T,) uint16."""

    shading: np.ndarray
    texture: np.ndarray
    label: np.ndarray
    instance: np.ndarray

    def taken(self, which: np.ndarray) -> Surfaces:
        """The rows `which`."""
        return Surfaces(self.shading[which], self.texture[which], self.label[which], self.instance[which])


def _normals(corners: np.ndarray) -> np.ndarray:
    normal = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normal / np.maximum(np.sqrt((normal ** 2).sum(axis=1, keepdims=True)), 1e-12)


def _illuminate(shading: np.ndarray, normal: np.ndarray, tint: np.ndarray, glow: np.ndarray, light: Light) -> None:
    facing = np.maximum(normal @ np.asarray(light.sun_direction, np.float32), 0.0)
    sky = 0.62 + 0.38 * normal[:, 2]
    shading[:, NORMAL] = normal
    shading[:, SUN] = tint * facing[:, None] * np.asarray(light.sun, np.float32)
    shading[:, SUNLIT] = facing > 0
    shading[:, AMBIENT] = tint * (sky[:, None] * np.asarray(light.ambient, np.float32) + (glow * light.glow)[:, None])


def make_surfaces(mesh: Mesh, instance: np.ndarray, atlas: Atlas, light: Light) -> Surfaces:
    """Shading table of a mesh in world axes; instance (T,) uint16."""
    names = np.array([atlas.index[m.texture] for m in mesh.materials], np.int32)
    texture = names[mesh.material]
    shading = np.zeros((len(mesh.corners), COLUMNS), np.float32)
    uv = mesh.uv * atlas.per_metre[texture][:, None, None]
    shading[:, 0:2], shading[:, 2:4], shading[:, 4:6] = uv[:, 0], uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    tint = np.array([m.tint for m in mesh.materials], np.float32)[mesh.material]
    glow = np.array([m.glow for m in mesh.materials], np.float32)[mesh.material]
    _illuminate(shading, _normals(mesh.corners), tint, glow, light)
    return Surfaces(shading, texture, mesh.label, instance.astype(np.uint16))


def embree_scene(corners: np.ndarray) -> rtcore_scene.EmbreeScene:
    """Ray-casting structure over triangles (T, 3, 3)."""
    scene = rtcore_scene.EmbreeScene()
    TriangleMesh(scene, np.ascontiguousarray(corners, np.float32))
    return scene


class StreetScene:
    """A street ready for ray casting. World coordinates are shifted by `origin` (near the start of the drive) so that float32
    keeps millimetres.
    """

    def __init__(self, street: Street) -> None:
        self.street = street
        self.origin = np.round(street.line.to_world(np.float64(0), np.float64(0)))
        shift = self.origin.astype(np.float32)
        light, atlas = street.light, street.atlas
        both = np.concatenate([street.ground.corners, street.static.corners]) - shift
        ground = make_surfaces(street.ground, np.zeros(len(street.ground.corners), np.uint16), atlas, light)
        static = make_surfaces(street.static, street.static_instance, atlas, light)
        self.static = Surfaces(
            *(np.concatenate([getattr(ground, f), getattr(static, f)]) for f in ('shading', 'texture', 'label', 'instance'))
        )
        self.static_scene = embree_scene(both)
        self.ground_scene = embree_scene(street.ground.corners - shift)
        self.ground_label = street.ground.label
        self._solids = (street.solids - shift, street.solid_label, street.solid_instance)
        self.movers = [o for o in street.objects if o.moving]
        self._meshes = [o.mesh for o in self.movers]
        self._normals = [_normals(m.corners) for m in self._meshes]
        self._surfaces = [
            make_surfaces(m, np.full(len(m.corners), o.id), atlas, light) for o, m in zip(self.movers, self._meshes, strict=True)
        ]
        self._tints = [np.array([m.tint for m in mesh.materials], np.float32)[mesh.material] for mesh in self._meshes]
        self._glows = [np.array([m.glow for m in mesh.materials], np.float32)[mesh.material] for mesh in self._meshes]
        self._radii = np.array([np.linalg.norm(o.size_m) / 2 + 0.3 for o in self.movers])
        self._centers = np.array([o.center_m for o in self.movers]).reshape(-1, 3)

    def solids_near(self, ego_from_world: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points (P, 3) relative to origin, labels and object ids of what stands within 60 m of the ego vehicle."""
        center = (-ego_from_world[:3, :3].T @ ego_from_world[:3, 3] - self.origin).astype(np.float32)
        points, label, owner = self._solids
        near = np.flatnonzero((np.abs(points[:, 0] - center[0]) < 58) & (np.abs(points[:, 1] - center[1]) < 58))
        return points[near], label[near], owner[near]

    def movers_at(self, t: float, near: np.ndarray, radius: float) -> Movers:
        """The moving objects within `radius` metres of the world point near (3,) at time t."""
        poses = np.array([o.track.pose(t) for o in self.movers]).reshape(-1, 4, 4)
        centers = np.einsum('nij,nj->ni', poses[:, :3, :3], self._centers) + poses[:, :3, 3]
        which = np.flatnonzero(np.linalg.norm((centers - near)[:, :2], axis=1) < radius + self._radii)
        return Movers(self, near - self.origin, which, poses[which], (centers - self.origin)[which], self._radii[which])

    def mover_triangles(self, index: int, pose: np.ndarray) -> tuple[np.ndarray, Surfaces]:
        """Corners (T, 3, 3) relative to origin and shading of the moving object `index`, at a pose in the world."""
        rotation = pose[:3, :3].T.astype(np.float32)
        corners = self._meshes[index].corners @ rotation + (pose[:3, 3] - self.origin).astype(np.float32)
        known = self._surfaces[index]
        shading = known.shading.copy()
        _illuminate(shading, self._normals[index] @ rotation, self._tints[index], self._glows[index], self.street.light)
        return corners, Surfaces(shading, known.texture, known.label, known.instance)


class Movers:
    """Moving objects at one moment: centers (N, 3) relative to the scene's origin and radii (N,) of spheres around them;
    near (3,) is where they were asked for."""

    def __init__(self, scene: StreetScene, near: np.ndarray, which: np.ndarray, poses: np.ndarray, centers: np.ndarray,
                 radii: np.ndarray) -> None:
        self.scene, self.near, self.which, self.poses, self.centers, self.radii = scene, near, which, poses, centers, radii

    def build(self, keep: np.ndarray) -> tuple[rtcore_scene.EmbreeScene, Surfaces] | None:
        """Ray-casting structure and shading of the objects where keep (N,) bool is set; None when there are none."""
        parts = [self.scene.mover_triangles(int(self.which[i]), self.poses[i]) for i in np.flatnonzero(keep)]
        if not parts:
            return None
        corners = np.concatenate([c for c, _ in parts])
        surfaces = Surfaces(
            *(np.concatenate([getattr(s, f) for _, s in parts]) for f in ('shading', 'texture', 'label', 'instance'))
        )
        return embree_scene(corners), surfaces
