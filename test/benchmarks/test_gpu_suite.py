"""The GPU suite resumes, keeps to its budget, outlives what it measures, and runs without a GPU where it is asked to."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('torch')

from benchmarks.gpu.suite import CPU, Record, Step, planned, run_suite, seconds_of
from benchmarks.gpu.worker import OutOfTime, Worker, WorkerDied
from benchmarks.recording import load_rows

GPU = 'Test GPU'


class Clock:
    """Seconds that pass only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeWorker:
    """Takes a given time for each step, and fails where it is told to."""

    def __init__(self, clock: Clock, seconds: dict[str, float] | float = 10.0, failures: dict[Step, object] | None = None) -> None:
        self.clock, self.seconds, self.failures = clock, seconds, failures or {}
        self.asked: list[Step] = []

    def measure(self, network: str, step: str, limit_s: float) -> dict:
        asked = Step(network, step)
        self.asked.append(asked)
        takes = self.seconds if isinstance(self.seconds, float) else self.seconds[step]
        self.clock.now += min(takes, limit_s)
        if takes > limit_s:
            raise OutOfTime(f'stopped after {limit_s:.0f} s')
        failure = self.failures.get(asked)
        if isinstance(failure, BaseException):
            raise failure
        if isinstance(failure, dict):
            return failure
        if failure is not None:
            return {'error': failure}
        columns = {step: {'median_ms': 1.5, 'p95_ms': 2.0, 'fps': 666.7, 'runs': 3, 'labels_as_torch_f32': 1.0}}
        return {'columns': columns} | ({'about': {'gflop': 7.0}} if step == 'torch' else {})

    def stop(self) -> None:
        pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(GPU, tmp_path / 'gpu.json')


STEPS = planned(['one', 'two'], [], ['f32', 'int8'])


def run(record: Record, worker: FakeWorker, steps=STEPS, **more):
    return run_suite(steps, record, worker, clock=worker.clock, say=lambda line: None, **more)


def test_plan_goes_row_by_row_and_takes_wildcards_and_parts():
    assert [step.name for step in STEPS[:5]] == ['torch', 'compile_f32', 'compile_f16', 'tensorrt_f32', 'tensorrt_int8']
    assert {step.network for step in planned(['flash-a', 'flash-b', 'other'], ['flash-*'], ['f16'])} == {'flash-a', 'flash-b'}
    assert {step.network for step in planned(['flash-a', 'flash-b', 'other'], ['the'], ['f16'])} == {'other'}
    assert {step.network for step in planned(['flash', 'flash-b'], ['flash'], ['f16'])} == {'flash'}
    with pytest.raises(ValueError, match="'nothing'"):
        planned(['one'], ['nothing'], ['f16'])


@pytest.mark.parametrize(('text', 'seconds'), [('9m', 540), ('90', 90), ('90s', 90), ('1.5h', 5400)])
def test_budget_is_read(text, seconds):
    assert seconds_of(text) == seconds


def test_budget_that_is_no_time_is_named():
    with pytest.raises(ValueError, match='soon'):
        seconds_of('soon')


def test_all_is_measured_and_merged_into_one_file(record, clock, tmp_path):
    outcome = run(record, FakeWorker(clock))
    assert outcome.measured == STEPS
    rows = load_rows('gpu', tmp_path)
    assert list(rows) == ['one on Test GPU', 'two on Test GPU']
    figures = rows['one on Test GPU']['figures']
    assert figures['gflop'] == 7.0
    assert set(figures['steps']) == {step.name for step in STEPS}
    assert rows['one on Test GPU']['machine']['gpu'] == GPU
    assert rows['one on Test GPU']['command'] == 'python -m benchmarks.gpu --only one'


def test_what_is_done_is_left_out_unless_asked_for_again(record, clock):
    run(record, FakeWorker(clock))
    second = FakeWorker(clock)
    outcome = run(record, second)
    assert second.asked == []
    assert all(reason.startswith('done on 2') for reason in outcome.skipped.values())
    third = FakeWorker(clock)
    assert run(record, third, again=True).measured == STEPS


