"""Stores that behave as Google's and Azure's do through Arrow, which is not as S3 does: a disk that is made to.

By hand the same was seen on emulators of both (gcp-storage-emulator and Azurite).
"""

import time

import pytest
from pyarrow import fs

from intriguing.basics.folders import bucket as bucket_module
from intriguing.basics.folders.bucket import BucketFolder, place_at
from intriguing.engine.driver import prune
from intriguing.engine.storage.lock import locked
from intriguing.engine.verify import verify
from intriguing.errors import StoreError
from tests.engine.storage.bucket_driver import drive
from tests.engine.toy import toy_plan

URIS = {"google": "gs://bucket/a%20run", "azure": "abfs://account@bucket/a%20run"}


class Like:
    """A folder of this machine as the file system of another store."""

    def __init__(self):
        self._disk = fs.LocalFileSystem()

    def __getattr__(self, name):
        return getattr(self._disk, name)

    def make_room(self, path):
        self._disk.create_dir(path.rpartition("/")[0], recursive=True)

    def copy_file(self, source, target):
        self.make_room(target)
        self._disk.copy_file(source, target)


class Azure(Like):
    """An empty file is there as soon as one is opened; on a disk it is the same."""

    def open_output_stream(self, path):
        self.make_room(path)
        return self._disk.open_output_stream(path)


class Google(Like):
    """A file is there once it is closed; folders are not listed; absence is told by a text alone."""

    def open_output_stream(self, path):
        system = self

        class Stream:
            def write(self, content):
                self.content = content

            def close(self):
                system.make_room(path)
                with system._disk.open_output_stream(path) as stream:
                    stream.write(self.content)

        return Stream()

    def get_file_info(self, what):
        try:
            found = self._disk.get_file_info(what)
        except FileNotFoundError:
            raise OSError(f"No such file or directory '{what.base_dir}'") from None
        return [i for i in found if i.type == fs.FileType.File] if isinstance(what, fs.FileSelector) else found

    def delete_dir(self, path):
        raise OSError(f"No such directory: {path}")


@pytest.fixture
def store(request, tmp_path, monkeypatch):
    """The URI of a folder, and the file system that it is on."""
    system = {"google": Google, "azure": Azure}[request.param]()
    monkeypatch.setattr(bucket_module, "file_system", lambda address: (system, f"{tmp_path}/bucket/a run"))
    monkeypatch.setattr(bucket_module, "PAUSES", (0.01,))
    monkeypatch.setattr("intriguing.engine.storage.lease.SETTLED", 0.01)
    return URIS[request.param], system


@pytest.mark.parametrize("store", ["google", "azure"], indirect=True)
def test_a_run_is_made_continued_verified_and_pruned(store):
    uri, _ = store
    assert drive(uri, toy_plan(shards=2)).complete
    assert drive(uri, toy_plan(shards=3)).ran == ("range/2", "scale/2", "total")
    assert drive(uri, toy_plan(shards=2)).ran == ()
    run = place_at(uri)
    assert verify(run).damaged == ()
    numbers = [name for name in run.files("tables/numbers") if not name.startswith("range.")]
    assert (len(run.files("tables/numbers")), numbers) == (2, [])
    assert sorted(run.folders("")) == ["live", "store", "tables"]
    with locked(run):
        assert prune(run)[::2] == (3, 0)
    assert not any(name.startswith(".") for name in run.files(""))


@pytest.mark.parametrize("store", ["azure"], indirect=True)
def test_a_file_that_is_written_anew_is_never_seen_empty(store):
    uri, system = store
    run, seen = place_at(uri), []
    run.write("plan.json", b"old")
    copy = system.copy_file
    system.copy_file = lambda source, target: seen.append(run.read("plan.json")) or copy(source, target)
    run.write("plan.json", b"new")
    assert (seen, run.read("plan.json")) == ([b"old"], b"new")

    def killed(source, target):
        raise KeyboardInterrupt

    system.copy_file = killed
    system.delete_file = lambda path: None
    with pytest.raises(KeyboardInterrupt):
        run.write("plan.json", b"newer")
    del system.delete_file
    assert run.read("plan.json") == b"new"
    assert len(run.files("")) == 2
    run.clear("", time.time() - 60)
    assert len(run.files("")) == 2
    run.clear("")
    assert run.files("") == {"plan.json"}


@pytest.mark.parametrize("store", ["google"], indirect=True)
def test_a_bucket_that_does_not_exist_is_told(store, monkeypatch):
    uri, system = store

    def absent(path):
        raise FileNotFoundError("google::cloud::Status(NOT_FOUND)")

    system.open_output_stream = absent
    with pytest.raises(StoreError, match="There is no bucket 'bucket' for gs://bucket/a%20run: make it"):
        place_at(uri).write("plan.json", b"")


def test_a_folder_of_another_store_goes_by_type():
    for text, kind in {
        "gs://bucket/run": "GcsFileSystem",
        "abfs://account@container/run": "AzureFileSystem",
        "s3://bucket/run?region=eu-central-1": "S3FileSystem",
    }.items():
        folder = BucketFolder(text)
        assert type(folder.system).__name__ == kind
        assert folder.root.endswith("/run")
        assert str(folder) == text.partition("?")[0]
