#include "load/shared_tensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace argosy::load {
namespace {

class SystemTensors final : public SharedTensors {
 public:
  SystemTensors(SharedLayout layout, std::string key, char* data)
      : SharedTensors(std::move(layout)), key_(std::move(key)), data_(data) {}
  ~SystemTensors() override {
    ::munmap(data_, layout_.bytes);
    ::shm_unlink(key_.c_str());
  }

  SharedObject object() const override { return {key_.substr(1), key_, layout_.bytes, "", 0}; }

  std::unique_ptr<OutputReader> reader() const override {
    class Reader final : public OutputReader {
     public:
      explicit Reader(const SystemTensors& from) : from_(from) {}
      Result<std::string_view> first(std::size_t which, std::size_t bytes) override {
        const SharedPlace place = from_.first_output(which, bytes);
        return std::string_view(from_.data_ + place.offset, place.bytes);
      }

     private:
      const SystemTensors& from_;
    };
    return std::make_unique<Reader>(*this);
  }

 private:
  const std::string key_;
  char* const data_;
};

Status failed(const std::string& step, const std::string& key, std::size_t bytes) {
  return resource_exhausted("shared memory '" + key + "' of " + std::to_string(bytes) + " bytes: " + step + ": " +
                            std::strerror(errno));
}

}  // namespace

SharedPlace SharedTensors::first_output(std::size_t which, std::size_t bytes) const {
  const auto& outputs = layout_.requests[which].outputs;
  if (outputs.empty()) return {};
  return {outputs.front().tensor, outputs.front().offset, std::min(outputs.front().bytes, bytes)};
}

std::string own_region() { return "argosy-load-" + std::to_string(::getpid()); }

Result<std::unique_ptr<SharedTensors>> system_tensors(const std::vector<Sample>& samples, const ModelCard& card,
                                                      std::size_t output_bytes) {
  auto layout = lay_out(own_region(), samples, card, output_bytes);
  if (!layout.ok()) return layout.status();
  const std::string key = "/" + own_region();
  const int descriptor = ::shm_open(key.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (descriptor < 0) return failed("shm_open", key, layout->bytes);
  // Room for all of it now, rather than SIGBUS at the first byte that has none.
  const int refused = ::posix_fallocate(descriptor, 0, static_cast<off_t>(layout->bytes));
  void* const mapped =
      refused != 0 ? MAP_FAILED : ::mmap(nullptr, layout->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (refused != 0) errno = refused;
  const Status why = mapped == MAP_FAILED ? failed("no room", key, layout->bytes) : Status();
  ::close(descriptor);
  if (!why.ok()) {
    ::shm_unlink(key.c_str());
    return why;
  }
  fill_inputs(*layout, samples, static_cast<char*>(mapped));
  return std::unique_ptr<SharedTensors>(
      std::make_unique<SystemTensors>(*std::move(layout), key, static_cast<char*>(mapped)));
}

}  // namespace argosy::load
