"""Files appear whole or not at all, with the mode bits and links that a user expects."""

import errno
import os
import stat
import subprocess
import sys
import tempfile
import threading

import pytest

from cotam_cli.errors import CotamError
from cotam_cli.images import write_atomic


def writes_anywhere():
    """Root does, as long as it may override permissions (`setpriv --bounding-set=-dac_override` takes that away)."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o555)
        return os.access(place, os.W_OK)


as_root = pytest.mark.skipif(writes_anywhere(), reason="root may write anywhere")
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX files")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


class TestAtomic:
    def test_writes_and_replaces(self, tmp_path):
        path = tmp_path / "a.ctm"
        write_atomic(path, b"one")
        assert path.read_bytes() == b"one"
        write_atomic(str(path), b"")
        assert path.read_bytes() == b""
        assert os.listdir(tmp_path) == ["a.ctm"]

    def test_a_bare_name_goes_into_the_current_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_atomic("a.ctm", b"one")
        assert os.listdir(tmp_path) == ["a.ctm"]

    @pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
    def test_a_failure_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch, step, error):
        path = tmp_path / "a.ctm"
        path.write_bytes(b"old")

        def fail(*_):
            raise error

        monkeypatch.setattr(os, step, fail)
        expected = CotamError if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(expected):
            write_atomic(path, b"new")
        assert os.listdir(tmp_path) == ["a.ctm"]
        assert path.read_bytes() == b"old"

    def test_a_failure_with_no_old_file_leaves_nothing(self, tmp_path, monkeypatch):
        def fail(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(KeyboardInterrupt):
            write_atomic(tmp_path / "a.ctm", b"new")
        assert os.listdir(tmp_path) == []

    def test_the_old_file_stands_until_the_new_one_is_complete(self, tmp_path, monkeypatch):
        path, seen, replace = tmp_path / "a.ctm", [], os.replace
        path.write_bytes(b"old")

        def watch(temporary, target):
            with open(temporary, "rb") as file:
                seen.append((path.read_bytes(), file.read()))
            replace(temporary, target)

        monkeypatch.setattr(os, "replace", watch)
        write_atomic(path, b"new")
        assert seen == [(b"old", b"new")]

    def test_names_as_long_as_the_file_system_allows(self, tmp_path):
        path = tmp_path / ("x" * 255)
        write_atomic(path, b"one")
        assert path.read_bytes() == b"one"


@posix
class TestModes:
    @pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
    def test_a_new_file_follows_the_umask(self, tmp_path, umask, expected):
        before = os.umask(umask)
        try:
            write_atomic(tmp_path / "a.ctm", b"one")
        finally:
            os.umask(before)
        assert mode(tmp_path / "a.ctm") == expected

    @pytest.mark.parametrize("bits", [0o600, 0o640, 0o755, 0o666])
    def test_a_replaced_file_keeps_its_own(self, tmp_path, bits):
        path = tmp_path / "a.ctm"
        path.write_bytes(b"old")
        path.chmod(bits)
        write_atomic(path, b"new")
        assert mode(path) == bits

    @as_root
    def test_a_read_only_file_is_not_replaced(self, tmp_path):
        path = tmp_path / "a.ctm"
        path.write_bytes(b"old")
        path.chmod(0o444)
        with pytest.raises(CotamError, match="no permission"):
            write_atomic(path, b"new")
        assert path.read_bytes() == b"old"

    @as_root
    def test_a_read_only_folder(self, tmp_path):
        tmp_path.chmod(0o555)
        with pytest.raises(CotamError, match="no permission"):
            write_atomic(tmp_path / "a.ctm", b"new")
        tmp_path.chmod(0o755)
        assert os.listdir(tmp_path) == []


@posix
class TestLinks:
    @pytest.mark.parametrize("old", [None, b"old"], ids=["dangling", "to a file"])
    def test_the_target_is_replaced_and_the_link_stays(self, tmp_path, old):
        folder, link = tmp_path / "folder", tmp_path / "link.ctm"
        folder.mkdir()
        link.symlink_to("folder/target.ctm")
        if old is not None:
            (folder / "target.ctm").write_bytes(old)
        write_atomic(link, b"new")
        assert link.is_symlink()
        assert (folder / "target.ctm").read_bytes() == b"new"
        assert sorted(os.listdir(tmp_path)) == ["folder", "link.ctm"]
        assert os.listdir(folder) == ["target.ctm"]

    def test_a_circle(self, tmp_path):
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        with pytest.raises(CotamError, match="go in a circle"):
            write_atomic(tmp_path / "a", b"new")


@posix
class TestSpecialFiles:
    def test_null_stays_a_device(self):
        write_atomic("/dev/null", b"new")
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)

    def test_a_fifo(self, tmp_path):
        path, received = tmp_path / "pipe", []
        os.mkfifo(path)
        reader = threading.Thread(target=lambda: received.append(path.read_bytes()), daemon=True)
        reader.start()
        data = bytes(range(256)) * 1000  # more than a pipe holds
        write_atomic(path, data)
        reader.join(timeout=10)
        assert received == [data]
        assert stat.S_ISFIFO(path.stat().st_mode)

    @pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
    @pytest.mark.parametrize("to_file", [False, True])
    def test_the_processs_own_stdout(self, tmp_path, name, to_file):
        script = f"from cotam_cli.images import write_atomic; write_atomic({name!r}, b'x' * 100_000)"
        if to_file:  # what stands in the file stays, as with >>
            path = tmp_path / "out"
            path.write_bytes(b"log ")
            with path.open("ab") as file:
                subprocess.run([sys.executable, "-c", script], stdout=file, check=True)
            assert path.read_bytes() == b"log " + b"x" * 100_000
        else:
            result = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
            assert result.stdout == b"x" * 100_000

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
    def test_a_full_disk(self):
        with pytest.raises(CotamError, match=r"^/dev/full: cannot be written: the disk is full"):
            write_atomic("/dev/full", b"new")


class TestMessages:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("missing/a.ctm", "the folder does not exist; make it first"),
            ("file/a.ctm", "a part of the path is not a folder; choose another path"),
            ("", "it is a folder; give a file name"),
            ("x" * 300, "the name is too long; choose a shorter one"),
        ],
    )
    def test_paths_that_cannot_be(self, tmp_path, name, message):
        (tmp_path / "file").write_bytes(b"")
        path = tmp_path / name
        with pytest.raises(CotamError) as caught:
            write_atomic(path, b"new")
        assert str(caught.value) == f"{path}: cannot be written: {message}"
        assert os.listdir(tmp_path) == ["file"]

    def test_a_nul_in_the_name(self):
        with pytest.raises(CotamError, match="choose another name"):
            write_atomic("a\0b", b"new")


def test_writing_loads_neither_numpy_nor_pillow(tmp_path):
    script = f"from cotam_cli.images import write_atomic; write_atomic({str(tmp_path / 'a')!r}, b'new')"
    script += "; import sys; sys.exit(str({'numpy', 'PIL'} & set(sys.modules) or ''))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.stderr.strip() == ""
