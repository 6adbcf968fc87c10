#include "kserve/json_tensor.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>

#include "kserve/decimal.h"
#include "kserve/half.h"
#include "tensor/strings.h"

namespace argosy::kserve {
namespace {

using tensor::DType;

enum class Fault : std::uint8_t { none, other_type, out_of_range, reader };

// Literals are rare, so they are looked for only after the number was refused.
const char* read_literal(const char* p, const char* end, double& value) {
  for (const std::string_view word : {"NaN", "-NaN", "Infinity", "-Infinity", "Inf", "-Inf"}) {
    if (std::string_view(p, static_cast<std::size_t>(end - p)).starts_with(word)) {
      parse_json_double(word, value);
      return p + word.size();
    }
  }
  return nullptr;
}

template <class Stored, class Wide, const char* (*Read)(const char*, const char*, Wide&), Stored (*Narrow)(Wide),
          bool (*Infinite)(Stored)>
struct Floating {
  std::byte* to;
  Fault operator()(const char*& p, const char* end) {
    Wide wide = 0;
    const char* after = Read(p, end, wide);
    bool literal = false;
    if (after == nullptr) {
      double value = 0;
      after = read_literal(p, end, value);
      if (after == nullptr) return Fault::other_type;
      wide = static_cast<Wide>(value);
      literal = true;
    }
    const Stored stored = Narrow(wide);
    if (!literal && Infinite(stored)) return Fault::out_of_range;
    p = after;
    std::memcpy(to, &stored, sizeof(stored));
    to += sizeof(stored);
    return Fault::none;
  }
};

template <class T>
T same(T value) {
  return value;
}
template <class T>
bool infinite(T value) {
  return std::isinf(value);
}
template <class H>
bool infinite_half(std::uint16_t bits) {
  return (bits & 0x7fff) == H::kInfinity;
}

using ReadFp32 = Floating<float, float, read_float, same<float>, infinite<float>>;
using ReadFp64 = Floating<double, double, read_double, same<double>, infinite<double>>;
using ReadFp16 = Floating<std::uint16_t, double, read_double, Fp16::narrow, infinite_half<Fp16>>;
using ReadBf16 = Floating<std::uint16_t, double, read_double, Bf16::narrow, infinite_half<Bf16>>;

template <class T>
struct ReadInteger {
  std::byte* to;
  Fault operator()(const char*& p, const char* end) {
    const char* const token = json_number_end(p, end);
    if (token == nullptr) return Fault::other_type;
    T value = 0;
    const auto [after, error] = std::from_chars(p, token, value);
    // "-1" for an unsigned type is no number at all to from_chars, but it is out of range.
    const bool whole =
        std::string_view(p, static_cast<std::size_t>(token - p)).find_first_of(".eE") == std::string_view::npos;
    if (!whole) return Fault::other_type;
    if (error != std::errc() || after != token) {
      if (std::is_unsigned_v<T> && token - p == 2 && p[0] == '-' && p[1] == '0') {
        value = 0;
      } else {
        return Fault::out_of_range;
      }
    }
    p = token;
    std::memcpy(to, &value, sizeof(value));
    to += sizeof(value);
    return Fault::none;
  }
};

struct ReadBoolean {
  std::byte* to;
  Fault operator()(const char*& p, const char* end) {
    const std::string_view rest(p, static_cast<std::size_t>(end - p));
    const bool yes = rest.starts_with("true");
    if (!yes && !rest.starts_with("false")) return Fault::other_type;
    p += yes ? 4 : 5;
    *to++ = static_cast<std::byte>(yes ? 1 : 0);
    return Fault::none;
  }
};

struct ReadText {
  JsonReader& reader;
  std::string& to;
  Fault operator()(const char*& p, const char*) {
    if (*p != '"') return Fault::other_type;
    reader.move_to(p);
    std::string_view text;
    if (!reader.read_string(text)) return Fault::reader;
    p = reader.cursor();
    tensor::append_element(to, text);
    return Fault::none;
  }
};

std::string_view expectation(DType dtype) {
  switch (dtype) {
    case DType::boolean: return "true or false";
    case DType::bytes: return "a string";
    case DType::fp16:
    case DType::bf16:
    case DType::fp32:
    case DType::fp64: return "a number";
    case DType::uint8:
    case DType::uint16:
    case DType::uint32:
    case DType::uint64: return "a non-negative integer";
    default: return "an integer";
  }
}

struct Place {
  std::string_view input;
  DType dtype;
};

std::string excerpt(const char* p, const char* end) {
  const char* stop = p;
  while (stop < end && stop - p < 40 && *stop != ',' && *stop != ']' && *stop != ' ' && *stop != '\n') ++stop;
  return {p, stop};
}

bool element_failed(JsonReader& reader, const Place& place, Fault fault, std::size_t index) {
  if (fault == Fault::reader) return false;
  const std::string where = "element " + std::to_string(index) + " of input '" + std::string(place.input) + "'";
  const std::string got = excerpt(reader.cursor(), reader.end());
  if (fault == Fault::out_of_range) {
    return reader.fail(invalid_argument("Unable to parse 'data': " + where + " is out of range for " +
                                        std::string(tensor::to_string(place.dtype)) + ": got " + got + " at offset " +
                                        std::to_string(reader.offset())));
  }
  const JsonKind kind = reader.peek();
  if (kind == JsonKind::nothing) return reader.fail_syntax("expected a value");
  return reader.fail(invalid_argument("Unable to parse 'data': " + where + " should be " +
                                      std::string(expectation(place.dtype)) + ", got " + std::string(to_string(kind)) +
                                      " (" + got + ") at offset " + std::to_string(reader.offset())));
}

// Walks the brackets; `put` reads one element.
template <class Put>
bool walk(JsonReader& reader, const Place& place, std::size_t count, Put put) {
  if (reader.peek() != JsonKind::array) return reader.fail_expected("an array");
  const char* p = reader.cursor();
  const char* const end = reader.end();
  const auto blanks = [&] {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) ++p;
  };
  std::size_t depth = 0;
  std::size_t index = 0;
  for (;;) {
    blanks();
    if (p < end && *p == '[') {
      if (++depth > JsonReader::kMaxDepth) {
        reader.move_to(p);
        return reader.fail(invalid_argument(
            "JSON nesting depth exceeds maximum allowed limit (" + std::to_string(JsonReader::kMaxDepth) +
            ") in 'data' of input '" + std::string(place.input) + "' at offset " + std::to_string(reader.offset())));
      }
      ++p;
      blanks();
      if (p == end || *p != ']') continue;
    } else {
      if (index == count && p < end) {
        reader.move_to(p);
        return reader.fail(
            invalid_argument("Unable to parse 'data': Shape does not match true shape of 'data' field: input '" +
                             std::string(place.input) + "' has more than the " + std::to_string(count) +
                             " elements of its shape, at offset " + std::to_string(reader.offset())));
      }
      const Fault fault = p < end ? put(p, end) : Fault::other_type;
      if (fault != Fault::none) {
        reader.move_to(p);
        return element_failed(reader, place, fault, index);
      }
      ++index;
    }
    // Behind an element, or at the bracket that closes an empty array.
    for (;;) {
      blanks();
      if (p < end && *p == ']') {
        ++p;
        if (--depth == 0) {
          reader.move_to(p);
          if (index == count) return true;
          return reader.fail(invalid_argument("Failed to parse 'data' field: shape does not match true shape: input '" +
                                              std::string(place.input) + "' has " + std::to_string(index) +
                                              " elements, its shape " + std::to_string(count)));
        }
        continue;
      }
      if (p < end && *p == ',') {
        ++p;
        break;
      }
      reader.move_to(p);
      return reader.fail_syntax("expected ',' or ']' after an array element");
    }
  }
}

bool walk_into(JsonReader& reader, const Place& place, std::size_t count, std::byte* to) {
  switch (place.dtype) {
    case DType::boolean: return walk(reader, place, count, ReadBoolean{to});
    case DType::uint8: return walk(reader, place, count, ReadInteger<std::uint8_t>{to});
    case DType::uint16: return walk(reader, place, count, ReadInteger<std::uint16_t>{to});
    case DType::uint32: return walk(reader, place, count, ReadInteger<std::uint32_t>{to});
    case DType::uint64: return walk(reader, place, count, ReadInteger<std::uint64_t>{to});
    case DType::int8: return walk(reader, place, count, ReadInteger<std::int8_t>{to});
    case DType::int16: return walk(reader, place, count, ReadInteger<std::int16_t>{to});
    case DType::int32: return walk(reader, place, count, ReadInteger<std::int32_t>{to});
    case DType::int64: return walk(reader, place, count, ReadInteger<std::int64_t>{to});
    case DType::fp16: return walk(reader, place, count, ReadFp16{to});
    case DType::bf16: return walk(reader, place, count, ReadBf16{to});
    case DType::fp32: return walk(reader, place, count, ReadFp32{to});
    case DType::fp64: return walk(reader, place, count, ReadFp64{to});
    case DType::bytes: break;
  }
  return false;
}

template <class T, class Write>
void write_all(JsonWriter& writer, const device::Memory& data, Write write) {
  const std::size_t count = data.size() / sizeof(T);
  const std::byte* from = data.data();
  for (std::size_t i = 0; i < count; ++i, from += sizeof(T)) {
    T value;
    std::memcpy(&value, from, sizeof(T));
    char* to = writer.room(kLongestDouble + 1);
    if (i > 0) *to++ = ',';
    writer.wrote(write(to, value));
  }
}

template <class T>
void write_integers(JsonWriter& writer, const device::Memory& data) {
  write_all<T>(writer, data, [](char* to, T value) { return std::to_chars(to, to + 24, value).ptr; });
}

Status write_strings(JsonWriter& writer, const tensor::Tensor& tensor) {
  std::span<const std::byte> left(tensor.data.data(), tensor.data.size());
  for (bool first = true; !left.empty(); first = false) {
    const tensor::Element element = tensor::first_element(left);
    if (element.used == 0) return internal_error("output '" + tensor.name + "' ends inside a BYTES element");
    if (!first) writer.put(',');
    writer.string(element.value);
    left = left.subspan(element.used);
  }
  return {};
}

}  // namespace

