"""Backends by name: ours, those of packages, and those that there are not."""

from __future__ import annotations

import logging
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, ClassVar

import pytest
from argosy.backends import BackendRegistry, cpu_only_backends
from argosy.errors import InvalidArgument, NotFound
from serving.packages import install_backends


class _Recorder:
    def __init__(self) -> None:
        self.added: list[str] = []

    def __call__(self, name: str, backend: Any) -> None:
        self.added.append(name)


class Good:
    options: ClassVar[dict[str, str] | None] = None

    def configure(self, options: Any) -> None:
        Good.options = dict(options)

    def load(self, spec: Any, slot: Any) -> None: ...


class Empty: ...


class Raises:
    def __init__(self) -> None:
        raise RuntimeError("no licence")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution with a good backend, one without load(), and one that cannot be made."""
    monkeypatch.setattr(Good, "options", None)
    install_backends(monkeypatch, tmp_path, "demo", good=Good, empty=Empty, raises=Raises)
    return tmp_path


def test_a_packaged_backend_is_made_once_and_configured(package: Path) -> None:
    recorder = _Recorder()
    registry = BackendRegistry(recorder, {"": {"all": "1"}, "good": {"own": "2"}, "other": {"x": "3"}})
    registry.ensure("good")
    registry.ensure("good")
    assert recorder.added == ["good"]
    assert Good.options == {"all": "1", "own": "2"}
    assert {"good", "identity", "onnxruntime"} <= set(registry.names())


def test_an_option_that_a_backend_does_not_know_is_named_in_the_log(
    package: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("argosy"), "propagate", True)
    monkeypatch.setattr(Good, "known_options", ("own",), raising=False)
    given = {"": {"all": "1"}, "good": {"own": "2", "default-max-batch-size": "8", "enable-global-threadpool": "1"}}
    BackendRegistry(_Recorder(), given).ensure("good")
    # A set: what other tests have imported may make the root logger hear a line twice.
    assert {line.getMessage() for line in caplog.records if line.levelname == "WARNING"} == {
        "--backend-config=good,enable-global-threadpool has no effect on this backend"
    }


def test_the_native_backend_needs_nothing() -> None:
    recorder = _Recorder()
    registry = BackendRegistry(recorder)
    registry.ensure("identity")
    assert recorder.added == [] and registry.inspector("identity") is None


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"backend 'nope'.*identity, onnxruntime"):
        BackendRegistry(_Recorder()).ensure("nope")


@pytest.mark.parametrize(("name", "text"), [("empty", "has no load"), ("raises", "no licence")])
def test_a_package_that_does_not_work_is_named(package: Path, name: str, text: str) -> None:
    recorder = _Recorder()
    with pytest.raises(InvalidArgument, match=f"backend '{name}' .*{text}"):
        BackendRegistry(recorder).ensure(name)
    assert recorder.added == []


def test_onnx_models_go_to_a_gpu_by_themselves_only_with_the_package_for_it() -> None:
    def nothing(name: str) -> object:
        raise PackageNotFoundError(name)

    assert cpu_only_backends(nothing) == ("identity", "onnxruntime")
    assert cpu_only_backends(lambda name: name) == ("identity",)
