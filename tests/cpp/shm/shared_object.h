#pragma once

// A POSIX shared memory object as a client makes one, gone at the end of the test.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <string>

namespace argosy::shm {

class SharedObject {
 public:
  explicit SharedObject(std::size_t size) : size_(size) {
    static std::atomic<int> count{0};
    // One that is there is what a test left that was killed, in a process of the same number.
    do {
      key_ = "/argosy-test-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
      descriptor_ = ::shm_open(key_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
    } while (descriptor_ < 0 && errno == EEXIST);
    EXPECT_GE(descriptor_, 0) << key_;
    truncate(size);
    data_ = static_cast<std::byte*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0));
    EXPECT_NE(data_, MAP_FAILED);
  }
  ~SharedObject() {
    ::munmap(data_, size_);
    ::close(descriptor_);
    ::shm_unlink(key_.c_str());
  }
  SharedObject(const SharedObject&) = delete;
  SharedObject& operator=(const SharedObject&) = delete;

  const std::string& key() const { return key_; }
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  void truncate(std::size_t size) { EXPECT_EQ(::ftruncate(descriptor_, static_cast<off_t>(size)), 0); }

 private:
  const std::size_t size_;
  std::string key_;
  int descriptor_ = -1;
  std::byte* data_ = nullptr;
};

}  // namespace argosy::shm
