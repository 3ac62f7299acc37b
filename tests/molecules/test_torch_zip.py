"""Foreign files: tensors are read as they were written, and nothing that a file says is run."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sciflow.domains.molecules import torch_zip
from sciflow.domains.molecules.gdss_checkpoint import read
from sciflow.errors import SciflowError
from tests.molecules.authors_file import Document, saved


def test_views_of_a_storage_keep_their_place(tmp_path: Path) -> None:
    base = torch.arange(24.0)
    content = {"a": base[4:10].view(2, 3).t(), "b": base[::5], "c": torch.empty(0, 3)}
    got = torch_zip.read(saved(tmp_path, content))
    assert all(torch.equal(got[name], content[name]) for name in content)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_numbers_of_every_kind(tmp_path: Path, dtype: torch.dtype) -> None:
    content = [torch.arange(5, dtype=dtype), torch.tensor([True, False]), torch.tensor(3.0)]
    got = torch_zip.read(saved(tmp_path, content))
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(got, content, strict=True))


# ---- hostile files ------------------------------------------------------------------------------
class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def placed(good: Document, place: str, thing: Any) -> Any:
    if place == "alone":
        return thing
    if place == "config":
        good["model_config"]["data"]["dir"] = thing
    elif place == "key":
        good["model_config"][(thing,)] = 1
    else:
        good["x_state_dict"]["layers.0.bias"] = thing
    return good


@pytest.mark.parametrize("place", ["alone", "config", "key", "weights"])
@pytest.mark.parametrize("function", ["system", "eval", "open", "getattr", "import"])
def test_no_file_runs_code(tmp_path: Path, good: Document, place: str, function: str) -> None:
    trace = tmp_path / "trace"
    call = {
        "system": Call(os.system, f"touch {trace}"),
        "eval": Call(eval, f"open({str(trace)!r}, 'w')"),
        "open": Call(open, str(trace), "w"),
        "getattr": Call(getattr, "text", "format"),
        "import": Call(__import__, "antigravity"),
    }[function]
    with pytest.raises(SciflowError, match=r"names (posix|nt|__builtin__|io|_io)\.\w+.*not.* run"):
        read(saved(tmp_path, placed(good, place, call)))
    assert not trace.exists()
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "function",
    [torch.load, torch.hub.load, torch.nn.Linear, torch.jit.load, pickle.loads, OrderedDict.pop],
)
def test_no_other_function_of_torch_is_known(tmp_path: Path, function: Any) -> None:
    with pytest.raises(SciflowError, match="names .* expected tensors and plain data"):
        read(saved(tmp_path, {"model_config": Call(function, "x")}))


PUT = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORE = (
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ"
)


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(X\x04\x00\x00\x00exittR.",  # os.system("exit")
        b"(X\x04\x00\x00\x00exitios\nsystem\n.",  # the same by INST
        b"\x8c\x02os\x8c\x06system\x93\x8c\x04exit\x85R.",  # the same by STACK_GLOBAL
        b"\x82\x01.",  # a number from the extension registry
        PUT + b")R.",  # a tensor of nothing
        PUT + b"(K\x01K\x02K\x03K\x04tR.",  # a tensor of numbers
        PUT + b"(" + STORE + b"K\x00(K\xfft(K\x00ttR.",  # larger than its storage
        PUT + b"(" + STORE + b"K\x00(K\x02t(K\x09ttR.",  # beyond its storage
        PUT + b"(" + STORE + b"J\xf0\xff\xff\xff(K\x01t(K\x01ttR.",  # before its storage
        PUT
        + b"("
        + STORE
        + b"K\x00(K\x02t(K\x01ttR}X\x01\x00\x00\x00a\x88sb.",  # tensor with state
        PUT + b"}X\x0c\x00\x00\x00__defaults__)sb.",  # a function with state
        b"ctorch\nFloatStorage\n)R.",  # a type, called
        b"ctorch\nFloatStorage\n}X\x05\x00\x00\x00dtypeK\x01sb.",  # a type with state
        b"ccollections\nOrderedDict.fromkeys\n)R.",
        b"(X\x07\x00\x00\x00storageK\x01K\x01K\x01K\x01tQ.",  # a storage of no type
        STORE.replace(b"X\x01\x00\x00\x000", b"X\x05\x00\x00\x00../..") + b".",  # of no member
        STORE.replace(b"K\x02tQ", b"K\x03tQ") + b".",  # of another length
        b"\x80\x02r\xff\xff\xff\xff.",  # a memo far away
        b"X\xff\xff\xff\x7fshort.",
        b"cnowhere\nnothing\n.",
        b"}q\x00h\x00h\x00s.",  # a dictionary as a key
        b"",
    ],
)
def test_damaged_pickles_are_one_clear_error(tmp_path: Path, code: bytes) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", code)
        archive.writestr("archive/data/0", struct.pack("<2f", 1.0, 2.0))
    with pytest.raises(SciflowError, match=r"^weights\.pth: ") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    fine = [torch.ones(2)]  # and the reader is as it was
    assert torch.equal(torch_zip.read(saved(tmp_path, fine))[0], fine[0])


# ---- damaged files ------------------------------------------------------------------------------
def test_a_truncated_file_is_said(tmp_path: Path, good: Document) -> None:
    path = saved(tmp_path, good)
    whole = path.read_bytes()
    for size in (0, 1, 30, 500, len(whole) // 2, len(whole) - 20):
        path.write_bytes(whole[:size])
        with pytest.raises(SciflowError, match="truncated.*expected a whole file"):
            read(path)


def test_a_damaged_storage_is_said(tmp_path: Path, good: Document) -> None:
    path = saved(tmp_path, good)
    whole = bytearray(path.read_bytes())
    numbers = good["x_state_dict"]["layers.0.weight"].numpy().tobytes()
    whole[bytes(whole).index(numbers)] ^= 1
    path.write_bytes(whole)
    with pytest.raises(SciflowError, match="CRC"):
        read(path)


@pytest.mark.parametrize("content", [b"\x00\xff" * 900, b"PK\x03\x04 no zip", b"<html>404</html>"])
def test_random_bytes_are_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(SciflowError, match="no zip, or a truncated one"):
        read(path)


def test_missing_files_and_folders_are_said(tmp_path: Path) -> None:
    with pytest.raises(SciflowError, match="readable file"):
        read(tmp_path / "none.pth")
    with pytest.raises(SciflowError, match="readable file"):
        read(tmp_path)


def test_the_old_format_is_said(tmp_path: Path, good: Document) -> None:
    with pytest.raises(SciflowError, match="before 1.6.*newer torch"):
        read(saved(tmp_path, good, _use_new_zipfile_serialization=False))


def test_other_zips_are_said(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(SciflowError, match=r"a zip with 0 data\.pkl"):
        read(path)
