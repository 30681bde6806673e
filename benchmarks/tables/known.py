"""Tables of the benchmarks whose figures are known here; all others get the generic one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.export_files import keys
from benchmarks.tables.generic import generic_tables
from benchmarks.tables.gpu import NEVER, gpu_tables, measured_networks
from benchmarks.tables.markdown import Row, by_machine, source, table, text_of
from occ_perception.catalogue import NETWORKS

COMMANDS = {
    'backends': 'python -m benchmarks.backends NAME --save', 'gpu': 'python -m benchmarks.gpu',
    'export': 'python -m benchmarks.exports', **{name: f'python -m benchmarks.{name} --save' for name in (
        'memory_forms', 'sample_network', 'instances', 'ray_metrics', 'sensor_path', 'stages', 'bag_to_topic', 'scaling',
        'view_transform', 'panoocc', 'sparse_encoder')}}
"""What fills the table of a benchmark."""
RUNTIMES = {'torch_f32': 'eager PyTorch f32', 'torch_f32_channels_last': '... channels last', 'onnxruntime_f32': 'ONNX Runtime f32',
            'openvino_f32': 'OpenVINO f32', 'openvino_bf16': 'OpenVINO bf16', 'openvino_int8': 'OpenVINO int8',
            'onnxruntime_int8': 'ONNX Runtime int8'}


def tables_of(benchmark: str, rows: Mapping[str, Row]) -> list[str]:
    """Lines of a benchmark's tables, whatever it is."""
    if benchmark == 'gpu':
        return gpu_tables(rows, NETWORKS)
    if not rows:
        return [f'{NEVER}: `{COMMANDS.get(benchmark, f"python -m benchmarks.{benchmark}")}`']
    try:
        return _KNOWN.get(benchmark, generic_tables)(rows)
    except KeyError:  # rows of another form than the columns were made for
        return generic_tables(rows)


def headline(benchmark: str, rows: Mapping[str, Row]) -> str:
    """The newest of a benchmark in a few words."""
    if benchmark == 'gpu':
        measured = measured_networks(rows)
        missing = [name for name in NETWORKS if name not in measured]
        if not measured:
            return f'{NEVER} (all {len(missing)} networks)'
        return f'{len(set(measured))} networks' + (f'; {NEVER}: {", ".join(missing)}' if missing else '')
    if not rows:
        return NEVER
    if benchmark == 'backends':
        every = {key: row['figures'] for key, row in rows.items() if 'fastest' in row['figures']}
        return '; '.join(f'`{key}` {text_of(figures["milliseconds"][figures["fastest"]])} ms ({figures["fastest"]}), '
                         f'{text_of(figures["speedup_over_eager_torch"])} times as fast as eager PyTorch f32'
                         for key, figures in every.items()) or f'{len(rows)} rows'
    return f'{len(rows)} {"row" if len(rows) == 1 else "rows"}'


def _backends(rows: Mapping[str, Row]) -> list[str]:
    lines: list[str] = []
    for group in by_machine(rows):
        names = [name for name in RUNTIMES if any(name in row['figures']['milliseconds'] for row in group.values())]
        names += sorted({name for row in group.values() for name in row['figures']['milliseconds']} - set(names))
        body = []
        for key, row in group.items():
            figures = row['figures']
            fastest = figures['fastest']
            body.append([f'`{key}`, {figures["weights"]} weights', figures['gflop'], figures['floor_ms'],
                         *(figures['milliseconds'].get(name) for name in names),
                         f'{text_of(figures["speedup_over_eager_torch"])} ({RUNTIMES.get(fastest, fastest)})',
                         f'{100 * figures["labels_as_torch"][fastest]:.2f} %'])
        lines += table(['network', 'GFLOP', 'floor f32', *(RUNTIMES.get(name, name.replace('_', ' ')) for name in names),
                        'times as fast as eager', 'its labels as torch f32'], body)
        lines += ['', 'Median milliseconds. ' + source(group), '']
    return lines[:-1]


def _export(rows: Mapping[str, Row]) -> list[str]:
    lines: list[str] = []
    for group in by_machine(rows):
        body = []
        for key, row in group.items():
            figures = row['figures']
            plan = figures.get('tensorrt_rtx')
            built = f'{plan["layers"]} layers, {text_of(plan["plan_mb"])} MB' if isinstance(plan, Mapping) else plan
            body.append([f'`{key}`', figures['good'], figures['nodes'], figures['megabytes'],
                         *(_agreement(figures.get(runtime)) for runtime in ('onnxruntime', 'openvino')), built])
        lines += table(['file', 'good', 'nodes', 'MB', 'ONNX Runtime: labels, largest error', 'OpenVINO: labels, largest error',
                        'TensorRT-RTX builds'], body)
        lines += ['', source(group), '']
    missing = [f'`{key}`' for name in NETWORKS for key in keys(name) if key not in rows]
    return [*lines, f'{NEVER.capitalize()}: {", ".join(missing)}.'] if missing else lines[:-1]


def _agreement(compared: Mapping | None) -> str | None:
    """Share of equal labels and the largest relative error of the other outputs."""
    if not compared:
        return None
    labels, errors = compared.get('labels_as_torch'), compared.get('errors', {})
    told = [f'{100 * labels:.3f} %'] if labels is not None else []
    return ', '.join(told + ([f'{max(errors.values()):.1e}'] if errors else [])) or None


_KNOWN: dict[str, Callable[[Mapping[str, Row]], list[str]]] = {'backends': _backends, 'export': _export}
