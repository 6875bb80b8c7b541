"""Files made to do harm: none runs code, waits for ever, or costs more memory than it is worth."""

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from intriguing.data import dataset_hash, load_dataset
from intriguing.data.files import hash_files, open_regular, read_idx
from intriguing.data.npz import read_npz
from intriguing.errors import DataError
from tests.data.peak import peak_megabytes


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil-ran",)


def npy(header, body=b"", version=1):
    text = header.encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes((version, 0)) + length + text + body


def write_npz(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def objects():
    file = io.BytesIO()
    np.save(file, np.array([Evil()], object), allow_pickle=True)
    return file.getvalue()


LINE = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n"
BAD_ARRAYS = {
    "python objects": (objects(), "holds Python objects"),
    "a structure with objects": (npy(LINE.replace("'%s'", "[('a', 'O')]", 1) % "(1,)"), "holds Python objects"),
    "5,000 digits": (npy(LINE % ("|u1", f"({'9' * 5_000},)")), "cannot be read"),
    "4,000 digits": (npy(LINE % ("|u1", f"({'9' * 4_000},)")), "its header asks for"),
    "a header of 40,000 bytes": (npy(LINE % ("|u1", "(1,)") + " " * 40_000), "cannot be read"),
    "a header of gigabytes": (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{}", "cannot be read"),
    "more than there is": (npy(LINE % ("<f8", "(1000000, 1000000)"), bytes(80)), "asks for 8,000,000,000,000"),
    "less than there is": (npy(LINE % ("|u1", "(2,)"), bytes(80)), "has 80 bytes of values and its header asks for 2"),
    "a negative size": (npy(LINE % ("|u1", "(-2, -40)"), bytes(80)), "damaged"),
    "another version": (npy(LINE % ("|u1", "(1,)"), b"a").replace(b"NUMPY\x01", b"NUMPY\x09"), "version"),
    "code for a header": (npy("__import__('os').mkdir('evil-ran')\n"), "cannot be read"),
    "no array": (b"words", "cannot be read"),
}


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_an_array_that_lies_is_refused(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    content, told = BAD_ARRAYS[what]
    with pytest.raises(DataError, match=told):
        load_dataset(f"npz:{write_npz(tmp_path / 'a.npz', images=content, labels=content)}")
    assert not (tmp_path / "evil-ran").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_no_data_set(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npz").write_bytes(pickle.dumps(Evil(), protocol))
    with pytest.raises(DataError, match="cannot be read as an npz file"):
        load_dataset("npz:a.npz")
    assert not (tmp_path / "evil-ran").exists()


def test_a_bare_array_is_refused_with_the_line_to_write(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 4)))
    with pytest.raises(DataError, match=r"one array .*no labels.*numpy.savez\(path, images=images, labels=labels\)"):
        load_dataset(f"npz:{tmp_path / 'a.npy'}")


def test_a_member_that_stands_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for _ in range(2):
            archive.writestr("images.npy", npy(LINE % ("|u1", "(1,)"), b"a"))
    with pytest.raises(DataError, match="'images' twice"):
        read_npz(tmp_path / "a.npz")


READ = """
import sys
from pathlib import Path
from intriguing.data.npz import read_npz
from intriguing.errors import DataError
try:
    read_npz(Path(sys.argv[1]))
except DataError as e:
    print(e)
"""


def test_an_npz_that_unpacks_to_more_than_the_memory_is_refused_before_that(tmp_path):
    """Members of 64 MB of zeros, 65 kB packed, under many names that share one place in the file."""
    write_npz(tmp_path / "a.npz", images=bytes(2**26))
    content = (tmp_path / "a.npz").read_bytes()
    start = content.index(b"PK\x01\x02")
    entry = content[start : start + 46 + len("images.npy")]
    count = 40_000
    directory = b"".join(entry[:46] + b"im%04x.npy" % n for n in range(count))
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(directory), start, 0)
    (tmp_path / "a.npz").write_bytes(content[:start] + directory + end)
    assert (tmp_path / "a.npz").stat().st_size < 4_000_000
    peak, told = peak_megabytes(READ, str(tmp_path / "a.npz"))
    assert "declares 2,684,354,560,000 bytes of arrays" in told
    assert peak < 200


@pytest.mark.parametrize("what", ["fifo", "folder", "device", "loop", "nothing"])
def test_what_is_no_file_is_told_and_never_waited_for(tmp_path, what):
    path = tmp_path / "a.npz"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to("a.npz" if what == "loop" else "nowhere")
    with pytest.raises(OSError, match=r"not a file|symbolic links|No such file"):
        open_regular(path)
    for call in (load_dataset, dataset_hash):
        with pytest.raises(DataError, match=str(path)):
            call(f"npz:{path}")
    with pytest.raises(DataError, match="Cannot read"):
        read_idx(path)
    with pytest.raises(DataError, match="Cannot read"):
        hash_files([("a", path)])


@pytest.mark.parametrize("sizes", [(-2, -3), (2**16, 2**16, 2**16, 2**16), (2**31 - 1,) * 40])
def test_an_idx_header_that_lies_is_refused(tmp_path, sizes):
    """The product of the sizes may be 6, or 2^64, which is 0 where it is computed in 64 bits."""
    body = bytes(6) if sizes[0] < 0 else b""
    head = struct.pack(">HBB", 0, 8, len(sizes)) + struct.pack(f">{len(sizes)}i", *sizes)
    (tmp_path / "a").write_bytes(head + body)
    with pytest.raises(DataError, match="its header asks for"):
        read_idx(tmp_path / "a")


def test_the_values_of_an_npz_are_what_was_saved(tmp_path):
    """In columns or in rows, of any type, empty or not."""
    arrays = {
        "rows": np.arange(6).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "text": np.array(["ä", "bc"]),
        "empty": np.zeros((0, 3)),
        "scalar": np.array(3),
        "big_endian": np.arange(3, dtype=">u2"),
    }
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    for name, array in read_npz(Path(tmp_path / "a.npz")).items():
        assert array.dtype == arrays[name].dtype
        assert np.array_equal(array, arrays[name])
