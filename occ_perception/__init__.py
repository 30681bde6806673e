"""Live 3D semantic occupancy from surround cameras and LiDAR."""

__version__ = '0.1.0'
