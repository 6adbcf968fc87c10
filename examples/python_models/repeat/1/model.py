"""Decoupled: one response per element of IN, after DELAY milliseconds each; then the final flag.

A thread per request answers, so that the next batch can start meanwhile.
"""

import threading

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    def initialize(self, args):
        self.threads = set()

    def execute(self, requests):
        for request in requests:
            values = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            delay = pb_utils.get_input_tensor_by_name(request, "DELAY")
            seconds = [0.0] * len(values) if delay is None else (delay.as_numpy() / 1000).tolist()
            thread = threading.Thread(target=self.answer, args=(request.get_response_sender(), values, seconds))
            self.threads = {one for one in self.threads if one.is_alive()} | {thread}
            thread.start()

    def answer(self, sender, values, seconds):
        for index, (value, pause) in enumerate(zip(values, seconds, strict=False)):
            if sender.is_cancelled():
                break
            threading.Event().wait(pause)
            outputs = [pb_utils.Tensor("OUT", np.array([value])), pb_utils.Tensor("IDX", np.array([index], np.uint32))]
            sender.send(pb_utils.InferenceResponse(outputs))
        sender.send(flags=FINAL)

    def finalize(self):
        for thread in self.threads:
            thread.join()
