"""Business logic over a stream: adds up what the model "square" sends, and so returns the square of IN."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        call = pb_utils.InferenceRequest(
            model_name="square",
            requested_output_names=["OUT"],
            inputs=[pb_utils.get_input_tensor_by_name(request, "IN")],
        )
        total = np.zeros(1, np.int32)
        for response in call.exec(decoupled=True):
            if response.has_error():
                return pb_utils.InferenceResponse(error=response.error())
            for tensor in response.output_tensors():  # none in the response that only says "final"
                total += tensor.as_numpy()
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", total)])
