"""Messages of several MB arrive best effort in another process, with the profile that ships."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from occ_perception.nodes.dds import PROFILE_VARIABLES, default_profile, use_default_profile

ROOT = Path(__file__).resolve().parents[2]

RECEIVER = """
import sys, time
from occ_perception.nodes.dds import use_default_profile
use_default_profile()
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('receiver')
sizes = []
node.create_subscription(Image, 'image', lambda message: sizes.append(len(message.data)), qos_profile_sensor_data)
end = time.monotonic() + 20
while len(sizes) < 20 and time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.1)
    if sizes and end > time.monotonic() + 4:
        end = time.monotonic() + 4
print(len(sizes), min(sizes, default=0))
"""

SENDER = """
import array, time
from occ_perception.nodes.dds import use_default_profile
use_default_profile()
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('sender')
publisher = node.create_publisher(Image, 'image', qos_profile_sensor_data)
end = time.monotonic() + 15
while not publisher.get_subscription_count() and time.monotonic() < end:
    time.sleep(0.05)
time.sleep(0.5)
message = Image()
message.data = array.array('B', bytes(4_300_000))
for _ in range(20):
    publisher.publish(message)
    time.sleep(0.05)
time.sleep(0.5)
"""


def test_the_profile_is_found_in_the_source_tree():
    assert default_profile() == ROOT / 'config' / 'fastdds.xml'


def test_a_choice_of_the_user_stands(monkeypatch):
    monkeypatch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', '/my/profile.xml')
    assert use_default_profile() is None
    assert os.environ['FASTRTPS_DEFAULT_PROFILES_FILE'] == '/my/profile.xml'


@pytest.mark.parametrize(('distribution', 'chosen'), [('', 0), ('humble', 0), ('jazzy', 0), ('kilted', 1)])
def test_without_a_choice_the_profile_is_used(distribution, chosen, monkeypatch):
    monkeypatch.setenv('ROS_DISTRO', distribution)
    for variable in PROFILE_VARIABLES:
        monkeypatch.setenv(variable, '')
    assert use_default_profile() == default_profile()
    assert os.environ[PROFILE_VARIABLES[chosen]] == str(default_profile())
    assert os.environ[PROFILE_VARIABLES[1 - chosen]] == ''


@pytest.mark.skipif(find_spec('rclpy') is None, reason='rclpy is not installed')
def test_images_of_four_megabytes_arrive_best_effort():
    environment = {name: value for name, value in os.environ.items() if name not in PROFILE_VARIABLES} | {'ROS_DOMAIN_ID': '145'}
    receiver = subprocess.Popen([sys.executable, '-c', RECEIVER], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        subprocess.run([sys.executable, '-c', SENDER], env=environment, cwd=ROOT, check=True, timeout=60)
        count, smallest = map(int, receiver.communicate(timeout=60)[0].split())
    finally:
        receiver.kill()
    assert smallest == 4_300_000
    assert count >= 18
