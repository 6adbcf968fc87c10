#pragma once

// Check: what a GPU check needs of a test framework, and no more, so that the checks
// build on a machine that has a compiler and nothing else.
//
// Thread: one.

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "device/device.h"

namespace argosy::gpu {

class Check {
 public:
  explicit Check(device::DevicePtr device) : device_(std::move(device)) {}

  const device::DevicePtr& device() const { return device_; }

  void expect(bool holds, const std::string& what) {
    if (holds) return;
    // One broken loop should not fill the screen.
    if (++failures_ <= 5) std::printf("    %s\n", what.c_str());
  }
  bool expect(const Status& status, const std::string& what) {
    expect(status.ok(), what + ": " + status.message());
    return status.ok();
  }
  int failures() const { return failures_; }

 private:
  device::DevicePtr device_;
  int failures_ = 0;
};

struct Named {
  const char* name;
  std::function<void(Check&)> run;
};

std::vector<Named> error_checks();  // these need no device; theirs is null
std::vector<Named> device_checks();
std::vector<Named> assembler_checks();

}  // namespace argosy::gpu
