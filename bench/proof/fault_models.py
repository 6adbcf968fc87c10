"""Python models that fail in every way we know, and a crowd that uses them meanwhile.

Each model gives X back as Y, unless the first element is negative: then it does its harm.
Used by the proof `faults` and, shorter, by tests/e2e/test_python_faults.py.

Needs: numpy, tritonclient[grpc]
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tritonclient.grpc as client

HUNG_AFTER_S = 60.0
BYSTANDER = "bystander"

_CONFIG = """backend: "python"
max_batch_size: 8
input { name: "X" data_type: TYPE_FP32 dims: -1 }
output { name: "Y" data_type: TYPE_FP32 dims: -1 }
dynamic_batching { }
instance_group { count: 1 kind: KIND_CPU }
"""
_SOURCE = """
import ctypes, os, resource, signal, time
import numpy as np
import triton_python_backend_utils as pb_utils

NOTE = os.path.join(os.path.dirname(__file__), "note")

class TritonPythonModel:
    def initialize(self, args):
        INITIALIZE

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
        y = x
        if x[0, 0] < 0:
            HARM
        return pb_utils.InferenceResponse([pb_utils.Tensor("Y", y)])

    def finalize(self):
        FINALIZE
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to fail. `code`: the gRPC status the harmful request gets, empty for a good answer;
    `spoils`: what requests of the same batch may get instead of an answer."""

    name: str
    code: str
    says: str  # regular expression
    harm: str = "pass"
    initialize: str = "pass"
    finalize: str = "pass"
    spoils: str = ""
    ends_process: bool = False
    deaths: int = 1  # of the process that it ends, each time
    config: str = ""


_LIMIT = 'parameters { key: "execute-timeout-seconds" value { string_value: "1" } }'
_AGAIN = "if os.path.exists(NOTE): os.remove(NOTE); "
_MEMORY = (
    "used = int(open('/proc/self/statm').read().split()[0]) * 4096; "
    "resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 29), used + (1 << 29)))"
)
_SENT = "sender = request.get_response_sender(); answer = pb_utils.InferenceResponse([pb_utils.Tensor('Y', x)]); "

FAULTS = (
    Fault(name="killed", harm="os.kill(os.getpid(), 9)", ends_process=True, code="UNAVAILABLE", says="signal 9"),
    Fault(name="segfault", harm="ctypes.string_at(0)", ends_process=True, code="UNAVAILABLE", says="signal 11"),
    Fault(name="aborts", harm="os.abort()", ends_process=True, code="UNAVAILABLE", says="signal 6"),
    Fault(name="exits", harm="os._exit(3)", ends_process=True, code="UNAVAILABLE", says="code 3"),
    Fault(
        name="exits_in_initialize",
        harm="open(NOTE, 'w').close(); os._exit(4)",
        initialize=_AGAIN + "os._exit(5)",
        ends_process=True,
        deaths=2,
        code="UNAVAILABLE",
        says="code 4",
    ),
    Fault(
        name="raises_in_initialize",
        harm="open(NOTE, 'w').close(); os._exit(4)",
        initialize=_AGAIN + "raise RuntimeError('not today')",
        ends_process=True,
        deaths=2,
        code="UNAVAILABLE",
        says="code 4",
    ),
    Fault(
        name="loops", harm="while True: pass", ends_process=True, config=_LIMIT, code="UNAVAILABLE", says=r"within 1\b"
    ),
    Fault(name="raises", harm="raise ValueError('no such luck')", code="INTERNAL", says="no such luck"),
    Fault(name="leaves", harm="raise SystemExit(6)", ends_process=True, code="UNAVAILABLE", says="code 6"),
    Fault(name="out_of_memory", initialize=_MEMORY, harm="y = np.ones(1 << 30)", code="INTERNAL", says="(?i)memory"),
    Fault(name="huge", harm="y = np.full((1, 1 << 24), x[0, 0], np.float32)", code="", says=""),
    Fault(name="wrong_type", harm="y = x.astype(np.float64)", code="INTERNAL", says="FP64.*FP32"),
    Fault(name="wrong_shape", harm="y = x.reshape(1, 1, -1)", code="INTERNAL", says="shape"),
    Fault(name="no_output", harm="return pb_utils.InferenceResponse([])", code="INTERNAL", says="Y"),
    Fault(name="no_response", harm="return None", code="INTERNAL", says="InferenceResponse"),
    Fault(name="sent_twice", harm=_SENT + "sender.send(answer, 1); sender.send(answer, 1)", code="",
          says="", spoils="INTERNAL"),
    Fault(name="sender_dropped", harm="request.get_response_sender(); return None", code="INTERNAL", says="."),
    Fault(name="exits_in_finalize", finalize="os._exit(7)", code="", says=""),
    Fault(name="hangs_in_finalize", finalize="time.sleep(1000)", code="", says="",
          config='parameters { key: "finalize-timeout-seconds" value { string_value: "1" } }'),
)  # fmt: skip


def write_repository(root: Path) -> None:
    """A model for each fault, and the bystander."""
    for fault in (*FAULTS, Fault(name=BYSTANDER, code="", says="")):
        (root / fault.name / "1").mkdir(parents=True)
        (root / fault.name / "config.pbtxt").write_text(_CONFIG + fault.config, encoding="utf-8")
        source = _SOURCE.replace("INITIALIZE", fault.initialize).replace("HARM", fault.harm)
        (root / fault.name / "1/model.py").write_text(source.replace("FINALIZE", fault.finalize), encoding="utf-8")


def sent(values: np.ndarray) -> list[client.InferInput]:
    """`values` [n] as one row of X."""
    tensor = client.InferInput("X", [1, len(values)], "FP32")
    tensor.set_data_from_numpy(values.astype(np.float32).reshape(1, -1))
    return [tensor]


@dataclass(slots=True)
class Crowd:
    """Clients of one model that ask without a pause and check every answer. Use as a context."""

    address: str
    model: str
    clients: int = 4
    good: int = 0
    wrong: int = 0
    hung: int = 0
    slowest_s: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Crowd:
        self._threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int, within_s: float = HUNG_AFTER_S) -> None:
        """Returns after `more` good answers. Raises TimeoutError."""
        wanted, until = self.good + more, time.monotonic() + within_s
        while self.good < wanted:
            if time.monotonic() > until:
                raise TimeoutError(f"{self.model}: {self.good} good answers, expected {wanted} by now")
            self._over.wait(0.005)

    def _ask(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        with client.InferenceServerClient(self.address) as server:
            while not self._over.is_set():
                values = random.random(int(random.choice([1, 16, 40_000])), np.float32)
                begun = time.monotonic()
                try:
                    answer = server.infer(self.model, sent(values), client_timeout=HUNG_AFTER_S).as_numpy("Y")
                except client.InferenceServerException as error:
                    code = str(error.status()).removeprefix("StatusCode.")
                    with self._lock:
                        self.hung += code == "DEADLINE_EXCEEDED"
                        self.errors[code] += 1
                    continue
                with self._lock:
                    self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
                    right = answer is not None and np.array_equal(answer[0], values)
                    self.good += right
                    self.wrong += not right


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one harmful request did. `code` is empty for an answer; `recovery_s` counts from the client's answer."""

    code: str
    text: str
    answered_s: float
    recovery_s: float
    refused: int  # good requests meanwhile that were refused


