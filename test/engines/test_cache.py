"""Built engines come from a private folder and only whole."""

import threading

import pytest

from occ_perception.engines.cache import cache_folder, cache_key, locked, read_checked, write_checked


def test_round_trip_and_damage(tmp_path):
    path = tmp_path / 'x.engine'
    assert read_checked(path) is None
    write_checked(path, b'plan' * 100)
    assert read_checked(path) == b'plan' * 100
    damaged = bytearray(path.read_bytes())
    damaged[40] ^= 1
    path.write_bytes(damaged)
    assert read_checked(path) is None
    assert [file.name for file in tmp_path.iterdir()] == ['x.engine']


def test_key_depends_on_the_borders_of_its_parts():
    assert cache_key('ab', 'c') != cache_key('a', 'bc')


def test_folder_is_private_and_an_open_one_refused(tmp_path, monkeypatch):
    monkeypatch.setenv('OCC_CACHE', str(tmp_path / 'cache'))
    assert cache_folder().stat().st_mode & 0o777 == 0o700
    (tmp_path / 'cache').chmod(0o777)
    with pytest.raises(ValueError, match='chmod 700'):
        cache_folder()


def test_lock_waits_and_tells_so(tmp_path):
    told = threading.Event()
    order = []

    def second():
        with locked(tmp_path / 'x.lock', told.set):
            order.append('second')

    with locked(tmp_path / 'x.lock'):
        thread = threading.Thread(target=second)
        thread.start()
        assert told.wait(10)
        order.append('first')
    thread.join(10)
    assert order == ['first', 'second']
