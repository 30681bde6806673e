"""What the launch files share: their arguments, and actions made from the same plain data that `occ up` uses."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from occ_perception.catalogue import NETWORKS
from occ_perception.engines.precision import PRECISIONS
from occ_perception.engines.protocol import EXACT, MEMORY_FORMS
from occ_perception.engines.select import BACKENDS
from occ_perception.nodes import system

PACKAGE = 'occ_perception'
RVIZ_TOPICS = ('occ/points', 'occ/markers', 'occ/flow_arrows', 'occ/grid', 'CAM_FRONT/occ/image', 'CAM_BACK/occ/image')
FLAGS = ('true', 'false')
AUTO = 'auto'
WITHOUT = 'a network, or mask: the same with that input masked; empty for nothing; auto: what the catalogue says'


def describe(launch_file: str) -> LaunchDescription:
    """Description of a launch file by its name in system.LAUNCHED."""
    networks = system.networks_of(launch_file)
    shipped = ', '.join(name for name in networks if NETWORKS[name].weights)
    weights = f'empty for those that ship ({shipped})' if shipped else 'none ship with these networks'

    def argument(name: str, default: str, description: str, choices: tuple[str, ...] | None = None) -> DeclareLaunchArgument:
        return DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)

    return LaunchDescription([
        argument('bag', '', 'ROS 2 bag to play; empty for live sensors'),
        argument('network', system.LAUNCHED[launch_file], 'catalogue name of the network', networks),
        argument('weights', '', f'checkpoint or ONNX file; {weights}; random: to see a network run without any'),
        argument('backend', 'auto', 'what runs the network', BACKENDS),
        argument('precision', 'auto', 'what it is computed in; auto: the best that changes few labels', PRECISIONS),
        argument('memory', EXACT, 'how past frames enter: lifted again, or their maps moved (cheaper)', MEMORY_FORMS),
        argument('published_centers', 'false', 'share voxels among instance centres as the published code does', FLAGS),
        argument('without_lidar', AUTO, f'what serves without LiDAR: {WITHOUT}'),
        argument('without_cameras', AUTO, f'what serves without cameras: {WITHOUT}'),
        argument('composed', 'true', 'all nodes in one process', FLAGS),
        argument('rviz', 'false', 'start RViz with our configuration', FLAGS),
        argument('use_sim_time', 'auto', 'time from /clock; auto: when a bag is played', ('auto', *FLAGS)),
        argument('log_level', 'info', 'least severe log shown', ('debug', 'info', 'warn', 'error', 'fatal')),
        argument('namespace', '', 'ROS namespace of nodes and topics'),
        argument('rate', '1.0', 'seconds of the bag per second'),
        argument('loop', 'false', 'play the bag over and over', FLAGS),
        argument('lockstep', 'false', 'wait for every output of the bag', FLAGS),
        OpaqueFunction(function=_actions),
    ])


def _actions(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The processes to start, now that the arguments are known. Raises ValueError for a bag that will not do."""
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    bag, namespace, log_level = value('bag'), value('namespace'), value('log_level')
    sim_time = None if value('use_sim_time') == 'auto' else value('use_sim_time') == 'true'
    replay = system.Replay(bag, float(value('rate')), value('loop') == 'true', value('lockstep') == 'true') if bag else None
    sources = system.sources_of(bag)
    specs = system.nodes(value('network'), sources, value('backend'), value('weights'), replay, sim_time, value('memory'),
                         value('published_centers') == 'true', value('precision'), *_without(value).values())
    if value('composed') == 'true':
        actions = [_composed(value, bag, namespace, log_level)]
    else:
        actions = [Node(package=PACKAGE, executable=spec.name, name=spec.name, namespace=namespace, parameters=[spec.parameters],
                        arguments=['--ros-args', '--log-level', log_level], output='screen',
                        on_exit=[Shutdown(reason='the bag has been played')] if spec.name == 'player' else None)
                   for spec in specs]
    if value('rviz') == 'true':
        config = Path(get_package_share_directory(PACKAGE)) / 'rviz' / 'occupancy.rviz'
        remappings = [(f'/{topic}', f'/{namespace.strip("/")}/{topic}') for topic in RVIZ_TOPICS] if namespace else []
        actions.append(Node(package='rviz2', executable='rviz2', arguments=['-d', str(config)], remappings=remappings,
                            parameters=[{'use_sim_time': specs[0].parameters['use_sim_time']}]))
    return actions


def _without(value) -> dict[str, str | None]:
    """Options of `occ up` for what serves without an input, None where that is left to the network."""
    given = {'--without-lidar': value('without_lidar'), '--without-cameras': value('without_cameras')}
    return {option: None if text == AUTO else text for option, text in given.items()}


def _composed(value, bag: str, namespace: str, log_level: str) -> ExecuteProcess:
    command = [ExecutableInPackage(package=PACKAGE, executable='occ'), 'up', value('network')]
    for option, text in (('--backend', value('backend')), ('--precision', value('precision')), ('--memory', value('memory')),
                         ('--log-level', log_level), ('--use-sim-time', value('use_sim_time')), ('--rate', value('rate')),
                         ('--weights', value('weights')), ('--bag', bag), ('--namespace', namespace)):
        command += [option, text] if text else []
    for option, text in _without(value).items():
        command += [option, text] if text is not None else []
    command += [f'--{flag.replace("_", "-")}' for flag in ('loop', 'lockstep', 'published_centers') if value(flag) == 'true']
    return ExecuteProcess(cmd=command, name='occ_up', output='screen', on_exit=[Shutdown(reason='occ up has ended')])