def do_harm(address: str, fault: Fault) -> Outcome:
    """Sends one harmful request, then good ones until the first is answered. Raises TimeoutError."""
    code, text = "", ""
    with client.InferenceServerClient(address) as server:
        begun = time.monotonic()
        try:
            answer = server.infer(fault.name, sent(np.array([-1.0])), client_timeout=HUNG_AFTER_S)
            if answer.as_numpy("Y").flat[0] != -1:
                raise AssertionError(f"{fault.name}: a wrong answer, {answer.as_numpy('Y').flat[0]}")
        except client.InferenceServerException as error:
            code, text = str(error.status()).removeprefix("StatusCode."), str(error.message())
        answered = time.monotonic()
        refused = 0
        while time.monotonic() - answered < HUNG_AFTER_S:
            try:
                answer = server.infer(fault.name, sent(np.array([5.0])), client_timeout=HUNG_AFTER_S)
            except client.InferenceServerException:
                refused += 1
                threading.Event().wait(0.002)
                continue
            if answer.as_numpy("Y").tolist() != [[5.0]]:
                raise AssertionError(f"{fault.name}: a wrong answer after the fault")
            return Outcome(code=code, text=text, answered_s=answered - begun,
                           recovery_s=time.monotonic() - answered, refused=refused)  # fmt: skip
    raise TimeoutError(f"{fault.name}: no good answer within {HUNG_AFTER_S:g} s of the fault")
