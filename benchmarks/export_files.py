"""The files that networks are exported as, by the keys of their rows; imports no torch."""

from __future__ import annotations

from occ_perception.catalogue import entry
from occ_perception.engines.protocol import EXACT, MEMORY_FORMS
from occ_perception.networks.configs import Config, config_of
from occ_perception.networks.flashocc.config import FlashOccConfig
from occ_perception.networks.fusionocc.config import FusionOccConfig


def parts(config: Config) -> dict[str, str]:
    """Names of the files that give labels, each with the form of memory that it is exported in."""
    if not config.past_frames or not isinstance(config, FlashOccConfig | FusionOccConfig):
        return {'whole': EXACT}  # of PanoOcc, too: its memory has one form, unlike either
    return {form: form for form in (MEMORY_FORMS if isinstance(config, FlashOccConfig) else (EXACT,))}


def keys(name: str) -> list[str]:
    """Keys of the rows of a network."""
    stages = ('encode', 'match') if entry(name).history.stereo else ()
    return [f'{name} {part}' for part in (*parts(config_of(name)), *stages)]
