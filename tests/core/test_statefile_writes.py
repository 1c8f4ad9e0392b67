"""Writing state files: links and modes, every failing system call, sudden death, races."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
from test_statefile import assert_same

from fastopt import _statefile as statefile
from fastopt._statefile import StateFileError

OLD = ({"generation": "old"}, {"p": np.arange(5, dtype=np.float64)})
NEW = ({"generation": "new"}, {"p": np.arange(30_000, dtype=np.float32), "t": np.array(7)})


# what is not a regular file


def test_directory_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        statefile.read(tmp_path)
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        statefile.write(tmp_path, {}, {})
    assert os.listdir(tmp_path) == []


def test_named_pipe_is_refused_without_waiting(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StateFileError, match="is not a regular file"):
        statefile.read(pipe)
    with pytest.raises(StateFileError, match="is not a regular file"):
        statefile.write(pipe, {}, {})
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)


def test_missing_file_and_missing_folder_are_os_errors(tmp_path):
    for path, action in (
        (tmp_path / "none", statefile.read),
        (tmp_path / "none" / "s", lambda path: statefile.write(path, {}, {})),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            action(path)
        assert str(caught.value).endswith(f": {str(path)!r}")


def test_symbolic_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "s"
    statefile.write(target, *OLD)
    link = tmp_path / "link"
    link.symlink_to(target)
    statefile.write(link, *NEW)
    assert link.is_symlink()
    assert_same(statefile.read(target), NEW)
    assert os.listdir(target.parent) == ["s"]


def test_loop_of_symbolic_links_is_an_os_error(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="symbolic links"):
        statefile.write(tmp_path / "a", *NEW)


def test_replaced_file_keeps_its_mode(tmp_path):
    path = tmp_path / "s"
    statefile.write(path, *OLD)
    path.chmod(0o640)
    statefile.write(path, *NEW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_new_file_gets_its_mode_from_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        statefile.write(tmp_path / "s", *NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o640


# failing system calls


def fail_at(monkeypatch, function, call, code):
    """Let the given call of `os.function` (counted from 1) raise; the later ones pass."""
    real = getattr(os, function)
    calls = 0

    def failing(*arguments, **keywords):
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(code, os.strerror(code))
        return real(*arguments, **keywords)

    monkeypatch.setattr(os, function, failing)
    return lambda: calls


def count_calls(monkeypatch, tmp_path, function):
    with monkeypatch.context() as patch:
        calls = fail_at(patch, function, 0, errno.EIO)
        statefile.write(tmp_path / "counted", *NEW)
        return calls()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("function", ["stat", "open", "fchmod", "write", "fsync", "replace"])
def test_failing_call_leaves_the_previous_file(tmp_path, monkeypatch, function, code):
    path = tmp_path / "s"
    statefile.write(path, *OLD)
    # A mode exists only for a file that is there: both writes replace one.
    statefile.write(tmp_path / "counted", *OLD)
    count = count_calls(monkeypatch, tmp_path, function)
    # The last open and fsync are those of the folder, after the replacement.
    before_replacement = count - (function in ("open", "fsync"))
    assert before_replacement >= 1
    for call in range(1, before_replacement + 1):
        with monkeypatch.context() as patch:
            fail_at(patch, function, call, code)
            with pytest.raises(OSError, match=os.strerror(code)) as caught:
                statefile.write(path, *NEW)
        assert caught.value.errno == code
        assert str(caught.value).endswith(f": {str(path)!r}")
        assert_same(statefile.read(path), OLD)
        assert sorted(os.listdir(tmp_path)) == ["counted", "s"]


def test_failing_close_leaves_the_previous_file(tmp_path, monkeypatch):
    path = tmp_path / "s"
    statefile.write(path, *OLD)
    real = os.close

    def failing(descriptor):
        real(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", failing)
        with pytest.raises(OSError, match=rf"{os.strerror(errno.EIO)}.*{re.escape(str(path))}"):
            statefile.write(path, *NEW)
    assert_same(statefile.read(path), OLD)
    assert os.listdir(tmp_path) == ["s"]


@pytest.mark.parametrize("function", ["open", "fsync"])
def test_failing_synchronisation_of_the_folder_is_a_warning_and_the_file_is_in_place(
    tmp_path, monkeypatch, function
):
    path = tmp_path / "s"
    statefile.write(path, *OLD)
    with monkeypatch.context() as patch:
        fail_at(patch, function, 2, errno.EIO)
        with pytest.warns(RuntimeWarning, match=f"in place and whole.*{os.strerror(errno.EIO)}"):
            statefile.write(path, *NEW)
    assert_same(statefile.read(path), NEW)
    assert os.listdir(tmp_path) == ["s"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_knows_no_synchronisation_of_folders_is_no_warning(
    tmp_path, monkeypatch, code
):
    fail_at(monkeypatch, "fsync", 2, code)
    statefile.write(tmp_path / "s", *NEW)
    assert_same(statefile.read(tmp_path / "s"), NEW)


def test_a_folder_that_cannot_be_read_is_a_warning_and_the_file_is_in_place(tmp_path, monkeypatch):
    real = os.open

    def refuse_folders(path, *arguments):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", refuse_folders)
    with pytest.warns(RuntimeWarning, match="in place and whole.*Permission denied"):
        statefile.write(tmp_path / "s", *NEW)
    assert_same(statefile.read(tmp_path / "s"), NEW)


def test_a_file_that_is_a_mount_point_is_overwritten(tmp_path, monkeypatch):
    path = tmp_path / "s"
    statefile.write(path, *NEW)
    identity = path.stat().st_ino
    fail_at(monkeypatch, "replace", 1, errno.EBUSY)
    statefile.write(path, *OLD)
    assert_same(statefile.read(path), OLD)
    assert path.stat().st_ino == identity
    assert os.listdir(tmp_path) == ["s"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to others")
def test_a_file_of_another_user_keeps_owner_and_mode(tmp_path):
    path = tmp_path / "s"
    statefile.write(path, *OLD)
    os.chown(path, 1234, 2345)
    path.chmod(0o640)
    statefile.write(path, *NEW)
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 2345, 0o640)


def test_an_owner_that_the_system_does_not_let_us_give_is_no_failure(tmp_path, monkeypatch):
    path = tmp_path / "s"
    statefile.write(path, *OLD)
    path.chmod(0o600)
    real = os.stat

    def of_another(target, *arguments, **keywords):
        status = list(real(target, *arguments, **keywords))
        status[stat.ST_UID] += 1
        return os.stat_result(status)

    def refuse(descriptor, owner, group):
        asked.append((owner, group))
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    asked = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", of_another)
        patch.setattr(os, "fchown", refuse)
        statefile.write(path, *NEW)
    assert [owner for owner, _ in asked] == [os.stat(path).st_uid + 1, -1]
    assert_same(statefile.read(path), NEW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_interrupted_write_leaves_the_previous_file(tmp_path, monkeypatch):
    path = tmp_path / "s"
    statefile.write(path, *OLD)

    def interrupt(descriptor):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            statefile.write(path, *NEW)
    assert_same(statefile.read(path), OLD)
    assert os.listdir(tmp_path) == ["s"]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    statefile.write(tmp_path / "s", *NEW)
    assert_same(statefile.read(tmp_path / "s"), NEW)


def test_content_and_folder_are_synchronised_in_the_right_order(tmp_path, monkeypatch):
    log = []
    for name in ("write", "fsync", "close", "replace"):
        real = getattr(os, name)

        def logged(*arguments, name=name, real=real):
            if name == "fsync":
                is_folder = stat.S_ISDIR(os.fstat(arguments[0]).st_mode)
                log.append("fsync folder" if is_folder else "fsync file")
            else:
                log.append(name)
            return real(*arguments)

        monkeypatch.setattr(os, name, logged)
    statefile.write(tmp_path / "s", *NEW)
    assert log.count("write") >= 4
    assert [entry for entry in log if entry != "write"] == [
        "fsync file", "close", "replace", "fsync folder", "close",
    ]  # fmt: skip
    assert log.index("fsync file") > max(i for i, entry in enumerate(log) if entry == "write")


KILLED = """
import os, signal, sys
import numpy as np
from fastopt import _statefile as statefile

