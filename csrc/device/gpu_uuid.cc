#include "device/gpu_uuid.h"

namespace argosy::device {

std::string gpu_uuid(const std::array<unsigned char, 16>& octets, std::string_view name) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text = name.find(" MIG ") == std::string_view::npos ? "GPU-" : "MIG-";
  for (std::size_t i = 0; i < octets.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kDigits[octets[i] >> 4];
    text += kDigits[octets[i] & 15];
  }
  return text;
}

}  // namespace argosy::device
