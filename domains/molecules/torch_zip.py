"""Torch's zip format read as plain data: a foreign file can hold tensors, and can run nothing.

A file is a zip that holds one pickle, ``data.pkl``, and the raw bytes of each storage. The
unpickler here knows ordered and attribute dictionaries, torch's storage types and "tensor of a
storage", and knows them as plain data: any other name is an error, and no function that a file
names is called.

Reference: the serialization format of PyTorch 1.6 and later (docs/source/notes/serialization).
"""

from __future__ import annotations

import math
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sciflow.errors import SciflowError, expected

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Plain(dict):
    """Stands for every kind of dictionary; attributes that a pickle would set are left out."""

    def __setstate__(self, state: object) -> None:
        pass


class _Inert:
    """An object a pickle may hold but not change."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("state for an object that has none")


class _Storage(_Inert):
    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Values(_Inert):
    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Rebuild(_Inert):
    """Makes a tensor of a storage, an offset, a size and a stride; the rest is not looked at."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: object) -> _Values:
        if not (isinstance(storage, _Values) and isinstance(size, tuple)):
            raise pickle.UnpicklingError("a tensor that is not made of a storage")
        if not isinstance(stride, tuple) or not all(
            type(n) is int and n >= 0 for n in (offset, *size, *stride)
        ):
            raise pickle.UnpicklingError("a tensor without whole offset, size and stride")
        if math.prod(size) > storage.tensor.numel():
            raise pickle.UnpicklingError("a tensor larger than its storage")
        return _Values(storage.tensor.as_strided(size, stride, offset).clone())


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, folder: str, file: str) -> None:
        super().__init__(archive.open(f"{folder}data.pkl"))
        self._archive = archive
        self._folder = folder
        self._file = file

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("collections", "OrderedDict"), ("easydict", "EasyDict")}:
            return _Plain
        if module == "torch" and name in _DTYPES:
            return _Storage(_DTYPES[name])
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Rebuild()
        raise SciflowError(
            f"{self._file}: got a pickle that names {module}.{name}, expected tensors and plain "
            "data; nothing of it was run, do not open it with a reader that would"
        )

    def persistent_load(self, pid: Any) -> Any:
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage"):
            raise pickle.UnpicklingError("an external object that is no storage")
        _, kind, key, _, count = pid
        if not (isinstance(kind, _Storage) and isinstance(key, str) and type(count) is int):
            raise pickle.UnpicklingError("a storage without type, name or length")
        member = self._archive.getinfo(f"{self._folder}data/{key}")
        if member.compress_type != zipfile.ZIP_STORED:
            raise pickle.UnpicklingError("a compressed storage")
        data = bytearray(self._archive.read(member))
        if len(data) != count * kind.dtype.itemsize:
            raise pickle.UnpicklingError(f"a storage of {len(data)} bytes for {count} numbers")
        if not data:
            return _Values(torch.empty(0, dtype=kind.dtype))
        return _Values(torch.frombuffer(data, dtype=kind.dtype))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(v) for v in value)
    if isinstance(value, _Values):
        return value.tensor
    if value is None or isinstance(value, str | int | float):
        return value
    raise pickle.UnpicklingError(f"a value of type {type(value).__name__}")


def _document(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n == "data.pkl" or n.endswith("/data.pkl")]
        if len(names) != 1:
            raise expected(path.name, f"a zip with {len(names)} data.pkl", "a torch checkpoint")
        folder = names[0].removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order) != sys.byteorder.encode():
            raise expected(path.name, "another byte order", f"{sys.byteorder} endian numbers")
        return _plain(_Unpickler(archive, folder, path.name).load())


def read(path: str | Path) -> Any:
    """Read a file that ``torch.save`` wrote, without running anything it names.

    Args:
        path: A file in torch's zip format.

    Returns:
        Dictionaries, lists, tuples, strings, numbers, None and tensors on the CPU.

    Raises:
        SciflowError: The file is missing, truncated, of another format, or names anything but
            tensors and dictionaries.
    """
    path = Path(path)
    whole, again = "a whole file in torch's zip format", "get the file again"
    try:
        return _document(path)
    except SciflowError:
        raise
    except zipfile.BadZipFile as error:
        if zipfile.is_zipfile(path):
            raise expected(path.name, f"a damaged zip ({error})", whole, again) from None
        with path.open("rb") as stream:
            bare = stream.read(1) == b"\x80"
        if bare:
            got, do = "a bare pickle (torch's format before 1.6)", "save it with a newer torch"
            raise expected(path.name, got, whole, do) from None
        raise expected(path.name, "no zip, or a truncated one", whole, again) from None
    except OSError as error:
        raise expected(path.name, error.strerror or str(error), "a readable file") from None
    except Exception as error:  # a damaged pickle can fail in every way there is
        got = f"{type(error).__name__}: {error}"
        raise expected(path.name, got, whole, again) from None
