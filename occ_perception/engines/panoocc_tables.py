"""Names of what PanoOcc's engines are given by name (PlacedFrame.tables), beside those of geometry.voxel_views.ViewTables."""

MOTION = 'motion'
"""(18,) of geometry.ego_motion."""
POINT_INDEX, POINT_SHARE = 'point_index', 'point_share'
"""(M, K) each of geometry.volume_lookup.point_sums."""
WARP = 'warp'
"""(4, 4) of geometry.volume_warp, of a past frame."""
