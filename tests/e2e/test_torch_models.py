"""Models that people use, as PyTorch programs, against bare PyTorch."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from serving import Server, Tensor, add_model, serve

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'argosy[torch]'")
from serving import minilm  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),  # the first test of each kind writes its programs and starts a server
    # PyTorch's own: it would rather have other formats, and meets newer Pythons.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
CLIENTS = [httpclient, grpcclient]
TYPES = {np.dtype(np.int64): "INT64", np.dtype(np.float32): "FP32"}


def connect(server: Server, module: Any) -> Any:
    """A client of 16 connections where it matters."""
    if module is httpclient:
        return httpclient.InferenceServerClient(server.http, concurrency=16, network_timeout=300.0)
    return grpcclient.InferenceServerClient(server.grpc)


def sent(module: Any, inputs: dict[str, np.ndarray]) -> list[Any]:
    made = []
    for name, array in inputs.items():
        one = module.InferInput(name, list(array.shape), TYPES[array.dtype])
        one.set_data_from_numpy(array)
        made.append(one)
    return made


# Sentence vectors: token ids of different lengths, exported and traced.


@pytest.fixture(scope="module")
def encoder() -> minilm.MiniLM:
    weights, config = minilm.packaged("model.safetensors"), minilm.packaged("config.json")
    if weights is None or config is None:
        pytest.skip(f"the package {minilm.PACKAGE} is not installed")
    return minilm.load(weights, config)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory, encoder: minilm.MiniLM) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("minilm")
    example = (torch.ones(2, 8, dtype=torch.int64), torch.ones(2, 8, dtype=torch.int64))
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens", max=512)
    add_model(root, "exported")
    torch.export.save(
        torch.export.export(encoder, example, dynamic_shapes=({0: rows, 1: tokens}, {0: rows, 1: tokens})),
        root / "exported" / "1" / "model.pt2",
    )
    pair = [Tensor("input_ids", "INT64"), Tensor("attention_mask", "INT64")]
    config = "".join(one.text("input") for one in pair) + Tensor("vectors", dims=[384]).text("output")
    add_model(root, "traced", f'platform: "pytorch_libtorch"\nmax_batch_size: 8\ndynamic_batching {{ }}\n{config}')
    with torch.inference_mode():
        torch.jit.save(torch.jit.trace(encoder, example), str(root / "traced" / "1" / "model.pt"))
    # The same again, where a batch leaves when it is full and not before.
    together = "dynamic_batching { preferred_batch_size: [ 8 ] max_queue_delay_microseconds: 300000000 }\n"
    for model, text in (("exported", 'backend: "pytorch"\n'), ("traced", f'platform: "pytorch_libtorch"\n{config}')):
        add_model(root, f"{model}_together", f"{text}max_batch_size: 8\n{together}")
        (file,) = (root / model / "1").iterdir()
        os.link(file, root / f"{model}_together" / "1" / file.name)
    with serve(root) as running:
        yield running


def tokens(rows: int, length: int, seed: int) -> dict[str, np.ndarray]:
    source = np.random.default_rng(seed)
    mask = np.ones((rows, length), np.int64)
    mask[0, length // 2 :] = 0
    return {"input_ids": source.integers(1000, 30000, (rows, length)), "attention_mask": mask}


def bare(encoder: minilm.MiniLM, inputs: dict[str, np.ndarray]) -> np.ndarray:
    with torch.inference_mode():
        return encoder(*(torch.from_numpy(array) for array in inputs.values())).numpy()


OUTPUT = {"exported": "OUTPUT__0", "traced": "vectors"}


@pytest.mark.parametrize("module", CLIENTS, ids=["http", "grpc"])
@pytest.mark.parametrize("model", OUTPUT)
def test_sentence_vectors_are_those_of_bare_torch(
    sentences: Server, encoder: minilm.MiniLM, model: str, module: Any
) -> None:
    with connect(sentences, module) as client:
        for rows, length in ((1, 5), (3, 16), (2, 40)):
            inputs = tokens(rows, length, length)
            got = client.infer(model, sent(module, inputs)).as_numpy(OUTPUT[model])
            np.testing.assert_allclose(got, bare(encoder, inputs), rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("model", OUTPUT)
def test_rows_that_ran_together_go_to_their_own_clients(sentences: Server, encoder: minilm.MiniLM, model: str) -> None:
    before = sentences.stats(f"{model}_together")
    requests = [tokens(1, 16, seed) for seed in range(16)]
    with connect(sentences, httpclient) as client, ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda one: client.infer(f"{model}_together", sent(httpclient, one)), requests))
    for request, result in zip(requests, done, strict=True):
        np.testing.assert_allclose(result.as_numpy(OUTPUT[model]), bare(encoder, request), rtol=1e-3, atol=2e-5)
    after = sentences.stats(f"{model}_together")
    assert after["inference_count"] - before["inference_count"] == 16
    assert after["execution_count"] - before["execution_count"] == 2


def test_more_tokens_than_the_program_was_exported_for_are_refused_by_name(sentences: Server) -> None:
    inputs = {"input_ids": np.ones((1, 513), np.int64), "attention_mask": np.ones((1, 513), np.int64)}
    with (
        connect(sentences, httpclient) as client,
        pytest.raises(Exception, match="input 'input_ids': dimension 1 is 5"),
    ):
        client.infer("exported", sent(httpclient, inputs))


# Speech detection: a recurrent model whose state the client carries.


@pytest.fixture(scope="module")
def detector() -> Any:
    """The 16 kHz network of silero_vad's TorchScript file: (samples, state) -> (probability, state)."""
    try:
        files = importlib.metadata.files("silero-vad") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package silero-vad is not installed")
    path = next(file for file in files if file.name == "silero_vad.jit").locate()
    return torch.jit.load(str(path))


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory, detector: Any) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("silero")
    # The state's batch dimension is its second; the file is served without batching, one stream a request.
    text = """backend: "pytorch"
max_batch_size: 0
input { name: "x" data_type: TYPE_FP32 dims: [ -1, 576 ] }
input { name: "state" data_type: TYPE_FP32 dims: [ 2, -1, 128 ] }
output { name: "probability" data_type: TYPE_FP32 dims: [ -1, 1 ] }
output { name: "next_state" data_type: TYPE_FP32 dims: [ 2, -1, 128 ] }
instance_group { count: 2 }
"""
    add_model(root, "detector", text)
    torch.jit.save(detector._model, str(root / "detector" / "1" / "model.pt"))
    with serve(root) as running:
        yield running


