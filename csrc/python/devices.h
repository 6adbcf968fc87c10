#pragma once

// The devices of one server: which kind, how much of their memory, and what Python is
// told of them.
//
// Thread: with the interpreter lock held.

#include <pybind11/pybind11.h>

#include <string>

#include "device/open_devices.h"

namespace argosy::python {

// "cuda": the GPUs of this machine. "host": the processor stands for one GPU, number 0,
// of any compute capability; for tests. Without any GPU a budget for one is left out.
// Raises what open_devices() and cuda_devices() say.
device::OpenDevices open_named_devices(const std::string& name, device::DeviceBudget budget);

// One dict per open device.
pybind11::list devices_to_list(const device::OpenDevices& open);

}  // namespace argosy::python
