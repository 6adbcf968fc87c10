"""The interpreter of a Python model: requirements.txt, archives of environments, and what they may not do."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import argosy
import numpy as np
import pytest
from argosy.errors import InvalidArgument
from argosy.worker.archive import unpack
from argosy.worker.environment import interpreter_of
from serving.process import launch
from serving.python_repository import answering, write_model
from serving.waiting import PATIENCE_S

statement = pytest.mark.statement

VERSION = answering("[[argosy_test_package.NUMBER]]")
COMPLETES = """
@staticmethod
def auto_complete_config(config):
    import argosy_test_package
    config.set_max_batch_size(argosy_test_package.NUMBER)
    return config
"""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ARGOSY_CACHE_DIR", str(place))
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # no test asks the network
    return place


def wheel(directory: Path, number: int) -> Path:
    """A package of one line, as a wheel."""
    path = directory / f"argosy_test_package-{number}.0-py3-none-any.whl"
    info = f"argosy_test_package-{number}.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("argosy_test_package.py", f"NUMBER = {number}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: argosy-test-package\nVersion: {number}.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def importing(directory: Path) -> None:
    """The model needs the package already when its file is read."""
    model = directory / "1" / "model.py"
    model.write_text("import argosy_test_package\n" + model.read_text(encoding="utf-8"), encoding="utf-8")


def ask(server: argosy.Server, model: str) -> float:
    return float(server.infer(model, {"X": np.zeros((1, 1), np.float32)})["Y"].ravel()[0])


@pytest.mark.timeout(400)  # makes environments
def test_requirements_beside_the_model_are_installed_for_it_alone(tmp_path: Path, cache: Path) -> None:
    for name, number in (("first", 3), ("second", 5)):
        directory = write_model(tmp_path / "models", name, VERSION + COMPLETES, "max_batch_size: 0\n")
        importing(directory)
        wheel(directory / "1", number)
        requirement = f"# what it needs\n./argosy_test_package-{number}.0-py3-none-any.whl\n"
        (directory / "1" / "requirements.txt").write_text(requirement, encoding="utf-8")
    config = tmp_path / "models" / "first" / "config.pbtxt"
    config.write_text('backend: "python"\n' + config.read_text(encoding="utf-8").partition("\n")[2].partition("\n")[2])
    with argosy.Server(tmp_path / "models") as server:
        assert (ask(server, "first"), ask(server, "second")) == (3, 5)
        assert len([one for one in (cache / "environments").iterdir() if one.is_dir()]) == 2
    made = {path: path.stat().st_mtime_ns for path in (cache / "environments").glob("*/.complete")}
    with argosy.Server(tmp_path / "models") as server:
        assert ask(server, "first") == 3
    assert made == {path: path.stat().st_mtime_ns for path in (cache / "environments").glob("*/.complete")}


def test_requirements_that_are_there_already_make_no_environment(tmp_path: Path, cache: Path) -> None:
    directory = write_model(tmp_path, "plain", answering("x"))
    (directory / "requirements.txt").write_text("numpy\n", encoding="utf-8")
    assert interpreter_of("plain", directory, directory / "1", {}) == ""
    assert not (cache / "environments").exists()


def test_requirements_that_cannot_be_had_fail_the_load_with_the_installers_words(tmp_path: Path, cache: Path) -> None:
    directory = write_model(tmp_path, "wants", answering("x"))
    (directory / "1" / "requirements.txt").write_text("there-is-no-such-package-argosy==9\n", encoding="utf-8")
    with (
        pytest.raises(argosy.ArgosyError, match=r"(?s)installing '.*requirements.txt' failed.*no-such-package-argosy"),
        argosy.Server(tmp_path),
    ):
        pass
    assert not list((cache / "environments").glob("*/bin"))
    none = {"requirements": "none"}
    assert interpreter_of("wants", directory, directory / "1", none) == ""
    with pytest.raises(InvalidArgument, match=r"parameter 'requirements': '.*other.txt' does not exist"):
        interpreter_of("wants", directory, directory / "1", {"requirements": "other.txt"})


def test_an_installation_does_not_keep_a_server_that_stops(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write_model(tmp_path, "wants", answering("x"))
    (directory / "1" / "requirements.txt").write_text("there-is-no-such-package-argosy==9\n", encoding="utf-8")
    monkeypatch.delenv("PIP_NO_INDEX")
    with socket.create_server(("127.0.0.1", 0)) as silent_index:
        silent_index.settimeout(PATIENCE_S)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent_index.getsockname()[1]}/simple")
        process = launch(tmp_path, stderr=subprocess.PIPE)
        try:
            asking, _ = silent_index.accept()
            with asking:
                process.terminate()
                _, log = process.communicate(timeout=25)  # the exit timeout is 30, the installer's 90
                asking.settimeout(PATIENCE_S)
                while asking.recv(4096):  # the installer is gone when it has closed its end
                    pass
        finally:
            process.kill()
    assert process.returncode == 1
    assert "was given up: the server stops" in log
    assert not list((cache / "environments").glob("*/bin"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An environment as an archive: ours, and one package of its own."""
    place = tmp_path_factory.mktemp("packed") / "env"
    venv.create(place, symlinks=True, with_pip=False)
    (site,) = place.glob("lib/python3*/site-packages")
    (site / "argosy_test_package.py").write_text("NUMBER = 7\n", encoding="utf-8")
    code = "import site; print('\\n'.join(site.getsitepackages()))"
    ours = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    (site / "ours.pth").write_text(ours, encoding="utf-8")
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        archive.add(place, ".")
    return whole.getvalue()


