#include "worker/wire.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "tensor/rows.h"
#include "tensor/strings.h"

namespace argosy::worker {
namespace {

using infer::Parameter;
using infer::Parameters;
using tensor::Tensor;

// In pieces: one huge memcpy meets a slow path of some processors.
void copy_large(std::byte* to, const std::byte* from, std::size_t size) {
  constexpr std::size_t kPiece = 256u << 10;
  for (std::size_t at = 0; at < size; at += kPiece) std::memcpy(to + at, from + at, std::min(kPiece, size - at));
}

// Whether a model can take the elements for what they are.
bool aligned(const Tensor& tensor) {
  const std::size_t element = tensor::element_size(tensor.dtype);
  return element == 0 || reinterpret_cast<std::uintptr_t>(tensor.data.data()) % element == 0;
}

Status write_tensor(const Tensor& tensor, Exchange& exchange, Writer& to, std::vector<std::uint64_t>& lent) {
  if (!tensor.data.on_host()) {
    return unsupported("tensor '" + tensor.name + "' is in device memory; Python models take host memory");
  }
  const std::size_t size = tensor.data.size();
  std::optional<Arena::Place> place;
  if (size > kInline) {
    if (aligned(tensor)) place = exchange.ours->lend(tensor.data.bytes());
    if (!place) {
      Arena& arena = exchange.ours->arena();
      Buffer copy = arena.allocate(size);
      if (!copy) {
        return resource_exhausted("tensor '" + tensor.name + "' of " + std::to_string(size) +
                                  " bytes does not fit in the model's shared memory of " +
                                  std::to_string(arena.capacity()) + " bytes, of which " +
                                  std::to_string(arena.used()) + " are in use");
      }
      copy_large(copy.data(), tensor.data.data(), size);
      place = exchange.ours->lend(std::move(copy).freeze(size));
    }
    lent.push_back(place->block);
  }
  const Arena::Place at = place.value_or(Arena::Place{});
  to.number(TensorHead{.name_size = static_cast<std::uint16_t>(tensor.name.size()),
                       .dtype = static_cast<std::uint8_t>(tensor.dtype),
                       .where = size > kInline ? kWritersArena : kInMessage,
                       .rank = static_cast<std::uint32_t>(tensor.shape.rank()),
                       .block = at.block,
                       .offset = at.offset,
                       .size = size})
      .raw(tensor.name)
      .align(8);
  for (const std::int64_t dim : tensor.shape) to.number(dim);
  if (size <= kInline) {
    to.align(16).raw({reinterpret_cast<const char*>(tensor.data.data()), size});
  }
  return {};
}

Result<Tensor> read_tensor(Reader& from, const Bytes& message, const Exchange& exchange) {
  Tensor tensor;
  const auto [name_size, dtype, where, rank, block, offset, size] = from.number<TensorHead>();
  tensor.name = from.raw(name_size);
  from.align(8);
  if (from.failed() || rank > 64 || dtype >= tensor::kDTypes) return internal_error("a tensor's head is malformed");
  tensor.dtype = static_cast<tensor::DType>(dtype);
  for (std::uint32_t i = 0; i < rank; ++i) tensor.shape.push_back(from.number<std::int64_t>());

  std::optional<Bytes> bytes;
  if (where == kInMessage) {
    from.align(16);
    const std::size_t at = from.at();
    if (from.raw(size).size() == size && !from.failed()) bytes = message.slice(at, size);
  } else if (where == kWritersArena) {
    bytes = exchange.theirs->view(block, offset, size, exchange.released);
  } else if (where == kReadersArena) {
    bytes = exchange.ours->borrow(offset, size);
    // The worker holds what it passes on until it hears of this end.
    if (bytes) {
      std::shared_ptr<const void> owner(
          bytes->data(),
          [held = bytes->owner(), block = block, released = exchange.released](const void*) { released(block); });
      bytes = Bytes(std::move(owner), bytes->data(), size);
    }
  }
  if (!bytes) return internal_error("tensor '" + tensor.name + "' names memory that is not there");

  const auto count = tensor.shape.element_count();
  const auto expected = tensor::byte_size(tensor.dtype, tensor.shape);
  const bool fits = tensor.dtype == tensor::DType::bytes
                        ? count && tensor::check_strings(bytes->span(), static_cast<std::size_t>(*count)).fault ==
                                       tensor::StringsFault::none
                        : expected && *expected == size;
  if (!fits) {
    return internal_error("tensor '" + tensor.name + "' has " + std::to_string(size) + " bytes, which do not make " +
                          std::string(to_string(tensor.dtype)) + " " + to_string(tensor.shape));
  }
  tensor.data = *std::move(bytes);
  return tensor;
}

void write_parameters(const Parameters& parameters, Writer& to) {
  for (const Parameter& parameter : parameters) {
    to.number(static_cast<std::uint8_t>(parameter.value.index())).text(parameter.name);
    if (const auto* flag = std::get_if<bool>(&parameter.value)) {
      to.number(static_cast<std::uint8_t>(*flag));
    } else if (const auto* whole = std::get_if<std::int64_t>(&parameter.value)) {
      to.number(*whole);
    } else if (const auto* real = std::get_if<double>(&parameter.value)) {
      to.number(*real);
    } else {
      to.text(std::get<std::string>(parameter.value));
    }
  }
}

Parameters read_parameters(Reader& from, std::size_t count) {
  Parameters parameters;
  for (std::size_t i = 0; i < count && !from.failed(); ++i) {
    const auto kind = from.number<std::uint8_t>();
    Parameter parameter{std::string(from.text()), false};
    if (kind == 0) parameter.value = from.number<std::uint8_t>() != 0;
    if (kind == 1) parameter.value = from.number<std::int64_t>();
    if (kind == 2) parameter.value = from.number<double>();
    if (kind == 3) parameter.value = std::string(from.text());
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

}  // namespace

Status write_request(const infer::Request& request, std::uint64_t handle, TimePoint now, Exchange& exchange, Writer& to,
                     std::vector<std::uint64_t>& lent) {
  std::int64_t left = -1;
  if (request.deadline != TimePoint::max()) {
    left = std::max<std::int64_t>(0, std::chrono::duration_cast<Micros>(request.deadline - now).count());
  }
  const auto* number = std::get_if<std::uint64_t>(&request.sequence.id);
  const auto* text = std::get_if<std::string>(&request.sequence.id);
  const auto present = [](const Tensor& input) { return !input.name.empty(); };
  const int flags = (request.sequence.start ? kStart : 0) | (request.sequence.end ? kEnd : 0);
  to.number(RequestHead{.handle = handle,
                        .priority = request.priority,
                        .timeout_us = request.timeout_us,
                        .left_us = left,
                        .sequence = number != nullptr ? *number : 0,
                        .rows = request.rows,
                        .sequence_kind = static_cast<std::uint8_t>(request.sequence.id.index()),
                        .flags = static_cast<std::uint8_t>(flags),
                        .inputs = static_cast<std::uint16_t>(std::ranges::count_if(request.inputs, present)),
                        .wanted = static_cast<std::uint16_t>(request.wanted.size()),
                        .parameters = static_cast<std::uint16_t>(request.parameters.size())})
      .text(request.id)
      .text(request.trace_id)
      .text(text != nullptr ? *text : std::string());
  for (const std::string& name : request.wanted) to.text(name);
  write_parameters(request.parameters, to);
  for (const Tensor& input : request.inputs) {
    if (!present(input)) continue;
    if (Status status = write_tensor(input, exchange, to, lent); !status.ok()) return status;
  }
  return {};
}

Status write_response(const infer::Response& response, Exchange& exchange, Writer& to,
                      std::vector<std::uint64_t>& lent) {
  to.number(ResponseHead{.code = static_cast<std::uint8_t>(response.status.code()),
                         .outputs = static_cast<std::uint16_t>(response.outputs.size()),
                         .parameters = static_cast<std::uint16_t>(response.parameters.size())})
      .text(response.status.message());
  write_parameters(response.parameters, to);
  for (const Tensor& output : response.outputs) {
    if (Status status = write_tensor(output, exchange, to, lent); !status.ok()) return status;
  }
  return {};
}

Result<infer::Response> read_response(Reader& from, const Bytes& message, const Exchange& exchange) {
  infer::Response response;
  const auto head = from.number<ResponseHead>();
  const std::string text(from.text());
  response.parameters = read_parameters(from, head.parameters);
  for (std::uint16_t i = 0; i < head.outputs && !from.failed(); ++i) {
    auto output = read_tensor(from, message, exchange);
    if (!output.ok()) return output.status();
    response.outputs.push_back(*std::move(output));
  }
  if (from.failed()) return internal_error("a response is cut off");
  if (head.code != 0) {
    const bool known = head.code <= static_cast<std::uint8_t>(StatusCode::internal);
    response.status = Status(known ? static_cast<StatusCode>(head.code) : StatusCode::internal, text);
    response.outputs.clear();
  }
  return response;
}

Result<infer::RequestPtr> read_request(Reader& from, const Bytes& message, const Exchange& exchange, TimePoint now) {
  auto request = std::make_unique<infer::Request>();
  const auto head = from.number<RequestHead>();
  request->priority = head.priority;
  request->timeout_us = head.timeout_us;
  request->id = from.text();
  request->trace_id = from.text();
  const std::string_view sequence = from.text();
  if (head.sequence_kind == kNumbered) request->sequence.id = head.sequence;
  if (head.sequence_kind == kNamed) request->sequence.id = std::string(sequence);
  request->sequence.start = (head.flags & kStart) != 0;
  request->sequence.end = (head.flags & kEnd) != 0;
  constexpr std::int64_t kYear = std::int64_t{365} * 24 * 3600 * 1'000'000;
  if (head.left_us >= 0 && head.left_us < kYear) request->deadline = now + Micros(head.left_us);
  for (std::uint16_t i = 0; i < head.wanted && !from.failed(); ++i) request->wanted.emplace_back(from.text());
  request->parameters = read_parameters(from, head.parameters);
  for (std::uint16_t i = 0; i < head.inputs && !from.failed(); ++i) {
    auto input = read_tensor(from, message, exchange);
    if (!input.ok()) return input.status();
    request->bytes += input->data.size();
    request->inputs.push_back(*std::move(input));
  }
  if (from.failed()) return internal_error("a request is cut off");
  return request;
}

}  // namespace argosy::worker
