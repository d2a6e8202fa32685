from __future__ import annotations

import builtins
import collections
import contextlib
import decimal
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fv2es_prep.corpora.plain_pickle import read_plain_pickle
from fv2es_prep.errors import CorpusError

PLAIN: dict[str, Any] = {
    "Ses01F_impro01_F000": {
        "text": "Excuse me — «yes».",
        "label": "neu",
        "start_time": 6.2901,
        "sr": 16000,
        "others": [None, True, 1 << 80, b"\x00\xff", bytearray(b"ab"), 2 + 1j, (1, (2,))],
        "sets": [{1, 2}, frozenset({"a"})],
        "ordered": collections.OrderedDict(a=1),
    }
}
ARRAYS = [
    np.arange(6, dtype=np.int64).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(3, dtype=">i2"),
    np.array([True, False]),
    np.array(["anger", "joy"]),
    np.array([b"a", b"bc"]),
    np.zeros((0, 4), np.float32),
]
SCALARS = [np.float64(29.97), np.int64(1), np.bool_(True), np.float32(0.5), np.str_("ang")]


class Calls:
    """A pickle of it calls a function when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> Any:
        return self.called


def saved(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_come_back(tmp_path, protocol):
    path = saved(tmp_path / "meta.pkl", [PLAIN, ARRAYS, SCALARS], protocol)
    plain, arrays, scalars = read_plain_pickle(path)
    assert plain == PLAIN
    for found, array in zip(arrays, ARRAYS, strict=True):
        np.testing.assert_array_equal(found, array)
        assert found.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    assert scalars == SCALARS
    assert [type(found) for found in scalars] == [type(scalar) for scalar in SCALARS]


def test_an_array_of_objects_holds_what_is_plain(tmp_path):
    array = np.array([[1, 0], "text", None], dtype=object)
    found = read_plain_pickle(saved(tmp_path / "meta.pkl", array))
    assert found.tolist() == [[1, 0], "text", None]


@pytest.mark.parametrize("module", ["numpy.core", "numpy._core"])
def test_arrays_of_older_and_newer_numpy_are_read(tmp_path, module):
    data = pickle.dumps(np.arange(3), 2)
    for name in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        data = data.replace(name, f"{module}.multiarray".encode())
    assert read_plain_pickle(saved(tmp_path / "meta.pkl", data)).tolist() == [0, 1, 2]


def payloads(mark: Path) -> dict[str, Any]:
    """Name that is refused -> something whose loading makes a file, or would lead to it."""
    touch = f"touch {mark}"
    array = np.empty(1, object)
    array[0] = Calls(os.system, touch)
    return {
        f"{os.system.__module__}.system": Calls(os.system, touch),
        "builtins.eval": {"a": {"text": Calls(eval, f"open({str(mark)!r}, 'w')")}},
        "builtins.exec": [Calls(exec, f"open({str(mark)!r}, 'w')")],
        "builtins.getattr": Calls(getattr, "os", "system"),
        "builtins.__import__": Calls(builtins.__import__, "os"),
        "numpy.load": Calls(np.load, str(mark)),
        "subprocess.Popen": b"csubprocess\nPopen\n((lS'touch'\nS'" + bytes(mark) + b"'\natR.",
        "codecs.decode": b"ccodecs\ndecode\n(S'x'\nS'rot13'\ntR.",
        "decimal.Decimal": decimal.Decimal(1),
        "pandas.core.frame.DataFrame": b"cpandas.core.frame\nDataFrame\n.",
        "builtins.set.__class__": b"\x80\x04\x8c\x08builtins\x8c\x0dset.__class__\x93.",
        "the persistent id 'x'": b"Px\n.",
        f"{os.system.__module__}.system ": array,
        "os.system": b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR.",
        "test.Made": b"(itest\nMade\n.",
    }


@pytest.mark.parametrize("name", payloads(Path("mark")))
def test_what_is_no_plain_data_is_refused_by_name_and_nothing_of_it_runs(tmp_path, name):
    mark = tmp_path / "mark"
    path = saved(tmp_path / "meta.pkl", payloads(mark)[name])
    with pytest.raises(CorpusError) as error:
        read_plain_pickle(path)
    assert f"meta.pkl holds {name.strip()}, which is not plain data" in error.value.sentence
    assert not mark.exists()


class _Forging(pickle.Pickler):
    """Writes arrays and numbers with a state of our own in the place of numpy's."""

    def __init__(self, file: Any, state: Any) -> None:
        super().__init__(file, 2)
        self.state = state

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.dtype):
            return np.dtype, ("O8", False, True), self.state
        return NotImplemented


@pytest.mark.parametrize("value", [np.arange(2), np.int64(3)])
def test_a_type_that_takes_bytes_for_addresses_is_refused(tmp_path, value):
    # numpy itself would believe the flags 0, and follow the bytes 0, 1 and 3 as addresses.
    file = io.BytesIO()
    _Forging(file, (3, "|", None, None, None, -1, -1, 0)).dump(value)
    with pytest.raises(CorpusError, match="damaged pickle"):
        read_plain_pickle(saved(tmp_path / "meta.pkl", file.getvalue()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04",
        b"no pickle at all",
        pickle.dumps(PLAIN)[:-20],
        # A function of numpy's whose attributes are set; bytes of a number; another encoding.
        b"cnumpy.core.multiarray\nscalar\n(NS'd'\nd}S'__code__'\nI1\nstb.",
        b"c__builtin__\nbytearray\n(I99999999999\ntR.",
        b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
        b"cnumpy\nndarray\n(I1\ntR.",
        pickle.dumps(np.array(["2020-01-01"], "datetime64[D]")),
        pickle.dumps(np.zeros(2, [("a", "O"), ("b", "i4")])),
    ],
)
def test_a_damaged_pickle_is_refused(tmp_path, data):
    with pytest.raises(CorpusError, match=r"meta\.pkl is a damaged pickle"):
        read_plain_pickle(saved(tmp_path / "meta.pkl", data))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.pkl"
    path.write_bytes(data)
    with contextlib.suppress(CorpusError):
        read_plain_pickle(path)


@given(st.data())
def test_a_pickle_with_changed_bytes_is_read_or_refused(tmp_path_factory, data):
    whole = bytearray(pickle.dumps([PLAIN, ARRAYS[0], SCALARS[0]], 2))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
        whole[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed.pkl"
    path.write_bytes(whole)
    with contextlib.suppress(CorpusError):
        read_plain_pickle(path)