def test_a_row_begun_with_one_precision_goes_on_with_the_others(record, clock):
    run(record, FakeWorker(clock), planned(['one'], [], ['f32']))
    worker = FakeWorker(clock)
    run(record, worker, planned(['one'], [], ['f32', 'f16', 'int8']))
    assert worker.asked == [Step('one', 'tensorrt_f16'), Step('one', 'tensorrt_int8')]


def test_another_gpu_has_its_own_rows(record, clock, tmp_path):
    run(record, FakeWorker(clock))
    other = Record('Other GPU', tmp_path / 'gpu.json')
    assert run(other, FakeWorker(clock)).measured == STEPS
    assert len(load_rows('gpu', tmp_path)) == 4


def test_budget_stops_what_would_pass_it_and_the_next_run_goes_on(record, clock):
    takes = {step.name: 10.0 for step in STEPS} | {'tensorrt_f32': 100.0}
    first = run(record, FakeWorker(clock, takes), budget_s=200.0)
    # the guess of 90 s for compiling one does not fit into the 80 s that are left of 200 once TensorRT has run
    assert Step('one', 'tensorrt_f32') in first.measured
    assert all('out of budget' in reason for reason in first.skipped.values())
    assert clock.now <= 200
    runs = 1
    while any('budget' in reason for reason in first.skipped.values()):
        first = run(record, FakeWorker(clock, takes), budget_s=200.0)
        runs += 1
    assert all(record.done(step) for step in STEPS)
    assert runs == 2


def test_estimates_come_from_what_was_measured_here(record, clock):
    run(record, FakeWorker(clock, {step.name: 33.0 for step in STEPS}), planned(['one'], [], ['f32']))
    assert record.estimate_s(Step('one', 'torch')) == 33.0
    assert record.estimate_s(Step('two', 'tensorrt_f32')) == 33.0
    assert record.estimate_s(Step('two', 'tensorrt_int8')) == 150.0


def test_a_step_longer_than_the_budget_is_stopped_and_told(record, clock):
    takes = {step.name: 10.0 for step in STEPS} | {'compile_f32': 1000.0}
    outcome = run(record, FakeWorker(clock, takes), planned(['one'], [], ['f32']), budget_s=120.0)
    assert outcome.skipped[Step('one', 'compile_f32')] == 'out of budget: stopped after 110 s'
    assert not record.done(Step('one', 'compile_f32'))
    assert record.estimate_s(Step('one', 'compile_f32')) == 110.0
    again = run(record, FakeWorker(clock), planned(['one'], [], ['f32']), budget_s=500.0)
    assert Step('one', 'compile_f32') in again.measured


def test_a_done_step_that_is_stopped_when_done_again_keeps_its_figures(record, clock):
    step = [Step('one', 'torch')]
    run(record, FakeWorker(clock), step)
    run(record, FakeWorker(clock, 1000.0), step, budget_s=50.0, again=True)
    assert 'columns' in record.state(step[0])


def test_errors_stand_in_the_row_and_the_suite_goes_on(record, clock):
    failures = {Step('one', 'torch'): 'out of memory: tried to allocate 9 GiB',
                Step('one', 'tensorrt_f32'): WorkerDied('the process ended by SIGSEGV')}
    worker = FakeWorker(clock, failures=failures)
    outcome = run(record, worker)
    assert worker.asked == STEPS
    assert outcome.failed == {Step('one', 'torch'): 'out of memory: tried to allocate 9 GiB',
                              Step('one', 'tensorrt_f32'): 'the process ended by SIGSEGV'}
    assert record.state(Step('one', 'torch'))['error'].startswith('out of memory')
    assert run(record, FakeWorker(clock)).measured == []
    assert len(run(record, FakeWorker(clock), again=True).measured) == len(STEPS)


