#include "kserve/contents.h"

#include <array>
#include <cstring>
#include <limits>

#include "kserve/wire.h"

namespace argosy::kserve {
namespace {

using tensor::DType;

// The field of InferTensorContents that carries a type; 0: none does.
std::uint32_t field_of(DType dtype) {
  switch (dtype) {
    case DType::boolean: return 1;
    case DType::int8:
    case DType::int16:
    case DType::int32: return 2;
    case DType::int64: return 3;
    case DType::uint8:
    case DType::uint16:
    case DType::uint32: return 4;
    case DType::uint64: return 5;
    case DType::fp32: return 6;
    case DType::fp64: return 7;
    case DType::bytes: return 8;
    case DType::fp16:
    case DType::bf16: return 0;
  }
  return 0;
}

// The type a field is named by in messages.
constexpr std::array<std::string_view, 9> kFieldTypes{"",       "BOOL", "INT32", "INT64", "UINT32",
                                                      "UINT64", "FP32", "FP64",  "BYTES"};

WireType wire_type(std::uint32_t field) {
  switch (field) {
    case 6: return WireType::fixed32;
    case 7: return WireType::fixed64;
    case 8: return WireType::bytes;
    default: return WireType::varint;
  }
}

std::size_t count_varints(std::string_view packed) {
  std::size_t ends = 0;
  for (const char c : packed) ends += static_cast<unsigned char>(c) < 0x80;
  return ends;
}

std::string of_input(const ContentsPlace& place) {
  return "input tensor '" + std::string(place.input) + "' for model '" + std::string(place.model) + "'";
}

// What a first pass over the message finds: which list is filled, and its size.
struct Measured {
  std::uint32_t field = 0;
  std::size_t elements = 0;
  std::size_t payload = 0;  // BYTES: bytes of all elements
};

Result<Measured> measure(std::string_view contents, const ContentsPlace& place) {
  Measured found;
  WireReader reader(contents);
  while (reader.next()) {
    const std::uint32_t field = reader.field();
    const WireType type = reader.type();
    const bool ours = field <= 8 && (type == wire_type(field) || type == WireType::bytes);
    if (!ours) {
      reader.skip();
      continue;
    }
    std::size_t elements = 1;
    std::size_t payload = 0;
    if (type == WireType::bytes) {
      std::string_view text;
      if (!reader.bytes(text)) break;
      if (field == 8) {
        payload = text.size();
      } else if (field == 6 || field == 7) {
        const std::size_t size = field == 6 ? 4 : 8;
        if (text.size() % size != 0) return not_an_infer_request();
        elements = text.size() / size;
      } else {
        elements = count_varints(text);
      }
    } else if (!reader.skip()) {
      break;
    }
    if (elements == 0) continue;
    if (found.field != 0 && found.field != field) {
      return invalid_argument("unexpected explicit tensor data for " + of_input(place) +
                              ", binary data was already supplied.");
    }
    found.field = field;
    found.elements += elements;
    found.payload += payload;
  }
  if (!reader.ok()) return not_an_infer_request();
  return found;
}

// Low bytes are taken, as every V2 server does for typed contents.
void put_varint(std::byte*& to, std::uint64_t value, DType dtype, std::size_t size) {
  if (dtype == DType::boolean) value = value != 0;
  std::memcpy(to, &value, size);
  to += size;
}

bool fill(WireReader& reader, std::byte* to, std::uint32_t wanted, DType dtype) {
  const std::size_t size = tensor::element_size(dtype);
  while (reader.next()) {
    if (reader.field() != wanted) {
      reader.skip();
      continue;
    }
    if (reader.type() == WireType::bytes) {
      std::string_view text;
      if (!reader.bytes(text)) return false;
      if (wanted == 8) {
        const auto length = static_cast<std::uint32_t>(text.size());
        std::memcpy(to, &length, sizeof(length));
        if (!text.empty()) std::memcpy(to + sizeof(length), text.data(), text.size());
        to += sizeof(length) + text.size();
      } else if (wanted >= 6) {
        if (!text.empty()) std::memcpy(to, text.data(), text.size());
        to += text.size();
      } else {
        WireReader packed(text);
        std::uint64_t value = 0;
        while (!packed.at_end()) {
          if (!packed.raw_varint(value)) return false;
          put_varint(to, value, dtype, size);
        }
      }
    } else if (reader.type() == wire_type(wanted)) {
      std::uint64_t value = 0;
      if (wanted == 6) {
        std::uint32_t word = 0;
        if (!reader.fixed32(word)) return false;
        value = word;
      } else if (wanted == 7 ? !reader.fixed64(value) : !reader.varint(value)) {
        return false;
      }
      put_varint(to, value, dtype, size);
    } else {
      reader.skip();
    }
  }
  return reader.ok();
}

}  // namespace

Status not_an_infer_request() { return invalid_argument("the message is not a valid protobuf ModelInferRequest"); }

Result<Bytes> read_contents(std::string_view contents, DType dtype, const ContentsPlace& place, BytesPool& pool) {
  const auto found = measure(contents, place);
  if (!found.ok()) return found.status();
  if (found->field == 0) return Bytes();
  const std::uint32_t wanted = field_of(dtype);
  if (wanted == 0) {
    return invalid_argument("typed contents cannot carry datatype '" + std::string(tensor::to_string(dtype)) +
                            "' for " + of_input(place) + ", use raw_input_contents");
  }
  if (found->field != wanted) {
    return invalid_argument("unexpected explicit tensor data for " + of_input(place) + " of type '" +
                            std::string(kFieldTypes[found->field]) + "', expected datatype '" +
                            std::string(tensor::to_string(dtype)) + "'");
  }
  const std::size_t size =
      dtype == DType::bytes ? found->payload + found->elements * 4 : found->elements * tensor::element_size(dtype);
  Buffer buffer = pool.allocate(size);
  if (!buffer) return resource_exhausted("no memory for " + of_input(place) + ": " + std::to_string(size) + " bytes");
  WireReader reader(contents);
  if (!fill(reader, buffer.data(), wanted, dtype)) return not_an_infer_request();
  return std::move(buffer).freeze(size);
}

}  // namespace argosy::kserve