path, function, call, moment = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
real = getattr(os, function)
calls = 0

def deadly(*arguments):
    global calls
    calls += 1
    if calls == call and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*arguments)
    if calls == call:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(os, function, deadly)
new = {"p": np.arange(30_000, dtype=np.float32), "t": np.array(7)}
statefile.write(path, {"generation": "new"}, new)
"""


@pytest.mark.parametrize(
    ("function", "call", "moment", "survivor"),
    [
        ("open", 1, "before", OLD),
        ("open", 1, "after", OLD),
        ("write", 1, "after", OLD),
        ("write", 3, "before", OLD),
        ("write", 4, "after", OLD),
        ("fsync", 1, "before", OLD),
        ("fsync", 1, "after", OLD),
        ("replace", 1, "before", OLD),
        ("replace", 1, "after", NEW),
        ("fsync", 2, "before", NEW),
        ("fsync", 2, "after", NEW),
    ],
)
def test_killed_process_leaves_a_whole_file(tmp_path, function, call, moment, survivor):
    path = tmp_path / "s"
    statefile.write(path, *OLD)
    command = [sys.executable, "-c", KILLED, path, function, str(call), moment]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert_same(statefile.read(path), survivor)
    # What the dead process left does not hinder the next.
    statefile.write(path, *NEW)
    assert_same(statefile.read(path), NEW)


def test_racing_writers_leave_one_whole_file(tmp_path):
    path = tmp_path / "s"
    states = [({"writer": i}, {"p": np.full(50_000, float(i))}) for i in range(4)]
    statefile.write(path, *states[0])
    failures = []

    def guarded(work):
        try:
            for _ in range(20):
                work()
        except Exception as error:
            failures.append(error)

    def check():
        header, arrays = statefile.read(path)
        assert (arrays["p"] == header["writer"]).all()

    threads = [
        threading.Thread(target=guarded, args=[lambda state=state: statefile.write(path, *state)])
        for state in states
    ]
    threads.append(threading.Thread(target=guarded, args=[check]))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    check()
    assert os.listdir(tmp_path) == ["s"]


def test_file_that_shrinks_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "s"
    statefile.write(path, *NEW)
    real = os.fstat

    def shrink_after(descriptor):
        status = real(descriptor)
        os.truncate(path, 400)
        return status

    monkeypatch.setattr(os, "fstat", shrink_after)
    with pytest.raises(StateFileError, match="became shorter while it was read"):
        statefile.read(path)
