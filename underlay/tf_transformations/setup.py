"""Build description for colcon (ament_python)."""

from setuptools import setup

setup(
    name='tf_transformations',
    version='0.1.0',
    packages=['tf_transformations'],
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/tf_transformations']),
        ('share/tf_transformations', ['package.xml']),
    ],
    zip_safe=False,
)