Result<Bytes> read_json_tensor(JsonReader& reader, std::string_view input, DType dtype, std::size_t count,
                               std::size_t max_bytes, BytesPool& pool) {
  const Place place{input, dtype};
  reader.at("data");
  if (dtype == DType::bytes) {
    std::string elements;
    if (!walk(reader, place, count, ReadText{reader, elements})) return reader.status();
    return Bytes::take(std::move(elements));
  }
  const std::size_t element = tensor::element_size(dtype);
  if (count > max_bytes / element) {
    reader.fail(invalid_argument("JSON input '" + std::string(input) + "' has a byte_size (" + std::to_string(count) +
                                 " elements of " + std::to_string(element) +
                                 " bytes) that exceeds the maximum allowed value of " + std::to_string(max_bytes) +
                                 " bytes. Use --http-max-input-size to increase the limit."));
    return reader.status();
  }
  // Every element takes a character at least, so a shape alone cannot ask for memory.
  if (count > static_cast<std::size_t>(reader.end() - reader.cursor())) {
    reader.fail(invalid_argument("Failed to parse 'data' field: shape does not match true shape: input '" +
                                 std::string(input) + "' cannot hold the " + std::to_string(count) +
                                 " elements of its shape"));
    return reader.status();
  }
  Buffer buffer = pool.allocate(count * element);
  if (!buffer) {
    reader.fail(resource_exhausted("no memory for input '" + std::string(input) + "'"));
    return reader.status();
  }
  if (!walk_into(reader, place, count, buffer.data())) return reader.status();
  return std::move(buffer).freeze(count * element);
}

