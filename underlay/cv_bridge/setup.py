"""Build description for colcon (ament_python)."""

from setuptools import setup

setup(
    name='cv_bridge',
    version='0.1.0',
    packages=['cv_bridge'],
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/cv_bridge']),
        ('share/cv_bridge', ['package.xml']),
    ],
    zip_safe=False,
)
