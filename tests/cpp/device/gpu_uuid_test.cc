#include "device/gpu_uuid.h"

#include <gtest/gtest.h>

namespace argosy::device {
namespace {

constexpr std::array<unsigned char, 16> kOctets = {0x90, 0x44, 0x3a, 0xf0, 0x2f, 0xe6, 0x57, 0xfb,
                                                   0x86, 0xfe, 0x54, 0x18, 0x6d, 0x5a, 0x65, 0x01};

TEST(GpuUuid, IsWrittenAsTheDriversToolsDo) {
  EXPECT_EQ(gpu_uuid(kOctets, "NVIDIA H200"), "GPU-90443af0-2fe6-57fb-86fe-54186d5a6501");
}

TEST(GpuUuid, OfAPartSaysSo) {
  EXPECT_EQ(gpu_uuid(kOctets, "NVIDIA A100-SXM4-40GB MIG 1g.5gb"), "MIG-90443af0-2fe6-57fb-86fe-54186d5a6501");
  EXPECT_EQ(gpu_uuid(kOctets, "NVIDIA H200 MIG 1c.3g.71gb"), "MIG-90443af0-2fe6-57fb-86fe-54186d5a6501");
  EXPECT_EQ(gpu_uuid(kOctets, "Imaginary MIGHTY 1"), "GPU-90443af0-2fe6-57fb-86fe-54186d5a6501");
}

}  // namespace
}  // namespace argosy::device
