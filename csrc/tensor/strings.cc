#include "tensor/strings.h"

#include <cstring>

namespace argosy::tensor {

Element first_element(std::span<const std::byte> bytes) {
  std::uint32_t length = 0;
  if (bytes.size() < sizeof(length)) return {};
  std::memcpy(&length, bytes.data(), sizeof(length));
  if (bytes.size() - sizeof(length) < length) return {};
  return {{reinterpret_cast<const char*>(bytes.data()) + sizeof(length), length}, sizeof(length) + length};
}

StringsCheck check_strings(std::span<const std::byte> bytes, std::size_t count) {
  std::size_t found = 0;
  while (!bytes.empty()) {
    if (found == count) return {StringsFault::too_many, found, bytes.size()};
    const Element element = first_element(bytes);
    if (element.used == 0) {
      const auto fault = bytes.size() < 4 ? StringsFault::cut_off_length : StringsFault::cut_off_element;
      return {fault, found, bytes.size()};
    }
    bytes = bytes.subspan(element.used);
    ++found;
  }
  return {found < count ? StringsFault::too_few : StringsFault::none, found, 0};
}

std::vector<std::size_t> row_offsets(std::span<const std::byte> bytes, std::size_t rows, std::size_t per_row) {
  std::vector<std::size_t> offsets;
  offsets.reserve(rows + 1);
  std::size_t at = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    offsets.push_back(at);
    for (std::size_t i = 0; i < per_row; ++i) at += first_element(bytes.subspan(at)).used;
  }
  offsets.push_back(at);
  return offsets;
}

void append_element(std::string& to, std::string_view value) {
  const auto length = static_cast<std::uint32_t>(value.size());
  to.append(reinterpret_cast<const char*>(&length), sizeof(length));
  to.append(value);
}

}  // namespace argosy::tensor