@statement("T301")
def test_an_archived_environment_runs_and_completes_its_model(tmp_path: Path, cache: Path, packed: bytes) -> None:
    archive = "$$TRITON_MODEL_DIRECTORY/environment.tar.gz"
    setting = f'parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: "{archive}" }} }}\n'
    directory = write_model(tmp_path, "packed", VERSION + COMPLETES, setting)
    importing(directory)
    (directory / "environment.tar.gz").write_bytes(packed)
    with argosy.Server(tmp_path) as server:
        assert ask(server, "packed") == 7
        (unpacked,) = (cache / "unpacked").glob("*/.complete")
        done = unpacked.stat().st_mtime_ns
    with argosy.Server(tmp_path) as server:
        assert ask(server, "packed") == 7
    assert unpacked.stat().st_mtime_ns == done


def test_what_names_no_environment_is_refused_by_name(tmp_path: Path) -> None:
    directory = write_model(tmp_path, "m", answering("x"))
    (directory / "text.tar.gz").write_text("no archive", encoding="utf-8")
    for parameters, said in (
        ({"EXECUTION_ENV_PATH": "missing.tar.gz"}, "'EXECUTION_ENV_PATH': '.*missing.tar.gz' does not exist"),
        ({"EXECUTION_ENV_PATH": "text.tar.gz"}, "text.tar.gz': it cannot be unpacked"),
        ({"python": "bin/nothing"}, "parameter 'python': there is no interpreter that can be run at"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            interpreter_of("m", directory, directory / "1", parameters)


def archive_of(path: Path, *members: tuple[str, bytes, str]) -> Path:
    """`members`: name, type, and where a link leads."""
    with tarfile.open(path, "w") as archive:
        for name, kind, link in (("bin/python", tarfile.REGTYPE, ""), *members):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, link, 1 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"x") if member.size else None)
    return path


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("../escaped", tarfile.REGTYPE, "")], "lies outside"),
        ([("/escaped", tarfile.REGTYPE, "")], "lies outside"),
        ([("lib", tarfile.SYMTYPE, "/tmp"), ("lib/escaped", tarfile.REGTYPE, "")], "written through a link"),
        ([("hard", tarfile.LNKTYPE, "../../etc/passwd")], "lies outside"),
        ([("hard", tarfile.LNKTYPE, "etc/passwd")], "not in the archive"),
        ([("l", tarfile.SYMTYPE, "/etc/passwd"), ("hard", tarfile.LNKTYPE, "l")], "not in the archive"),
        ([("pipe", tarfile.FIFOTYPE, "")], "neither file, directory nor link"),
        ([("null", tarfile.CHRTYPE, "")], "neither file, directory nor link"),
    ],
)
def test_an_archive_cannot_leave_its_place(tmp_path: Path, members: list[tuple[str, bytes, str]], said: str) -> None:
    archive = archive_of(tmp_path / "a.tar", *members)
    with pytest.raises(InvalidArgument, match=said):
        unpack(archive, tmp_path / "deep" / "inside")
    assert not (tmp_path / "escaped").exists() and not (tmp_path / "deep" / "escaped").exists()


def test_an_archive_without_an_interpreter_is_none(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("readme"))
    with pytest.raises(InvalidArgument, match="no bin/python"):
        unpack(tmp_path / "a.tar", tmp_path / "inside")
