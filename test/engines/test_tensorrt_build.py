"""Plans are built by the same code with TensorRT 10, 11 and TensorRT-RTX; the last one is real here and needs no GPU."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import onnx
import pytest

from occ_perception.engines.cache import write_checked
from occ_perception.engines.plan_cache import PlanFile, PlanTarget
from occ_perception.engines.protocol import EngineUnavailable
from occ_perception.engines.select import shipped_file
from occ_perception.engines.tensorrt_build import BuildProgress, BuiltPlan, PhaseTree, build_plan

TARGET = PlanTarget('tensorrt 10.9.0', '12080', 'NVIDIA RTX 3090', '8.6')


def fake_tensorrt(version: str, typed_flag: bool, log: dict) -> ModuleType:
    """A stand-in with what differs between versions; a parser and builder that remember what they were given."""
    class Config(SimpleNamespace):
        def set_memory_pool_limit(self, pool, size):
            log['workspace'] = size

        def create_timing_cache(self, data):
            log['timings'] = data
            return data

        def set_timing_cache(self, cache, ignore_mismatch):
            return not log.get('foreign_timings') or cache == b''

        def get_timing_cache(self):
            return SimpleNamespace(serialize=lambda: b'measured')

    class Builder:
        def __init__(self, logger):
            self.logger = logger

        def create_network(self, flags):
            log['flags'] = flags
            return SimpleNamespace(num_layers=7)

        def create_builder_config(self):
            return Config()

        def build_serialized_network(self, network, config):
            if 'refusal' in log:
                self.logger.log(1, log['refusal'])
                return None
            return b'plan'

    class Parser:
        num_errors = 1

        def __init__(self, network, logger):
            pass

        def parse(self, data):
            return True

    module = ModuleType('tensorrt')
    flags = SimpleNamespace(STRONGLY_TYPED=1) if typed_flag else SimpleNamespace()
    for name, value in {'__version__': version, 'NetworkDefinitionCreationFlag': flags, 'Builder': Builder, 'OnnxParser': Parser,
                        'MemoryPoolType': SimpleNamespace(WORKSPACE=0), 'IProgressMonitor': object,
                        'ILogger': type('ILogger', (), {'ERROR': 1, 'INTERNAL_ERROR': 0})}.items():
        setattr(module, name, value)
    return module


@pytest.fixture
def some_file(tmp_path) -> Path:
    path = tmp_path / 'net.onnx'
    path.write_bytes(b'network')
    return path


@pytest.mark.parametrize(('version', 'typed_flag', 'flags'), [('10.9.0.34', True, 2), ('11.4.0.106', False, 0)])
def test_networks_are_strongly_typed_in_10_and_11(some_file, version, typed_flag, flags):
    log = {}
    built = build_plan(fake_tensorrt(version, typed_flag, log), some_file, workspace_bytes=1 << 30, timing_cache=b'before')
    assert built == BuiltPlan(b'plan', b'measured', 7)
    assert log['flags'] == flags
    assert log['workspace'] == 1 << 30
    assert log['timings'] == b'before'


def test_foreign_timings_are_left_out(some_file):
    log = {'foreign_timings': True}
    build_plan(fake_tensorrt('11.4.0', False, log), some_file, timing_cache=b'of another GPU')
    assert log['timings'] == b''


@pytest.mark.parametrize('version', ['8.6.0', '12.0.1'])
def test_other_versions_are_refused(some_file, version):
    with pytest.raises(EngineUnavailable, match=f'tensorrt {version} is not supported: install version 10 or 11'):
        build_plan(fake_tensorrt(version, True, {}), some_file)


def test_the_builders_own_words_are_in_the_error(some_file):
    with pytest.raises(ValueError, match=r'could not build .*net\.onnx: Could not find any implementation'):
        build_plan(fake_tensorrt('10.9.0', True, {'refusal': 'Could not find any implementation for node X'}), some_file)


def test_fraction_of_nested_phases_grows_to_one():
    tree, seen = PhaseTree(), []
    tree.start('build', None, 2)
    for _ in range(3):  # phases inside one step: how many come is not known before
        tree.start('inside', 'build', 4)
        for step in range(4):
            tree.step('inside', step)
            seen.append(tree.fraction())
        tree.finish('inside')
    assert seen == sorted(seen)
    assert 0.4 < seen[-1] < 0.5
    tree.step('build', 0)
    assert tree.fraction() == 0.5
    tree.finish('build')
    assert tree.fraction() == 1.0


def real_rtx() -> ModuleType:
    return pytest.importorskip('tensorrt_rtx_bindings', reason='TensorRT-RTX is not installed: pip install tensorrt-rtx-cu13-libs '
                                                               'tensorrt-rtx-cu13-bindings', exc_type=ImportError)


@pytest.mark.filterwarnings('ignore:.*Timing cache operations are no-ops in TensorRT-RTX')
def test_shipped_network_is_built_with_progress():
    seen: list[BuildProgress] = []
    built = build_plan(real_rtx(), shipped_file('scocc_sample.onnx'), seen.append, plan_for='SM80')
    assert built.layers > 300
    assert len(built.plan) > 10_000_000
    assert [p.fraction for p in seen] == sorted(p.fraction for p in seen)
    assert seen[-1].fraction == 1.0
    assert len({p.phase for p in seen}) > 4
    again = build_plan(real_rtx(), shipped_file('scocc_sample.onnx'), timing_cache=built.timing_cache, plan_for='SM80')
    assert again.layers == built.layers


def test_refused_nodes_are_named(tmp_path):
    node = onnx.helper.make_node('NoSuchOperator', ['x'], ['y'], 'wrong_node')
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in ('x', 'y')]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], 'g', ports[:1], ports[1:]))
    onnx.save(model, tmp_path / 'wrong.onnx')
    with pytest.raises(ValueError, match=r"wrong\.onnx: node 'wrong_node' \(NoSuchOperator\)"):
        build_plan(real_rtx(), tmp_path / 'wrong.onnx', plan_for='SM80')


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv('OCC_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


class Builds:
    """Counts builds."""

    def __init__(self) -> None:
        self.count, self.timings = 0, []

    def __call__(self, timings, report):
        self.count += 1
        self.timings.append(timings)
        report(BuildProgress('building', 0.5, 1.0))
        return BuiltPlan(b'plan %d' % self.count, b'timings', 1)


def test_a_plan_is_built_once(some_file, cache):
    builds, seen = Builds(), []
    assert PlanFile.of(some_file, 'f32', TARGET).obtain(builds, seen.append) == b'plan 1'
    assert PlanFile.of(some_file, 'f32', TARGET).obtain(builds) == b'plan 1'
    assert builds.count == 1
    assert seen == [BuildProgress('building', 0.5, 1.0)]
    assert {path.suffix for path in cache.iterdir()} == {'.engine', '.cache', '.lock'}
    assert cache.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in cache.glob('*.engine'))


@pytest.mark.parametrize('change', [
    {'tensorrt': 'tensorrt 11.4.0'}, {'driver': '13000'}, {'gpu': 'NVIDIA A4000'}, {'capability': '8.9'}])
def test_a_plan_for_something_else_is_not_used(some_file, cache, change):
    builds = Builds()
    PlanFile.of(some_file, 'f32', TARGET).obtain(builds)
    other = PlanFile.of(some_file, 'f32', replace(TARGET, **change))
    assert other.read() is None
    assert other.obtain(builds) == b'plan 2'
    assert builds.timings[1] == b''


def test_another_file_and_another_precision_have_plans_of_their_own(some_file, cache):
    builds = Builds()
    PlanFile.of(some_file, 'f32', TARGET).obtain(builds)
    assert PlanFile.of(some_file, 'f16', TARGET).read() is None
    assert PlanFile.of(some_file, 'f16', TARGET).obtain(builds) == b'plan 2'
    assert builds.timings == [b'', b'timings']
    some_file.write_bytes(b'network, trained again')
    assert PlanFile.of(some_file, 'f32', TARGET).obtain(builds) == b'plan 3'


def test_damaged_and_renamed_plans_are_built_again(some_file, cache):
    builds = Builds()
    plan = PlanFile.of(some_file, 'f32', TARGET)
    plan.obtain(builds)
    damaged = bytearray(plan.path.read_bytes())
    damaged[-1] ^= 1
    plan.path.write_bytes(damaged)
    assert plan.obtain(builds) == b'plan 2'
    foreign = PlanFile.of(some_file, 'f16', TARGET)
    foreign.obtain(builds)
    foreign.path.replace(plan.path)
    assert plan.read() is None
    write_checked(plan.path, b'short')
    assert plan.obtain(builds) == b'plan 4'


def test_a_failed_build_leaves_nothing_behind(some_file, cache):
    def fail(timings, report):
        report(BuildProgress('building', 0.1, 0.1))
        raise ValueError('refused')
    plan = PlanFile.of(some_file, 'f32', TARGET)
    with pytest.raises(ValueError, match='refused'):
        plan.obtain(fail)
    assert {path.suffix for path in cache.iterdir()} == {'.lock'}
    assert plan.obtain(Builds()) == b'plan 1'


SLOW_BUILD = """
import sys
from pathlib import Path
from occ_perception.engines.plan_cache import PlanFile, PlanTarget
from occ_perception.engines.tensorrt_build import BuildProgress, BuiltPlan

