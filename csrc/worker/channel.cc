#include "worker/channel.h"

#include <array>

namespace argosy::worker {
namespace {

constexpr std::uint32_t kMagic = 0x57475241;  // "ARGW"
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kMessages = 1u << 20, kBlocks = 1u << 16;

enum RingName : std::size_t { kWork, kResults, kCalls, kReturns, kReturnedByWorker, kReleasedByServer, kRings };
constexpr std::array<std::uint32_t, kRings> kCapacities{kMessages, kMessages, kMessages, kMessages, kBlocks, kBlocks};

constexpr std::size_t place_of(std::size_t ring) {
  std::size_t at = kPage + whole_pages(kSlots * sizeof(std::uint32_t));
  for (std::size_t i = 0; i < ring; ++i) at += whole_pages(kRingHead + kCapacities[i]);
  return at;
}

RingPlace ring(const SharedMemory& control, RingName name) {
  return {control.data() + place_of(name), kCapacities[name]};
}

constexpr char kSpilled = 'S';

}  // namespace

Result<std::shared_ptr<Channel>> Channel::create(const std::string& name, std::shared_ptr<Arena> inputs,
                                                 std::size_t output_bytes) {
  auto control = SharedMemory::create("argosy:" + name + ":control", place_of(kRings) + kSlots * sizeof(Windows::Slot));
  if (!control.ok()) return control.status();
  auto theirs = PeerArena::create("argosy:" + name + ":outputs", output_bytes);
  if (!theirs.ok()) return theirs.status();
  auto event = make_event();
  if (!event.ok()) return event.status();

  Writer head;
  head.number(kMagic).number(kVersion).number(kSlots).number(static_cast<std::uint32_t>(kRings));
  for (const std::uint32_t capacity : kCapacities) head.number(capacity);
  head.number(kSlots);
  std::memcpy(control->data(), head.bytes().data(), head.size());
  return std::shared_ptr<Channel>(new Channel(std::make_shared<SharedMemory>(*std::move(control)), std::move(inputs),
                                              *std::move(theirs), *std::move(event)));
}

Channel::Channel(std::shared_ptr<SharedMemory> control, std::shared_ptr<Arena> inputs, PeerArena theirs,
                 Descriptor event)
    : control_(std::move(control)),
      ours_(std::move(inputs)),
      theirs_(std::move(theirs)),
      event_(std::move(event)),
      work_(ring(*control_, kWork)),
      results_(ring(*control_, kResults)),
      calls_(ring(*control_, kCalls)),
      returns_(Returns{RingWriter(ring(*control_, kReturns)), {}}),
      returned_(ring(*control_, kReturnedByWorker)),
      released_(Released{RingWriter(ring(*control_, kReleasedByServer)), {}}) {}

std::vector<int> Channel::descriptors() const {
  return {control_->descriptor(), ours_.arena().descriptor(), theirs_.descriptor(), event_.get()};
}

std::span<std::atomic<std::uint32_t>> Channel::flags() const {
  return {reinterpret_cast<std::atomic<std::uint32_t>*>(control_->data() + kPage), kSlots};
}

std::span<Windows::Slot> Channel::windows() const {
  return {reinterpret_cast<Windows::Slot*>(control_->data() + place_of(kRings)), kSlots};
}

Exchange Channel::exchange() {
  // A tensor may outlive the worker; its end then only frees the memory.
  return {&ours_, &theirs_, [weak = weak_from_this()](std::uint64_t block) {
            if (const auto self = weak.lock()) self->released(block);
          }};
}

void Channel::take_back(const std::vector<std::uint64_t>& lent) {
  for (const std::uint64_t block : lent) (void)ours_.returned(block);
}

bool Channel::spill(Writer& message) {
  Buffer buffer = ours_.arena().allocate(message.size());
  if (!buffer) return false;
  std::memcpy(buffer.data(), message.bytes().data(), message.size());
  const std::uint64_t size = message.size();
  const auto place = ours_.lend(std::move(buffer).freeze(size));
  message.clear();
  message.raw({&kSpilled, 1}).align(8).number(place->block).number(size);
  return true;
}

Status Channel::send_work(Writer& message) {
  if (!collect_returned()) return internal_error("the worker returned memory that it was not given");
  if (message.size() > work_.longest() && !spill(message)) {
    return resource_exhausted("a batch of " + std::to_string(message.size()) +
                              " bytes does not fit in the worker's shared memory");
  }
  if (!work_.push(message.bytes())) return internal_error("the worker does not read its work");
  return {};
}

bool Channel::send_return(Writer& message) {
  if (message.size() > kMessages / 2 - 8 && !spill(message)) return false;
  bool waits = false;
  {
    auto returns = returns_.lock();
    waits = !returns->waiting.empty() || !returns->ring.push(message.bytes());
    if (waits) {
      const auto bytes = message.bytes();
      returns->waiting.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
  }
  if (waits) signal_event(event_);  // the keeper tries again
  return true;
}

bool Channel::flush_returns() {
  auto returns = returns_.lock();
  while (!returns->waiting.empty()) {
    if (!returns->ring.push(std::as_bytes(std::span(returns->waiting.front())))) return false;
    returns->waiting.pop_front();
  }
  return true;
}

Result<Bytes> Channel::open(std::string record) {
  if (record.empty() || record[0] != kSpilled) return Bytes::take(std::move(record));
  Reader reader(record);
  reader.raw(8);
  const auto block = reader.number<std::uint64_t>();
  const auto size = reader.number<std::uint64_t>();
  auto bytes = theirs_.view(block, block, size, exchange().released);
  if (reader.failed() || !bytes) return internal_error("the worker named memory that is not there");
  return *std::move(bytes);
}

bool Channel::collect_returned() {
  auto ring = returned_.lock();
  std::string record;
  for (;;) {
    const auto found = ring->pop(record);
    if (found == RingReader::Found::nothing) return true;
    if (found == RingReader::Found::corrupt || record.size() % 8 != 0) return false;
    Reader reader(record);
    for (std::size_t i = 0; i < record.size() / 8; ++i) {
      if (!ours_.returned(reader.number<std::uint64_t>())) return false;
    }
  }
}

void Channel::released(std::uint64_t block) {
  auto held = released_.lock();
  held->waiting.push_back(block);
  constexpr std::size_t kAtOnce = 1024;
  while (!held->waiting.empty()) {
    const std::size_t count = std::min(held->waiting.size(), kAtOnce);
    if (!held->ring.push(std::as_bytes(std::span(held->waiting).first(count)))) return;
    held->waiting.erase(held->waiting.begin(), held->waiting.begin() + static_cast<std::ptrdiff_t>(count));
  }
}

}  // namespace argosy::worker
