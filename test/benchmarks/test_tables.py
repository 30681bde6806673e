"""The documents show what was measured, and say where nothing was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.recording import save_row
from benchmarks.tables import __main__ as tables
from benchmarks.tables.generic import generic_tables
from benchmarks.tables.known import tables_of
from benchmarks.tables.markdown import text_of
from occ_perception.catalogue import NETWORKS

DOCUMENT = 'Before.\n\n<!-- table {} -->\nold\n<!-- end of table -->\n\nAfter.\n'
GPU = 'Test GPU'


def step(**columns: float) -> dict:
    return {'date': '2026-01-01', 'seconds': 9.0, 'columns': {
        name: {'median_ms': ms, 'p95_ms': 1.1 * ms, 'fps': round(1e3 / ms, 1), 'runs': 5, 'labels_as_torch_f32': 0.998,
               'card_mib': 900} for name, ms in columns.items()}}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """One network measured on a GPU, with a failure and a column that could not run; two rows of a benchmark nobody knows."""
    figures = {'network': 'flashocc-r50-M0', 'device': GPU, 'weights': 'random', 'gflop': 307.0,
               'peaks': {'f32': 50.0, 'f16': 800.0, 'copy': 4000.0},
               'floor_ms': {'f32': {'whole': 2.0, 'layers': 3.0}, 'f16': {'whole': 0.5, 'layers': 1.0}},
               'steps': {'torch': step(torch_f32=20.0, torch_f16=8.0, torch_f32_host=22.0),
                         'compile_f32': {'error': 'out of memory: 9 GiB', 'date': '2026-01-01'},
                         'tensorrt_f32': {'skipped': 'tensorrt does not import', 'date': '2026-01-01'},
                         'tensorrt_f16': step(torch_f32=21.0, tensorrt_f16=3.0, torch_f32_host=23.0, tensorrt_f16_host=4.0,
                                              tensorrt_f16_host_two=3.5)}}
    save_row('gpu', f'flashocc-r50-M0 on {GPU}', figures, 'python -m benchmarks.gpu --only flashocc-r50-M0', GPU, tmp_path)
    for key, value in (('a', 1.25), ('b', None)):
        save_row('novel', key, {'milliseconds': {'mean': value, 'p95': 2}, 'good': True}, f'python -m benchmarks.novel {key}',
                 folder=tmp_path)
    return tmp_path


def test_only_what_stands_between_the_marks_changes(results):
    text = tables.filled(DOCUMENT.format('novel'), results)
    assert text.startswith('Before.\n\n<!-- table novel -->\n\n| ')
    assert text.endswith('<!-- end of table -->\n\nAfter.\n')
    assert 'old' not in text
    assert tables.filled(text, results) == text


def test_a_table_without_end_is_told(results):
    with pytest.raises(ValueError, match='end of table'):
        tables.filled('<!-- table gpu -->\n', results)


def test_an_unknown_benchmark_gets_a_table_with_its_source(results):
    text = tables.filled(DOCUMENT.format('others'), results)
    assert '### Novel' in text
    assert '|  | milliseconds: mean | milliseconds: p95 | good |' in text
    assert '| `a` | 1.25 | 2 | yes |' in text
    assert '| `b` | - | 2 | yes |' in text
    assert '`python -m benchmarks.novel a`, `python -m benchmarks.novel b`.' in text
    assert 'numpy' in text


def test_many_figures_of_few_rows_stand_below_each_other():
    row = {'date': '2026-01-01', 'command': 'c', 'machine': {'processor': 'p', 'cores': 2, 'gpu': None, 'versions': {}},
           'figures': {f'figure_{number}': number for number in range(12)}}
    lines = generic_tables({'only': row})
    assert lines[0] == '|  | `only` |'
    assert '| figure 11 | 11 |' in lines


def test_every_network_is_in_the_gpu_table_run_or_not(results):
    lines = tables_of('gpu', json.loads((results / 'gpu.json').read_text()))
    speeds = {line.split(' | ')[0].strip('| `'): line for line in lines[2:4 + len(NETWORKS)]}
    assert set(NETWORKS) <= set(speeds)
    row = speeds['flashocc-r50-M0']
    for expected in ('2, 0.5', '20 (22)', '8 (8.8)', 'failed: out of memory: 9 GiB', 'not run', '3 (3.3)',
                     '333.3 (TensorRT f16)', '197.6 (TensorRT FP16, RTX 3090)'):
        assert f'{expected}' in row
    assert 'never run' in speeds['scocc-r50']
    text = '\n'.join(lines)
    assert '99.80 %, 900 MiB' in text
    assert 'TensorRT f16, two under way' in text and '| 4 (4.4) |' in text and '| 3.5 (3.85) |' in text
    assert '| 2.50 | failed' not in text
    assert '7.00' in text  # 21 / 3, both of the TensorRT step
    assert 'copies 4000.0 GB/s' in text


def test_where_no_gpu_was_every_row_says_never_run(tmp_path):
    lines = tables_of('gpu', {})
    assert len(lines) == 2 + len(NETWORKS)
    assert all(line.endswith('| never run |') for line in lines[2:])
    # a trial on the CPU is no row of a GPU
    figures = {'network': 'scocc_sample', 'device': 'CPU', 'steps': {'torch': step(torch_f32=200.0)}}
    save_row('gpu', 'scocc_sample on CPU', figures, 'c', None, tmp_path)
    assert tables_of('gpu', json.loads((tmp_path / 'gpu.json').read_text())) == lines


def test_the_status_has_a_line_per_benchmark(results):
    text = tables.filled(DOCUMENT.format('status'), results)
    assert '| gpu | 1 networks; never run: ' in text
    assert '| backends | never run | - | `python -m benchmarks.backends NAME --save` |' in text
    assert '| novel | 2 rows | ' in text


def test_known_tables_fall_back_to_the_generic_one(tmp_path):
    save_row('backends', 'x', {'something': 'else'}, 'c', folder=tmp_path)
    assert '| `x` | else |' in tables_of('backends', json.loads((tmp_path / 'backends.json').read_text()))


def test_cells_hold_no_pipes_and_few_digits():
    assert text_of('a | b\nc') == 'a / b c'
    assert text_of(0.123456789) == '0.123457'
    assert text_of(range(0)) == 'range(0, 0)'
    assert text_of([1, 2.5]) == '1, 2.5'


def run_main(monkeypatch, document: Path, results: Path, *words: str) -> int:
    monkeypatch.setattr(tables, 'DOCUMENT', document)
    monkeypatch.setattr(tables, 'README', document.with_name('absent.md'))
    monkeypatch.setattr(tables.filled, '__defaults__', (results,))
    monkeypatch.setattr('sys.argv', ['tables', *words])
    return tables.main()


def test_check_tells_stale_documents_and_writes_nothing(monkeypatch, results, tmp_path, capsys):
    document = tmp_path / 'performance.md'
    document.write_text(DOCUMENT.format('gpu'))
    assert run_main(monkeypatch, document, results, '--check') == 1
    assert 'performance.md: not what benchmarks/results gives' in capsys.readouterr().err
    assert document.read_text() == DOCUMENT.format('gpu')
    assert run_main(monkeypatch, document, results) == 0
    assert run_main(monkeypatch, document, results, '--check') == 0


def test_a_document_without_tables_is_told(monkeypatch, results, tmp_path, capsys):
    document = tmp_path / 'performance.md'
    document.write_text('Words.\n')
    assert run_main(monkeypatch, document, results) == 2
    assert 'has no table' in capsys.readouterr().err


def test_the_documents_are_what_the_results_give():
    for document in (tables.DOCUMENT, tables.README):
        text = document.read_text()
        assert tables.filled(text) == text, f'{document.name}: run python -m benchmarks.tables --readme'