def build(timings, report):
    report(BuildProgress('Timing tactics', 0.25, 3.0))
    print('started', flush=True)
    sys.stdin.readline()
    return BuiltPlan(b'plan of the other', b'', 1)

PlanFile.of(Path(sys.argv[1]), 'f32', PlanTarget(*sys.argv[2:])).obtain(build)
"""


@pytest.fixture
def other(some_file, cache):
    """Another process that builds the same plan until it reads a line."""
    parts = TARGET.tensorrt, TARGET.driver, TARGET.gpu, TARGET.capability
    process = subprocess.Popen([sys.executable, '-c', SLOW_BUILD, some_file, *parts], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'started\n'
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_waits_and_sees_the_progress_of_the_first(some_file, other):
    seen = []

    def look(progress):
        if not seen:
            other.stdin.write('go\n')
            other.stdin.flush()
        seen.append(progress)

    assert PlanFile.of(some_file, 'f32', TARGET).obtain(Builds(), look) == b'plan of the other'
    assert seen[0] == BuildProgress('Timing tactics', 0.25, 3.0)
    assert other.wait(30) == 0


def test_a_process_that_died_holds_no_lock(some_file, other):
    other.kill()
    other.wait(30)
    assert PlanFile.of(some_file, 'f32', TARGET).obtain(Builds()) == b'plan 1'
