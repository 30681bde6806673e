"""Build description for colcon (ament_python) and pip."""

from __future__ import annotations

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = 'occ_perception'
NODES = ('cameras', 'lidar', 'occupancy', 'views', 'player')


def files(folder: str) -> list[str]:
    """Regular files directly inside a folder of the checkout, sorted."""
    return sorted(path for path in glob(f'{folder}/*') if Path(path).is_file())


setup(
    name=PACKAGE,
    version='0.1.0',
    description='Live 3D semantic occupancy from surround cameras and LiDAR: networks, runtime and ROS 2 nodes.',
    license='Apache-2.0',
    maintainer='occ_perception maintainers',
    maintainer_email='maintainers@occ-perception.org',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['weights/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        (f'share/{PACKAGE}/launch', files('launch')),
        (f'share/{PACKAGE}/config', files('config')),
        (f'share/{PACKAGE}/rviz', files('rviz')),
    ],
    python_requires='>=3.10',
    install_requires=['setuptools', 'numpy', 'scipy', 'pillow', 'simplejpeg', 'openvino', 'zstandard', 'rosbags', 'safetensors',
                      'tqdm', 'embreex'],
    zip_safe=False,
    entry_points={'console_scripts': [
        f'occ = {PACKAGE}.cli.main:main',
        *(f'{node} = {PACKAGE}.nodes.{node}:main' for node in NODES),
    ]},
)