Status write_json_elements(JsonWriter& writer, const tensor::Tensor& tensor) {
  const device::Memory& data = tensor.data;
  switch (tensor.dtype) {
    case DType::boolean:
      write_all<std::uint8_t>(writer, data, [](char* to, std::uint8_t value) {
        const std::string_view word = value != 0 ? "true" : "false";
        std::memcpy(to, word.data(), word.size());
        return to + word.size();
      });
      break;
    case DType::uint8: write_integers<std::uint8_t>(writer, data); break;
    case DType::uint16: write_integers<std::uint16_t>(writer, data); break;
    case DType::uint32: write_integers<std::uint32_t>(writer, data); break;
    case DType::uint64: write_integers<std::uint64_t>(writer, data); break;
    case DType::int8: write_integers<std::int8_t>(writer, data); break;
    case DType::int16: write_integers<std::int16_t>(writer, data); break;
    case DType::int32: write_integers<std::int32_t>(writer, data); break;
    case DType::int64: write_integers<std::int64_t>(writer, data); break;
    case DType::fp16:
      write_all<std::uint16_t>(writer, data,
                               [](char* to, std::uint16_t value) { return write_double(to, Fp16::widen(value)); });
      break;
    case DType::bf16:
      write_all<std::uint16_t>(writer, data,
                               [](char* to, std::uint16_t value) { return write_double(to, Bf16::widen(value)); });
      break;
    case DType::fp32:
      write_all<float>(writer, data,
                       [](char* to, float value) { return write_double(to, static_cast<double>(value)); });
      break;
    case DType::fp64:
      write_all<double>(writer, data, [](char* to, double value) { return write_double(to, value); });
      break;
    case DType::bytes: return write_strings(writer, tensor);
  }
  return {};
}

}  // namespace argosy::kserve
