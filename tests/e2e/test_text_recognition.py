"""The text-recognition example against the package that its networks come from, on pictures drawn here."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from serving import Server, serve

cv2 = pytest.importorskip("cv2", reason="the example needs OpenCV", exc_type=ImportError)
rapidocr = pytest.importorskip("rapidocr_onnxruntime", exc_type=ImportError)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "text_recognition"
LINES = ["Argosy reads text 2026", "the ship left at dawn", "invoice total 1,234.50 EUR"]


def drawn(turned: int = 0, tilt: float = 0.0, lines: list[str] = LINES) -> np.ndarray:
    """[height, width, 3], blue first."""
    picture = np.full((150 + 110 * len(lines), 900, 3), 255, np.uint8)
    for row, line in enumerate(lines):
        cv2.putText(picture, line, (70, 110 + 110 * row), 0, 1.6, (60, 0, 0), 3, cv2.LINE_AA)
    if tilt:
        height, width = picture.shape[:2]
        motion = cv2.getRotationMatrix2D((width / 2, height / 2), tilt, 1)
        picture = cv2.warpAffine(picture, motion, (width, height), borderValue=(255, 255, 255))
    return np.ascontiguousarray(np.rot90(picture, turned))


PICTURES = {
    "plain": lambda: drawn(),
    "upside down": lambda: drawn(turned=2),
    "tilted": lambda: drawn(tilt=4),
    "one wide line": lambda: drawn(lines=LINES[:1])[60:130],
    "large": lambda: cv2.resize(drawn(), None, fx=2.6, fy=2.6),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("reading") / "repository"
    spec = importlib.util.spec_from_file_location("prepare", EXAMPLE / "prepare.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.prepare(root)
    with serve(root) as running:
        yield running


@pytest.fixture(scope="module")
def package() -> Any:
    return rapidocr.RapidOCR(intra_op_num_threads=1)


def expected(package: Any, picture: np.ndarray) -> list[tuple[str, np.ndarray]]:
    found, _ = package(picture)
    return [(text, np.array(box)) for box, text, _ in found or []]


def read(client: Any, module: Any, picture: np.ndarray, *, as_file: bool) -> list[tuple[str, np.ndarray, float]]:
    if as_file:
        file = cv2.imencode(".png", picture)[1].tobytes()
        sent = module.InferInput("file", [1], "BYTES")
        sent.set_data_from_numpy(np.array([file], dtype=object))
    else:
        pixels = np.ascontiguousarray(picture[..., ::-1])
        sent = module.InferInput("pixels", list(pixels.shape), "UINT8")
        sent.set_data_from_numpy(pixels)
    answer = client.infer("read_text", [sent])
    text, box, score = (answer.as_numpy(name) for name in ("text", "box", "score"))
    return [(one.decode(), corners, float(sure)) for one, corners, sure in zip(text, box, score, strict=True)]


def letters(text: str) -> str:
    """Without spaces: a pixel more or less in the cut decides whether the recogniser sees a narrow one."""
    return text.replace(" ", "")


def check(got: list[tuple[str, np.ndarray, float]], wanted: list[tuple[str, np.ndarray]]) -> None:
    assert [letters(text) for text, _, _ in got] == [letters(text) for text, _ in wanted]
    for (_, box, score), (_, corners) in zip(got, wanted, strict=True):
        assert np.abs(box - corners).max() <= 6
        assert 0.5 <= score <= 1


@pytest.mark.parametrize("name", PICTURES)
def test_the_pipeline_reads_what_the_package_reads(server: Server, package: Any, name: str) -> None:
    picture = PICTURES[name]()
    wanted = expected(package, picture)
    assert wanted, "the package itself found nothing: the picture proves nothing"
    with (
        httpclient.InferenceServerClient(server.http, network_timeout=60) as http,
        grpcclient.InferenceServerClient(server.grpc) as grpc,
    ):
        check(read(http, httpclient, picture, as_file=True), wanted)
        check(read(grpc, grpcclient, picture, as_file=False), wanted)


def test_the_lines_are_those_that_were_drawn(server: Server) -> None:
    with httpclient.InferenceServerClient(server.http, network_timeout=60) as client:
        for picture in (drawn(), drawn(turned=2)):
            lines = [letters(text) for text, _, _ in read(client, httpclient, picture, as_file=True)]
            assert sorted(lines) == sorted(map(letters, LINES))


def test_pictures_of_many_clients_are_not_mixed(server: Server) -> None:
    def one(number: int) -> list[str]:
        picture = drawn(lines=[f"picture number {number}", f"{number * 37} words"])
        with grpcclient.InferenceServerClient(server.grpc) as client:
            return [text for text, _, _ in read(client, grpcclient, picture, as_file=bool(number % 2))]

    with ThreadPoolExecutor(6) as pool:
        for number, lines in enumerate(pool.map(one, range(11, 23)), 11):
            assert letters(lines[0]).endswith(str(number)) and letters(lines[1]).startswith(str(number * 37))


def test_a_picture_without_text_costs_one_network(server: Server) -> None:
    blank = np.full((200, 300, 3), 255, np.uint8)
    before = [server.stats(name)["inference_count"] for name in ("find_text", "spell_text")]
    with grpcclient.InferenceServerClient(server.grpc) as client:
        assert read(client, grpcclient, blank, as_file=True) == []
    after = [server.stats(name)["inference_count"] for name in ("find_text", "spell_text")]
    assert after == [before[0] + 1, before[1]]


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "said"),
    [
        ("file", "BYTES", [1], "expected a picture, got 9 bytes"),
        ("pixels", "UINT8", [0, 4, 3], "expected a picture, got shape"),
        ("pixels", "UINT8", [4, 4, 1], "pixels"),
    ],
)
def test_what_is_no_picture_is_refused(server: Server, name: str, dtype: str, shape: list[int], said: str) -> None:
    sent = grpcclient.InferInput(name, shape, dtype)
    sent.set_data_from_numpy(np.array([b"no image!"], dtype=object) if dtype == "BYTES" else np.zeros(shape, np.uint8))
    with (
        grpcclient.InferenceServerClient(server.grpc) as client,
        pytest.raises(grpcclient.InferenceServerException, match=said) as refused,
    ):
        client.infer("read_text", [sent])
    assert "INVALID_ARGUMENT" in str(refused.value.status())
