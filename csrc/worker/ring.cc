#include "worker/ring.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <ctime>

namespace argosy::worker {
namespace {

constexpr std::uint32_t kWrap = 0xffffffff;
constexpr std::uint32_t kAll = 0x7fffffff;

std::uint32_t padded(std::size_t size) { return static_cast<std::uint32_t>((size + 4 + 7) / 8 * 8); }

// Shared between processes: the PRIVATE forms would look in this process only.
void futex_wake(std::atomic<std::uint32_t>& word) { syscall(SYS_futex, &word, FUTEX_WAKE, kAll, nullptr, nullptr, 0); }

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t seen, TimePoint deadline) {
  timespec until{};
  if (deadline != TimePoint::max()) {
    const auto since = deadline.time_since_epoch();
    until.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(since).count();
    until.tv_nsec = (since - std::chrono::seconds(until.tv_sec)).count();
  }
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, seen, deadline == TimePoint::max() ? nullptr : &until, nullptr,
          FUTEX_BITSET_MATCH_ANY);
}

void store_length(std::byte* at, std::uint32_t length) { std::memcpy(at, &length, sizeof length); }

}  // namespace

bool RingWriter::push(std::span<const std::byte> record) {
  if (!put(record)) return false;
  if (reader_sleeps()) wake_reader();
  return true;
}

void RingWriter::wake_reader() { futex_wake(place_.tail()); }

bool RingWriter::put(std::span<const std::byte> record) {
  assert(record.size() <= place_.longest());
  const std::uint32_t capacity = place_.capacity();
  const std::uint32_t need = padded(record.size());
  const std::uint32_t at = tail_ & (capacity - 1);
  const std::uint32_t skip = capacity - at < need ? capacity - at : 0;
  // Acquire: the reader is done with the bytes before its head.
  const std::uint32_t used = tail_ - place_.head().load(std::memory_order_acquire);
  if (used > capacity || capacity - used < need + skip) return false;
  if (skip != 0) store_length(place_.data() + at, kWrap);
  std::byte* const to = place_.data() + ((tail_ + skip) & (capacity - 1));
  store_length(to, static_cast<std::uint32_t>(record.size()));
  if (!record.empty()) std::memcpy(to + 4, record.data(), record.size());
  tail_ += skip + need;
  // Who sees the tail sees the record; and the look at `sleeping` comes after it, as the
  // sleeper's look at the tail comes after it said that it sleeps.
  place_.tail().store(tail_, std::memory_order_seq_cst);
  return true;
}

RingReader::Found RingReader::peek(std::span<const std::byte>& record) {
  const std::uint32_t capacity = place_.capacity();
  for (;;) {
    const std::uint32_t waiting = place_.tail().load(std::memory_order_acquire) - head_;
    if (waiting == 0) return Found::nothing;
    if (waiting > capacity || waiting % 8 != 0) return Found::corrupt;
    const std::uint32_t at = head_ & (capacity - 1);
    std::uint32_t length = 0;
    std::memcpy(&length, place_.data() + at, sizeof length);
    if (length == kWrap) {
      if (capacity - at > waiting) return Found::corrupt;
      head_ += capacity - at;
      place_.head().store(head_, std::memory_order_release);
      continue;
    }
    if (length > place_.longest() || padded(length) > waiting || padded(length) > capacity - at) return Found::corrupt;
    record = {place_.data() + at + 4, length};
    next_ = head_ + padded(length);
    return Found::record;
  }
}

void RingReader::drop() {
  head_ = next_;
  place_.head().store(head_, std::memory_order_release);
}

RingReader::Found RingReader::pop(std::string& to) {
  std::span<const std::byte> record;
  const Found found = peek(record);
  if (found != Found::record) return found;
  to.assign(reinterpret_cast<const char*>(record.data()), record.size());
  drop();
  return found;
}

bool RingReader::fall_asleep() {
  place_.sleeping().store(1, std::memory_order_seq_cst);
  if (place_.tail().load(std::memory_order_seq_cst) == head_) return true;
  wake_up();
  return false;
}

void RingReader::doze(TimePoint deadline) {
  // A wake() that falls between the look at `woken_` and the sleep is not seen by the
  // kernel, whose word is the tail: so nobody sleeps longer than a slice at a time.
  constexpr auto kSlice = std::chrono::milliseconds(20);
  if (!fall_asleep()) return;
  if (!woken_.exchange(false, std::memory_order_acq_rel)) {
    futex_wait(place_.tail(), head_, std::min(deadline, SteadyClock().now() + kSlice));
  }
  wake_up();
}

void RingReader::sleep(TimePoint deadline) {
  if (stay_awake() || !fall_asleep()) return;
  futex_wait(place_.tail(), head_, deadline);
  wake_up();
}

void RingReader::wake() {
  woken_.store(true, std::memory_order_release);
  futex_wake(place_.tail());
}

}  // namespace argosy::worker
