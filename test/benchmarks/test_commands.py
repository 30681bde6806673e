"""Every benchmark can be started: what it imports is there, and `--help` says what it does."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import pytest

import benchmarks

COMMANDS = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)
            if hasattr(importlib.import_module(f'benchmarks.{module.name}'), 'main')]


@pytest.mark.parametrize('name', COMMANDS)
def test_help_is_given(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    module = importlib.import_module(f'benchmarks.{name}')
    monkeypatch.setattr(sys, 'argv', [name, '--help'])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0 and str(module.__doc__).split('.')[0].split(':')[0] in capsys.readouterr().out
