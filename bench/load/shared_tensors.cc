#include "load/shared_tensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace argosy::load {
namespace {

constexpr std::size_t kAlignment = 64;

Status failed(const std::string& step, const SharedObject& object) {
  return resource_exhausted("shared memory '" + object.key + "' of " + std::to_string(object.bytes) +
                            " bytes: " + step + ": " + std::strerror(errno));
}

}  // namespace

Result<std::unique_ptr<SharedTensors>> SharedTensors::make(const std::vector<Sample>& samples, const ModelCard& card,
                                                           std::size_t output_bytes) {
  std::unique_ptr<SharedTensors> made(new SharedTensors);
  std::size_t end = 0;
  const auto place = [&](std::vector<SharedPlace>& to, const std::string& name, std::size_t bytes) {
    to.push_back({name, end, bytes});
    end = (end + bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  for (const Sample& sample : samples) {
    SharedRequest request;
    for (const Tensor& input : sample.inputs) {
      if (input.bytes.empty()) return unsupported("input '" + input.name + "' is empty; shared memory cannot hold it");
      place(request.inputs, input.name, input.bytes.size());
    }
    for (const TensorSpec& output : card.outputs) place(request.outputs, output.name, output_bytes);
    made->requests_.push_back(std::move(request));
  }
  SharedObject& object = made->object_;
  object.region = "argosy-load-" + std::to_string(::getpid());
  object.key = "/" + object.region;
  object.bytes = end;
  for (SharedRequest& request : made->requests_) request.region = object.region;

  const int descriptor = ::shm_open(object.key.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (descriptor < 0) return failed("shm_open", object);
  // Room for all of it now, rather than SIGBUS at the first byte that has none.
  const int refused = ::posix_fallocate(descriptor, 0, static_cast<off_t>(end));
  void* const mapped =
      refused != 0 ? MAP_FAILED : ::mmap(nullptr, end, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (refused != 0) errno = refused;
  const Status why = mapped == MAP_FAILED ? failed("no room", object) : Status();
  ::close(descriptor);
  if (!why.ok()) {
    ::shm_unlink(object.key.c_str());
    return why;
  }
  made->data_ = static_cast<char*>(mapped);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    for (std::size_t j = 0; j < samples[i].inputs.size(); ++j) {
      const std::string& bytes = samples[i].inputs[j].bytes;
      std::memcpy(made->data_ + made->requests_[i].inputs[j].offset, bytes.data(), bytes.size());
    }
  }
  return made;
}

SharedTensors::~SharedTensors() {
  if (data_ == nullptr) return;
  ::munmap(data_, object_.bytes);
  ::shm_unlink(object_.key.c_str());
}

std::vector<std::string_view> SharedTensors::first_outputs() const {
  std::vector<std::string_view> out;
  for (const SharedRequest& request : requests_) {
    const SharedPlace first = request.outputs.empty() ? SharedPlace{} : request.outputs.front();
    out.emplace_back(data_ + first.offset, first.bytes);
  }
  return out;
}

}  // namespace argosy::load
