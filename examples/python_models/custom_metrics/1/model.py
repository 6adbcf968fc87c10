"""Metrics of its own: requests so far, the size of the last one, and how the sizes are distributed."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        family = pb_utils.MetricFamily
        labels = {"model": args["model_name"], "version": args["model_version"]}
        # The families must live as long as their metrics.
        self.families = [
            family("custom_requests", "Requests so far", family.COUNTER),
            family("custom_last_elements", "Elements of the last request", family.GAUGE),
            family("custom_elements", "Elements per request", family.HISTOGRAM),
        ]
        self.requests = self.families[0].Metric(labels=labels)
        self.last = self.families[1].Metric(labels=labels)
        self.elements = self.families[2].Metric(labels=labels, buckets=[1.0, 10.0, 100.0, 1000.0])

    def execute(self, requests):
        responses = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
            self.requests.increment(1)
            self.last.set(array.size)
            self.elements.observe(array.size)
            pb_utils.Logger.log_verbose(f"{array.size} elements, {self.requests.value():g} requests so far")
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", array)]))
        return responses
