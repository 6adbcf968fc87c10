"""Business logic: calls add_sub twice at the same time, the second time with its inputs swapped."""

import asyncio

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    async def execute(self, requests):
        return list(await asyncio.gather(*(self.answer(request) for request in requests)))

    async def answer(self, request):
        left = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
        right = pb_utils.get_input_tensor_by_name(request, "INPUT1").as_numpy()
        forward, backward = await asyncio.gather(self.call(left, right), self.call(right, left))
        for response in (forward, backward):
            if response.has_error():
                return pb_utils.InferenceResponse(error=response.error())
        total = pb_utils.get_output_tensor_by_name(forward, "OUTPUT0").as_numpy()
        difference = pb_utils.get_output_tensor_by_name(backward, "OUTPUT1").as_numpy()
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", total), pb_utils.Tensor("OUTPUT1", difference)])

    def call(self, left, right):
        return pb_utils.InferenceRequest(
            model_name="add_sub",
            requested_output_names=["OUTPUT0", "OUTPUT1"],
            inputs=[pb_utils.Tensor("INPUT0", left), pb_utils.Tensor("INPUT1", right)],
        ).async_exec()