def test_without_tensorrt_the_torch_columns_run_and_the_reason_is_kept(record, clock):
    outcome = run(record, FakeWorker(clock), impossible={'tensorrt': 'the tensorrt package does not import'})
    assert {step.kind for step in outcome.measured} == {'torch', 'compile'}
    assert record.state(Step('one', 'tensorrt_f32'))['skipped'] == 'the tensorrt package does not import'
    # where it is there, they are run
    assert {step.kind for step in run(record, FakeWorker(clock)).measured} == {'tensorrt'}


def test_a_step_that_lacks_something_is_told_and_tried_another_time(record, clock):
    lacking = Step('one', 'tensorrt_int8')
    outcome = run(record, FakeWorker(clock, failures={lacking: {'skipped': 'one.int8.onnx is missing'}}))
    assert outcome.skipped == {lacking: 'one.int8.onnx is missing'}
    assert record.state(lacking)['skipped'] == 'one.int8.onnx is missing'
    assert run(record, FakeWorker(clock)).measured == [lacking]


def killed_midway(folder: str) -> None:
    clock = Clock()

    class Killed(FakeWorker):
        def measure(self, network, step, limit_s):
            if (network, step) == ('one', 'compile_f16'):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().measure(network, step, limit_s)

    run(Record(GPU, Path(folder) / 'gpu.json'), Killed(clock))


def test_a_killed_run_leaves_whole_files_and_is_taken_up(record, clock, tmp_path):
    process = multiprocessing.get_context('fork').Process(target=killed_midway, args=(str(tmp_path),))
    process.start()
    process.join()
    assert process.exitcode == -9
    assert [path.name for path in tmp_path.iterdir()] == ['gpu.json']
    worker = FakeWorker(clock)
    run(record, worker)
    assert worker.asked == STEPS[2:]


def test_unknown_networks_come_back_as_errors_and_the_worker_starts_anew():
    worker = Worker('cpu', 1)
    try:
        reply = worker.measure('no-such-network', 'torch', 120)
        assert 'no network is called' in reply['error']
        with pytest.raises(OutOfTime):
            worker.measure('no-such-network', 'torch', 0)
    finally:
        worker.stop()


def call(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-m', 'benchmarks.gpu', *words], capture_output=True, text=True, check=False,
                          env={**os.environ, 'OMP_NUM_THREADS': '1'})


@pytest.mark.skipif(__import__('torch').cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu_it_says_so_and_ends_well(tmp_path):
    result = call('--out', str(tmp_path / 'gpu.json'))
    assert result.returncode == 0
    assert 'nothing was measured: this machine has no GPU' in result.stdout
    assert not (tmp_path / 'gpu.json').exists()


def test_a_trial_on_the_cpu_has_a_file_of_its_own():
    result = call('--device', 'cpu')
    assert result.returncode == 2
    assert '--out' in result.stderr


def test_the_whole_suite_on_the_cpu(tmp_path):
    result = call('--device', 'cpu', '--only', 'scocc_sample', '--runs', '2', '--json', '--out', str(tmp_path / 'trial.json'))
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told['failed'] == {}
    assert told['skipped']['scocc_sample compile_f32'] == 'CUDA graphs need a GPU'
    columns = told['measured']['scocc_sample torch']
    assert set(columns) == {'torch_f32', 'torch_f32_channels_last', 'torch_f32_host'}
    for figures in columns.values():
        assert figures['runs'] == 2
        assert 0 < figures['median_ms'] <= figures['p95_ms']
        assert figures['labels_as_torch_f32'] > 0.999
    about = load_rows('trial', tmp_path)[f'scocc_sample on {CPU}']['figures']
    assert about['gflop'] == pytest.approx(24.7, abs=0.1)
    assert 0 < about['floor_ms']['f32']['whole'] <= about['floor_ms']['f32']['layers']
    assert about['weights'] == 'shipped'
