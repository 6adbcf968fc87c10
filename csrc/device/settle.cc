#include "device/settle.h"

namespace argosy::device {
namespace {

constexpr int kAttempts = 16;

}  // namespace

Status settle(Stream& stream, Event& event) {
  Status status;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    // An event whose record failed still stands for what it stood for before.
    status = stream.record(event);
    if (status.ok()) status = event.wait();
    if (status.ok()) return {};
  }
  return status;
}

}  // namespace argosy::device
