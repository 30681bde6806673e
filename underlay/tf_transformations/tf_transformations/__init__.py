"""Homogeneous transforms (4x4, acting on column vectors) and rotations; quaternions are x, y, z, w.

Euler angles are named by four letters: s (static) or r (rotating axes) and the axes in order. Angles in radians.
"""

from tf_transformations.matrices import (
    concatenate_matrices,
    euler_from_matrix,
    euler_matrix,
    identity_matrix,
    inverse_matrix,
    is_same_transform,
    random_rotation_matrix,
    rotation_from_matrix,
    rotation_matrix,
    translation_from_matrix,
    translation_matrix,
    unit_vector,
    vector_norm,
)
from tf_transformations.quaternions import (
    euler_from_quaternion,
    quaternion_about_axis,
    quaternion_conjugate,
    quaternion_from_euler,
    quaternion_from_matrix,
    quaternion_inverse,
    quaternion_matrix,
    quaternion_multiply,
    quaternion_slerp,
    random_quaternion,
)

__all__ = [
    'concatenate_matrices', 'euler_from_matrix', 'euler_from_quaternion', 'euler_matrix', 'identity_matrix', 'inverse_matrix',
    'is_same_transform', 'quaternion_about_axis', 'quaternion_conjugate', 'quaternion_from_euler', 'quaternion_from_matrix',
    'quaternion_inverse', 'quaternion_matrix', 'quaternion_multiply', 'quaternion_slerp', 'random_quaternion',
    'random_rotation_matrix', 'rotation_from_matrix', 'rotation_matrix', 'translation_from_matrix', 'translation_matrix',
    'unit_vector', 'vector_norm',
]
