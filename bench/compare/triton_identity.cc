// An identity backend for the real Triton, which the Python wheel does not bring:
// every input comes back as the output of the same position in the configuration
// (INPUTn as OUTPUTn). Only what comparing servers needs: host memory, one response.
//
// Built by hand, see bench/README.md; no part of our own server. The declarations
// below are the few functions of Triton's C interface that it calls, so that no header
// of Triton's is needed.

#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>

extern "C" {
struct TRITONSERVER_Error;
struct TRITONBACKEND_Input;
struct TRITONBACKEND_Output;
struct TRITONBACKEND_Request;
struct TRITONBACKEND_Response;
struct TRITONBACKEND_ModelInstance;

TRITONSERVER_Error* TRITONBACKEND_RequestInputCount(TRITONBACKEND_Request*, std::uint32_t*);
TRITONSERVER_Error* TRITONBACKEND_RequestInputByIndex(TRITONBACKEND_Request*, std::uint32_t, TRITONBACKEND_Input**);
TRITONSERVER_Error* TRITONBACKEND_RequestRelease(TRITONBACKEND_Request*, std::uint32_t flags);
TRITONSERVER_Error* TRITONBACKEND_InputProperties(TRITONBACKEND_Input*, const char** name, int* datatype,
                                                  const std::int64_t** shape, std::uint32_t* dims,
                                                  std::uint64_t* byte_size, std::uint32_t* buffers);
TRITONSERVER_Error* TRITONBACKEND_InputBuffer(TRITONBACKEND_Input*, std::uint32_t index, const void** buffer,
                                              std::uint64_t* byte_size, int* memory_type, std::int64_t* memory_id);
TRITONSERVER_Error* TRITONBACKEND_ResponseNew(TRITONBACKEND_Response**, TRITONBACKEND_Request*);
TRITONSERVER_Error* TRITONBACKEND_ResponseOutput(TRITONBACKEND_Response*, TRITONBACKEND_Output**, const char* name,
                                                 int datatype, const std::int64_t* shape, std::uint32_t dims);
TRITONSERVER_Error* TRITONBACKEND_OutputBuffer(TRITONBACKEND_Output*, void** buffer, std::uint64_t byte_size,
                                               int* memory_type, std::int64_t* memory_id);
TRITONSERVER_Error* TRITONBACKEND_ResponseSend(TRITONBACKEND_Response*, std::uint32_t flags, TRITONSERVER_Error*);
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportStatistics(TRITONBACKEND_ModelInstance*, TRITONBACKEND_Request*,
                                                                bool success, std::uint64_t start,
                                                                std::uint64_t compute_start, std::uint64_t compute_end,
                                                                std::uint64_t end);
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportBatchStatistics(TRITONBACKEND_ModelInstance*, std::uint64_t rows,
                                                                     std::uint64_t start, std::uint64_t compute_start,
                                                                     std::uint64_t compute_end, std::uint64_t end);
}

namespace {

constexpr std::uint32_t kFinal = 1;
constexpr std::uint32_t kReleaseAll = 1;

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

TRITONSERVER_Error* echo_input(TRITONBACKEND_Input* input, std::uint32_t at, TRITONBACKEND_Response* response,
                               std::uint64_t& rows) {
  const char* name = nullptr;
  int datatype = 0;
  const std::int64_t* shape = nullptr;
  std::uint32_t dims = 0, buffers = 0;
  std::uint64_t size = 0;
  if (auto* error = TRITONBACKEND_InputProperties(input, &name, &datatype, &shape, &dims, &size, &buffers))
    return error;
  if (at == 0) rows += dims > 0 ? static_cast<std::uint64_t>(shape[0]) : 1;
  TRITONBACKEND_Output* output = nullptr;
  const std::string output_name = "OUTPUT" + std::to_string(at);
  if (auto* error = TRITONBACKEND_ResponseOutput(response, &output, output_name.c_str(), datatype, shape, dims))
    return error;
  void* to = nullptr;
  int memory_type = 0;
  std::int64_t memory_id = 0;
  if (auto* error = TRITONBACKEND_OutputBuffer(output, &to, size, &memory_type, &memory_id)) return error;
  auto* cursor = static_cast<char*>(to);
  for (std::uint32_t i = 0; i < buffers; ++i) {
    const void* from = nullptr;
    std::uint64_t part = 0;
    if (auto* error = TRITONBACKEND_InputBuffer(input, i, &from, &part, &memory_type, &memory_id)) return error;
    std::memcpy(cursor, from, part);
    cursor += part;
  }
  return nullptr;
}

TRITONSERVER_Error* echo_request(TRITONBACKEND_Request* request, TRITONBACKEND_Response* response,
                                 std::uint64_t& rows) {
  std::uint32_t count = 0;
  if (auto* error = TRITONBACKEND_RequestInputCount(request, &count)) return error;
  for (std::uint32_t i = 0; i < count; ++i) {
    TRITONBACKEND_Input* input = nullptr;
    if (auto* error = TRITONBACKEND_RequestInputByIndex(request, i, &input)) return error;
    if (auto* error = echo_input(input, i, response, rows)) return error;
  }
  return nullptr;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(
    TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request** requests, const std::uint32_t count) {
  const std::uint64_t start = now_ns();
  std::uint64_t rows = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    TRITONBACKEND_Response* response = nullptr;
    if (auto* error = TRITONBACKEND_ResponseNew(&response, requests[i])) return error;
    auto* const error = echo_request(requests[i], response, rows);
    TRITONBACKEND_ResponseSend(response, kFinal, error);
  }
  const std::uint64_t end = now_ns();
  for (std::uint32_t i = 0; i < count; ++i) {
    TRITONBACKEND_ModelInstanceReportStatistics(instance, requests[i], true, start, start, end, end);
    TRITONBACKEND_RequestRelease(requests[i], kReleaseAll);
  }
  TRITONBACKEND_ModelInstanceReportBatchStatistics(instance, rows, start, start, end, end);
  return nullptr;
}