def speechlike(seconds: float, seed: int) -> np.ndarray:
    """Noise, then a voice-like sum of harmonics that rises and falls; 16 kHz."""
    source = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16000)) / 16000
    voice = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20)) * (
        0.5 + 0.5 * np.sin(2 * np.pi * 4 * time)
    )
    return (0.02 * source.standard_normal(time.size) + np.where(time > seconds / 2, 0.3 * voice, 0)).astype(np.float32)


def chunks(samples: np.ndarray) -> Iterator[np.ndarray]:
    """Windows of 512 samples with the 64 before them."""
    padded = np.concatenate([np.zeros(64, np.float32), samples])
    for start in range(0, len(samples) - 511, 512):
        yield padded[start : start + 576][None]


def detected(client: Any, module: Any, samples: np.ndarray) -> list[float]:
    state, found = np.zeros((2, 1, 128), np.float32), []
    for chunk in chunks(samples):
        result = client.infer("detector", sent(module, {"x": chunk, "state": state}))
        state = result.as_numpy("next_state")
        found.append(float(result.as_numpy("probability")[0, 0]))
    return found


def detected_by_torch(detector: Any, samples: np.ndarray) -> list[float]:
    detector.reset_states()
    with torch.inference_mode():
        return [
            float(detector(torch.from_numpy(samples[start : start + 512])[None], 16000))
            for start in range(0, len(samples) - 511, 512)
        ]


@pytest.mark.parametrize("module", CLIENTS, ids=["http", "grpc"])
def test_a_stream_whose_state_the_client_carries_is_that_of_bare_torch(
    speech: Server, detector: Any, module: Any
) -> None:
    samples = speechlike(1.0, 7)
    with connect(speech, module) as client:
        got = detected(client, module, samples)
    expected = detected_by_torch(detector, samples)
    assert len(got) == 31 and max(expected) - min(expected) > 0.01
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_streams_of_several_clients_do_not_mix(speech: Server, detector: Any) -> None:
    streams = [speechlike(0.5, seed) for seed in range(4)]
    expected = [detected_by_torch(detector, samples) for samples in streams]
    with connect(speech, httpclient) as client, ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda samples: detected(client, httpclient, samples), streams))
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
