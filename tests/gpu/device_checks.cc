#include <algorithm>
#include <cstring>
#include <random>

#include "check.h"
#include "device/pool.h"

namespace argosy::gpu {
namespace {

using device::Direction;
using device::MemoryKind;
using device::Piece;

constexpr std::size_t kBytes = 1u << 20;

struct Rig {
  explicit Rig(Check& check)
      : pinned(device::Pool::make(check.device(), MemoryKind::pinned, {64u << 20, true})),
        memory(device::Pool::make(check.device(), MemoryKind::device, {64u << 20, true})) {
    auto made = check.device()->make_stream();
    auto recorded = check.device()->make_event();
    if (!check.expect(made.status(), "make_stream") || !check.expect(recorded.status(), "make_event")) return;
    stream = *std::move(made);
    event = *std::move(recorded);
    for (auto [lease, pool] : {std::pair(&host, pinned), std::pair(&back, pinned)}) {
      auto taken = pool->take(kBytes);
      if (check.expect(taken.status(), "pinned memory")) *lease = *std::move(taken);
    }
    for (device::Lease* lease : {&first, &second}) {
      auto taken = memory->take_for(*stream, kBytes);
      if (check.expect(taken.status(), "device memory")) *lease = *std::move(taken);
    }
    ready = check.failures() == 0;
  }
  Status flush() {
    if (auto status = stream->record(*event); !status.ok()) return status;
    return event->wait();
  }
  std::shared_ptr<device::Pool> pinned;
  std::shared_ptr<device::Pool> memory;
  std::unique_ptr<device::Stream> stream;
  device::EventPtr event;
  device::Lease host;
  device::Lease back;
  device::Lease first;
  device::Lease second;
  bool ready = false;
};

void fill_random(std::byte* to, std::size_t bytes, std::mt19937_64& random) {
  for (std::size_t i = 0; i < bytes; ++i) to[i] = static_cast<std::byte>(random());
}

void copies_and_back(Check& check) {
  Rig rig(check);
  if (!rig.ready) return;
  std::mt19937_64 random(1);
  fill_random(rig.host.data(), kBytes, random);
  check.expect(rig.stream->copy(rig.first.data(), rig.host.data(), kBytes, Direction::to_device), "to device");
  check.expect(rig.stream->copy(rig.second.data(), rig.first.data(), kBytes, Direction::on_device), "on device");
  check.expect(rig.stream->copy(rig.back.data(), rig.second.data(), kBytes, Direction::to_host), "to host");
  check.expect(rig.flush(), "flush");
  check.expect(std::memcmp(rig.host.data(), rig.back.data(), kBytes) == 0, "bytes differ after the round trip");
  const auto done = rig.event->done();
  check.expect(done.ok() && *done, "an event that was waited for is not done");
}

void ordinary_memory_is_copied_and_free_again(Check& check) {
  Rig rig(check);
  if (!rig.ready) return;
  std::mt19937_64 random(2);
  std::vector<std::byte> ordinary(kBytes);
  std::vector<std::byte> back(kBytes);
  for (int i = 0; i < 20; ++i) {
    fill_random(ordinary.data(), kBytes, random);
    const std::vector<std::byte> expected = ordinary;
    check.expect(rig.stream->copy_and_wait(rig.first.data(), ordinary.data(), kBytes, Direction::to_device), "in");
    std::fill(ordinary.begin(), ordinary.end(), std::byte{0});
    check.expect(rig.stream->copy(rig.second.data(), rig.first.data(), kBytes, Direction::on_device), "on device");
    check.expect(rig.stream->copy_and_wait(back.data(), rig.second.data(), kBytes, Direction::to_host), "out");
    check.expect(back == expected, "bytes differ after the round trip through ordinary memory");
  }
}

// Law: the kernel moves what its twin moves, and touches nothing beside it.
void kernel_equals_twin(Check& check) {
  Rig rig(check);
  if (!rig.ready) return;
  std::vector<std::byte> from(kBytes);
  std::vector<std::byte> expected(kBytes);
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    std::mt19937_64 random(seed);
    fill_random(rig.host.data(), kBytes, random);
    std::memcpy(from.data(), rig.host.data(), kBytes);
    std::fill(expected.begin(), expected.end(), std::byte{0x5A});
    const bool from_pinned = seed % 3 == 0;
    std::vector<Piece> pieces;
    std::vector<Piece> twins;
    const std::size_t largest = seed % 5 == 0 ? 200000 : seed % 2 == 0 ? 3000 : 64;
    for (std::size_t at = random() % 64; at + largest < kBytes; at += random() % 64) {
      const std::size_t bytes = random() % largest;
      const std::size_t source = random() % (kBytes - bytes);
      const std::byte* const where = from_pinned ? rig.host.data() : rig.first.data();
      pieces.push_back({rig.second.data() + at, where + source, bytes});
      twins.push_back({expected.data() + at, from.data() + source, bytes});
      at += bytes + 1;
    }
    // The twin's cuts depend on alignment: 256 bytes are what all three blocks share at least.
    device::move_on_host(twins);
    check.expect(rig.stream->copy(rig.first.data(), rig.host.data(), kBytes, Direction::to_device), "to device");
    check.expect(rig.stream->fill(rig.second.data(), 0x5A, kBytes), "fill");
    check.expect(rig.stream->move(pieces), "move");
    check.expect(rig.stream->copy(rig.back.data(), rig.second.data(), kBytes, Direction::to_host), "to host");
    check.expect(rig.flush(), "flush");
    check.expect(std::memcmp(rig.back.data(), expected.data(), kBytes) == 0,
                 "seed " + std::to_string(seed) + ": kernel and twin differ");
  }
}

void streams_wait_for_events(Check& check) {
  Rig rig(check);
  auto other = check.device()->make_stream();
  if (!rig.ready || !check.expect(other.status(), "second stream")) return;
  for (int i = 0; i < 50; ++i) {
    std::memset(rig.host.data(), i, kBytes);
    check.expect(rig.stream->copy(rig.first.data(), rig.host.data(), kBytes, Direction::to_device), "to device");
    check.expect(rig.stream->record(*rig.event), "record");
    check.expect((*other)->wait(*rig.event), "wait");
    check.expect((*other)->copy(rig.back.data(), rig.first.data(), kBytes, Direction::to_host), "to host");
    check.expect((*other)->record(*rig.event), "record");
    check.expect(rig.event->wait(), "host wait");
    check.expect(std::memcmp(rig.host.data(), rig.back.data(), kBytes) == 0, "a copy overtook the event");
  }
}

void impossible_memory_is_refused_and_forgotten(Check& check) {
  const auto refused = check.device()->allocate(MemoryKind::device, std::size_t{1} << 50);
  check.expect(refused.status().code() == StatusCode::resource_exhausted,
               "a petabyte gave: " + refused.status().message());
  copies_and_back(check);
}

void says_what_it_is(Check& check) {
  const auto& properties = check.device()->properties();
  check.expect(!properties.name.empty() && properties.memory_bytes > 0 && properties.compute_major >= 7 &&
                   properties.processors > 0,
               "properties are incomplete");
  const auto memory = check.device()->memory();
  check.expect(memory.ok() && memory->free_bytes > 0 && memory->free_bytes <= memory->total_bytes, "memory()");
  check.expect(check.device()->make_current(), "make_current");
}

// That another process can open it is shown by the load generator (bench/gpu/shared_memory.py).
void device_memory_is_exported(Check& check) {
  const auto block = check.device()->allocate(MemoryKind::device, 2u << 20);
  if (!check.expect(block.status(), "2 MiB of device memory")) return;
  const auto handle = check.device()->export_ipc(*block);
  check.expect(handle.status(), "export_ipc");
  check.expect(handle.ok() && *handle != device::IpcHandle{}, "the handle is empty");
  check.device()->release(MemoryKind::device, *block);
}

}  // namespace

std::vector<Named> device_checks() {
  return {{"the device says what it is", says_what_it_is},
          {"copies arrive and come back", copies_and_back},
          {"ordinary memory is copied and free again", ordinary_memory_is_copied_and_free_again},
          {"the kernel moves what its twin moves", kernel_equals_twin},
          {"streams wait for events", streams_wait_for_events},
          {"device memory is exported", device_memory_is_exported},
          {"impossible memory is refused and forgotten", impossible_memory_is_refused_and_forgotten}};
}

}  // namespace argosy::gpu
