#pragma once

// gpu_uuid: a GPU's uuid as the driver's tools write it, from its octets.
//
// The octets do not say whether they are a whole GPU's or those of an instance that one
// is partitioned into (MIG); the device's name does, as "NVIDIA A100-SXM4-40GB MIG 1g.5gb".
//
// Thread: pure; any.

#include <array>
#include <string>
#include <string_view>

namespace argosy::device {

std::string gpu_uuid(const std::array<unsigned char, 16>& octets, std::string_view name);

}  // namespace argosy::device
