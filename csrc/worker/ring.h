#pragma once

// Ring: records of bytes from one process to another through shared memory, in order,
// with a futex to sleep on.
//
// Place: 192 bytes of head, then `capacity` bytes (a power of two). Little-endian:
//   0    u32 tail      bytes ever written (modulo 2^32); the futex word
//   64   u32 head      bytes ever read
//   128  u32 sleeping  1 while the reader may be asleep, and wants to be woken
//   192  records: u32 length, the bytes, padding to a multiple of 8; the length
//        0xffffffff says that the next record stands at the beginning
// A record is at most capacity / 2 - 8 bytes, so that one always fits in the end.
//
// What the other process wrote is not trusted: a reader checks every number and says
// `corrupt` instead of following it.
//
// Thread: one writer and one reader at a time, in whichever processes.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/time.h"
#include "worker/patience.h"

namespace argosy::worker {

inline constexpr std::size_t kRingHead = 192;

// What both sides look at.
class RingPlace {
 public:
  // `memory` has kRingHead + capacity bytes, 8-byte aligned, zeroed before first use.
  RingPlace(std::byte* memory, std::uint32_t capacity) : memory_(memory), capacity_(capacity) {}

  std::atomic<std::uint32_t>& tail() const { return word(0); }
  std::atomic<std::uint32_t>& head() const { return word(64); }
  std::atomic<std::uint32_t>& sleeping() const { return word(128); }
  std::byte* data() const { return memory_ + kRingHead; }
  std::uint32_t capacity() const { return capacity_; }
  std::size_t longest() const { return capacity_ / 2 - 8; }

 private:
  std::atomic<std::uint32_t>& word(std::size_t at) const {
    return *reinterpret_cast<std::atomic<std::uint32_t>*>(memory_ + at);
  }
  std::byte* memory_;
  std::uint32_t capacity_;
};

class RingWriter {
 public:
  explicit RingWriter(RingPlace place) : place_(place) {}

  // False: no room now. Wakes the reader if it sleeps. record.size() <= longest().
  bool push(std::span<const std::byte> record);
  // The same, leaving a sleeper asleep.
  bool put(std::span<const std::byte> record);
  bool reader_sleeps() const { return place_.sleeping().load(std::memory_order_seq_cst) != 0; }
  void wake_reader();
  std::size_t longest() const { return place_.longest(); }

 private:
  RingPlace place_;
  std::uint32_t tail_ = 0;
};

class RingReader {
 public:
  enum class Found : std::uint8_t { record, nothing, corrupt };

  explicit RingReader(RingPlace place) : place_(place) {}

  // Copies the next record into `to`; what the writer does to the ring afterwards
  // cannot reach the copy.
  Found pop(std::string& to);

  // The next record where it lies, for a reader that trusts the writer, until drop().
  Found peek(std::span<const std::byte>& record);
  void drop();

  bool empty() const { return place_.tail().load(std::memory_order_acquire) == head_; }

  // The same from a thread whose ring this is not; what the writer may have falsified.
  bool seems_empty() const {
    return place_.tail().load(std::memory_order_seq_cst) == place_.head().load(std::memory_order_relaxed);
  }

  // Sleeps until there may be a record, until wake(), or until `deadline`.
  void doze(TimePoint deadline);
  // The same for a reader whom no other thread wakes, and which stays awake for a while first.
  void sleep(TimePoint deadline);
  // From another thread of the reader's own process: ends a stay and a doze, now or the next one.
  void wake();

  // A reader that sleeps on something else as well: false, it must not, there is a record.
  bool fall_asleep();
  void wake_up() { place_.sleeping().store(0, std::memory_order_relaxed); }

  // Whether a record or a wake() came, or `also()` was true, before it would have to sleep.
  template <class Also>
  bool stay_awake(Also also) {
    return patience_.stay(SteadyClock(), [&] { return !empty() || woken_.load(std::memory_order_relaxed) || also(); });
  }
  bool stay_awake() {
    return stay_awake([] { return false; });
  }

 private:
  RingPlace place_;
  std::uint32_t head_ = 0;
  std::uint32_t next_ = 0;  // what drop() makes of head_
  Patience patience_;
  std::atomic<bool> woken_{false};
};

}  // namespace argosy::worker
