"""Build description for colcon (ament_python)."""

from setuptools import setup

setup(
    name='sensor_msgs_py',
    version='0.1.0',
    packages=['sensor_msgs_py'],
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/sensor_msgs_py']),
        ('share/sensor_msgs_py', ['package.xml']),
    ],
    zip_safe=False,
)
