"""What a comparison of engines says: one JSON object, a table, a page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from occ_perception.engines.layer_outputs import LayerError, first_jump, worst
from occ_perception.evaluation.parity import EngineParity, EngineRefused, ParityRun, refuse_below
from occ_perception.pictures.parity_page import EngineSection, ParityPage, compare_grids, write_parity

WORST_LAYERS = 10
NOTES = (
    'Every engine answers the same frames as the reference, in order, each with its own memory of past frames.',
    'Labels are compared where a camera could see; "occupied" leaves out voxels that both call free.',
    'Errors are relative to the root mean square of the reference. Logits are those that the labels are decided by.',
    'mIoU is Occ3D\'s under the camera mask, over the frames that have truth.',
    'Layers are compared at the frame that agrees least, with ONNX Runtime in float32, both fed what the engine was fed; a runtime '
    'cannot fuse over a layer that is handed out, so in service errors may differ a little.',
    'An error begins at a layer when it is more than four times that of the layer\'s inputs and of what its number format rounds.',
)


def refusal(engine: EngineParity, threshold: float) -> str:
    """Why an engine is refused, '' where it is not."""
    try:
        refuse_below(engine.agreement, threshold, engine.choice.name, engine.choice.precision)
    except EngineRefused as error:
        return str(error)
    return ''


def figures(run: ParityRun, threshold: float) -> dict[str, Any]:
    """One object for JSON: shares 0..1, errors relative, mIoU in percent; None where there is nothing to tell."""
    return {'network': run.row.name, 'reference': run.reference, 'frames': len(run.frames),
            'sequences': len({frame.sequence for frame in run.frames}), 'threshold': threshold,
            'refused': [engine.choice.name for engine in run.engines if refusal(engine, threshold)],
            'engines': {engine.choice.name: _of_engine(engine, run, threshold) for engine in run.engines},
            'not_run': {choice.name: reason for choice, reason in run.missing.items()}}


def _of_engine(engine: EngineParity, run: ParityRun, threshold: float) -> dict[str, Any]:
    jump, frame = first_jump(engine.layers), run.frames[engine.worst]
    return {'description': engine.description, 'refused': refusal(engine, threshold) or None, 'voxels': engine.voxels,
            'agreement': engine.agreement, 'occupied_agreement': engine.occupied_agreement,
            'worst_frame': {'index': engine.worst, 'sequence': frame.sequence, 'stamp_ns': frame.sensors.stamp_ns,
                            'agreement': engine.frames[engine.worst]},
            'frames': engine.frames, 'classes': engine.classes, 'logits': _error(engine.logits),
            'memory': {name: _error(errors) for name, errors in engine.memory.items()},
            'miou': _percent(engine.miou), 'reference_miou': _percent(engine.reference_miou),
            'miou_difference': _percent(engine.miou - engine.reference_miou), 'layers': len(engine.layers),
            'first_jump': None if jump is None else _of_layer(jump),
            'worst_layers': [_of_layer(error) for error in worst(engine.layers, WORST_LAYERS)]}


def _of_layer(error: LayerError) -> dict[str, Any]:
    layer = error.layer
    return {'tensor': layer.tensor, 'node': layer.node, 'operator': layer.operator, 'module': layer.place, 'rms': _known(error.rms),
            'max': _known(error.maximum), 'inputs_rms': _known(error.inputs_rms), 'jump': error.jump}


def text(run: ParityRun, threshold: float) -> str:
    """The figures as lines of text, with the worst layers of engines that are refused, else of the one that agrees least."""
    sequences = len({frame.sequence for frame in run.frames})
    lines = [f'{run.row.name} beside {run.reference}', f'{len(run.frames)} frames of {sequences} sequences; at least '
             f'{100 * threshold:g} % equal labels are asked for', '']
    if run.engines:
        columns = list(_row(run.engines[0]))
        lines.append(f'{"":18}' + ''.join(f'{title:>13}' for title in columns))
        lines += [f'{engine.choice.name:18}' + ''.join(f'{value:>13}' for value in _row(engine).values()) for engine in run.engines]
    lines += [f'{choice.name:18} not run: {reason}' for choice, reason in run.missing.items()]
    shown = [engine for engine in run.engines if refusal(engine, threshold)]
    for engine in shown or sorted(run.engines, key=lambda engine: engine.agreement)[:1]:
        lines += _layer_lines(engine, run)
    return '\n'.join(lines)


def _layer_lines(engine: EngineParity, run: ParityRun) -> list[str]:
    if not engine.layers:
        return []
    jump = first_jump(engine.layers)
    lines = ['', f'{engine.choice.name}, layers with the largest error at frame {engine.worst + 1}, '
             f'{run.frames[engine.worst].sequence}:',
             f'{"rms":>9}{"max":>9}{"inputs":>9}  layer']
    lines += [f'{error.rms:9.2g}{error.maximum:9.2g}{error.inputs_rms:9.2g}  {error.layer.operator} {error.layer.tensor} '
              f'{error.layer.place}' for error in worst(engine.layers, WORST_LAYERS)]
    lines.append('the error grows by rounding alone, no layer stands out' if jump is None else
                 f'the error begins at {jump.layer.operator} {jump.layer.tensor} {jump.layer.place}')
    return lines


def _row(engine: EngineParity) -> dict[str, str]:
    remembered = max((errors[0] for errors in engine.memory.values()), default=None)
    return {'labels': _share(engine.agreement), 'worst frame': _share(engine.frames[engine.worst]),
            'occupied': _share(engine.occupied_agreement),
            'logits rms': '-' if engine.logits is None else f'{engine.logits[0]:.2g}',
            'logits max': '-' if engine.logits is None else f'{engine.logits[1]:.2g}',
            'memory rms': '-' if remembered is None else f'{remembered:.2g}',
            'mIoU': '-' if math.isnan(engine.miou) else f'{100 * engine.miou:.2f}',
            'difference': '-' if math.isnan(engine.miou) else f'{100 * (engine.miou - engine.reference_miou):+.2f}'}


def write_page(path: Path, run: ParityRun, threshold: float) -> None:
    """Write the page; its folder is made."""
    sections = []
    for engine in run.engines:
        reason = refusal(engine, threshold)
        frame = run.frames[engine.worst]
        title = (f'{engine.choice.name}, frame {engine.worst + 1} ({frame.sequence}): {_share(engine.frames[engine.worst])} '
                 'of the observed voxels equal')
        picture = None if engine.labels is None else compare_grids(title, run.labels[engine.worst], engine.labels, run.row.grid)
        verdict = reason or f'{engine.choice.name} is accepted.'
        sections.append(EngineSection(engine.choice.name, engine.description, bool(reason), verdict, _row(engine), engine.classes,
                                      engine.layers, picture))
    refused = [section.name for section in sections if section.refused]
    least = min((engine.agreement for engine in run.engines), default=math.nan)
    cards = {'engines compared': str(len(sections)), 'refused': str(len(refused)), 'not run here': str(len(run.missing)),
             'frames': str(len(run.frames)), 'asked for': f'{100 * threshold:g} %',
             'least equal labels': '–' if math.isnan(least) else _share(least)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parity(ParityPage(f'{run.row.name}: do its engines agree?', f'Reference: {run.reference}', cards, sections,
                            {choice.name: reason for choice, reason in run.missing.items()}, NOTES), path)


def _share(value: float) -> str:
    return f'{100 * value:.3f} %'


def _error(errors: tuple[float, float] | None) -> dict[str, float | None] | None:
    return None if errors is None else {'rms': _known(errors[0]), 'max': _known(errors[1])}


def _percent(share: float) -> float | None:
    return _known(100 * share)


def _known(value: float) -> float | None:
    """None for what JSON has not."""
    return float(value) if math.isfinite(value) else None
