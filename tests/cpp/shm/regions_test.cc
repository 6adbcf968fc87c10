#include "shm/regions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>
#include <thread>

#include "device/simulated/simulated_device.h"
#include "shm/shared_object.h"

namespace argosy::shm {
namespace {

using device::SimulatedDevice;
using ::testing::HasSubstr;

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
const std::size_t kPage = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

std::string text(const Status& status) { return std::string(to_string(status.code())) + ": " + status.message(); }

TEST(Regions, ShowWhatTheClientWroteAndTheOtherWayRound) {
  SharedObject object(2 * kPage);
  Regions regions;
  ASSERT_TRUE(regions.register_system("r", object.key(), kPage, kPage).ok());
  std::memcpy(object.data() + kPage + 8, "hello", 5);
  auto slice = regions.slice("r", 8, 5);
  ASSERT_TRUE(slice.ok()) << slice.status().message();
  EXPECT_EQ(slice->memory().bytes().view(), "hello");
  std::memcpy(slice->data, "world", 5);
  EXPECT_EQ(std::memcmp(object.data() + kPage + 8, "world", 5), 0);
}

TEST(Regions, TellWhatIsRegisteredByKindAndName) {
  SharedObject object(kPage);
  Regions regions;
  ASSERT_TRUE(regions.register_system("b", object.key(), 0, 16).ok());
  ASSERT_TRUE(regions.register_system("a", object.key(), 0, kPage).ok());
  const RegionStatus a{"a", Kind::system, object.key(), 0, 0, kPage}, b{"b", Kind::system, object.key(), 0, 0, 16};
  EXPECT_EQ(regions.list(Kind::system), (std::vector<RegionStatus>{a, b}));
  EXPECT_TRUE(regions.list(Kind::cuda).empty());
  EXPECT_EQ(*regions.status(Kind::system, "b"), b);
  EXPECT_EQ(text(regions.status(Kind::system, "c").status()),
            "not_found: Unable to find system shared memory region: 'c'");
  EXPECT_EQ(text(regions.status(Kind::cuda, "c").status()), "not_found: Unable to find cuda shared memory region: 'c'");
  EXPECT_EQ(text(regions.status(Kind::cuda, "b").status()),
            "not_found: The region named 'b' is registered as system shared memory, not CUDA shared memory");
}

TEST(Regions, RefuseWhatTheyCannotMap) {
  SharedObject object(2 * kPage);
  Regions regions;
  const auto registered = [&](const std::string& key, std::uint64_t offset, std::uint64_t size) {
    return text(regions.register_system("r", key, offset, size));
  };
  const std::string invalid = "invalid_argument: failed to register shared memory region 'r': ";
  EXPECT_EQ(registered("/argosy-no-such", 0, 1), "internal: Unable to open shared memory region: '/argosy-no-such'");
  EXPECT_EQ(registered("a/b", 0, 1), "internal: Unable to open shared memory region: 'a/b'");
  EXPECT_EQ(registered(object.key(), 0, 2 * kPage + 1), invalid + "invalid args");
  EXPECT_EQ(registered(object.key(), kPage, kPage + 1), invalid + "invalid args");
  EXPECT_EQ(registered(object.key(), kMost, 1), invalid + "invalid args");
  EXPECT_EQ(registered(object.key(), 1, kMost), invalid + "invalid args");
  EXPECT_EQ(registered(object.key(), kMost, kMost), invalid + "invalid args");
  EXPECT_THAT(registered(object.key(), 1, 16), HasSubstr(invalid + "unable to process address space"));
  EXPECT_THAT(registered(object.key(), 0, 0), HasSubstr(invalid + "unable to process address space"));
  EXPECT_EQ(registered("///triton_python_backend_shm_region_7", 0, 1),
            "invalid_argument: cannot register shared memory region 'r' with key "
            "'///triton_python_backend_shm_region_7' as the key contains the reserved prefix "
            "'triton_python_backend_shm_region_'");
  EXPECT_EQ(registered("//", 0, 1),
            "invalid_argument: cannot register shared memory region 'r' - invalid shm key '//'");
  EXPECT_EQ(text(regions.register_system("", object.key(), 0, 1)),
            "invalid_argument: 'region name' is necessary to register system shared memory region");
  EXPECT_TRUE(regions.list(Kind::system).empty());
}

TEST(Regions, RefuseWhatLiesOutsideOfThem) {
  SharedObject object(kPage);
  Regions regions;
  ASSERT_TRUE(regions.register_system("r", object.key(), 0, 100).ok());
  const std::string offset = "invalid_argument: Invalid offset for shared memory region: 'r'";
  const std::string size = "invalid_argument: Invalid offset + byte size for shared memory region: 'r'";
  EXPECT_EQ(text(regions.slice("x", 0, 1).status()), "not_found: Unable to find shared memory region: 'x'");
  EXPECT_EQ(text(regions.slice("r", 100, 0).status()), offset);
  EXPECT_EQ(text(regions.slice("r", kMost, 1).status()), offset);
  EXPECT_EQ(text(regions.slice("r", 1, 100).status()), size);
  EXPECT_EQ(text(regions.slice("r", 1, kMost).status()), size);
  EXPECT_EQ(text(regions.slice("r", 99, kMost - 98).status()), size);
  EXPECT_TRUE(regions.slice("r", 99, 1).ok());
  EXPECT_TRUE(regions.slice("r", 0, 100).ok());
}

TEST(Regions, TakeANameOnce) {
  SharedObject object(kPage);
  Regions regions;
  ASSERT_TRUE(regions.register_system("r", object.key(), 0, 8).ok());
  EXPECT_EQ(text(regions.register_system("r", object.key(), 0, 8)),
            "already_exists: shared memory region 'r' already in manager");
  regions.unregister(Kind::cuda, "r");
  EXPECT_TRUE(regions.slice("r", 0, 8).ok());
  regions.unregister(Kind::system, "r");
  regions.unregister(Kind::system, "r");
  EXPECT_FALSE(regions.slice("r", 0, 8).ok());
  EXPECT_TRUE(regions.register_system("r", object.key(), 0, 8).ok());
}

TEST(Regions, StayUntilTheLastUserIsGone) {
  SharedObject object(kPage);
  Regions regions;
  ASSERT_TRUE(regions.register_system("r", object.key(), 0, 8).ok());
  auto slice = regions.slice("r", 0, 8);
  ASSERT_TRUE(slice.ok());
  device::Memory memory = slice->memory();
  slice->region.reset();
  regions.unregister_all(Kind::system);
  std::memcpy(object.data(), "in use", 6);
  EXPECT_EQ(memory.bytes().view().substr(0, 6), "in use");
  EXPECT_EQ(regions.list(Kind::system).size(), 1u);
  memory = {};
  EXPECT_TRUE(regions.list(Kind::system).empty());
}

TEST(Regions, GiveTheNameOfAnUnregisteredOneToAnotherWhileItIsInUse) {
  SharedObject first(kPage), second(2 * kPage);
  Regions regions({}, 1);
  ASSERT_TRUE(regions.register_system("r", first.key(), 0, 8).ok());
  const auto slice = regions.slice("r", 0, 8);
  ASSERT_TRUE(slice.ok());
  regions.unregister(Kind::system, "r");
  ASSERT_TRUE(regions.register_system("r", second.key(), 0, 2 * kPage).ok());
  std::memcpy(first.data(), "in use", 6);
  EXPECT_EQ(std::memcmp(slice->data, "in use", 6), 0);
  ASSERT_EQ(regions.list(Kind::system).size(), 1u);
  EXPECT_EQ(regions.list(Kind::system)[0].byte_size, 2 * kPage);
}

TEST(Regions, OutliveTheirTable) {
  SharedObject object(kPage);
  auto regions = std::make_unique<Regions>();
  ASSERT_TRUE(regions->register_system("r", object.key(), 0, 8).ok());
  const auto slice = *regions->slice("r", 0, 8);
  regions.reset();
  std::memcpy(slice.data, "still", 5);
  EXPECT_EQ(std::memcmp(object.data(), "still", 5), 0);
}

TEST(Regions, AreNoMoreThanTheyMayBe) {
  SharedObject object(kPage);
  Regions regions({}, 2);
  ASSERT_TRUE(regions.register_system("a", object.key(), 0, 8).ok());
  ASSERT_TRUE(regions.register_system("b", object.key(), 0, 8).ok());
  EXPECT_EQ(regions.register_system("c", object.key(), 0, 8).code(), StatusCode::resource_exhausted);
  regions.unregister(Kind::system, "a");
  EXPECT_TRUE(regions.register_system("c", object.key(), 0, 8).ok());
}

TEST(Regions, RefuseAnObjectThatHasShrunk) {
  SharedObject object(4 * kPage);
  Regions regions;
  ASSERT_TRUE(regions.register_system("r", object.key(), kPage, 3 * kPage).ok());
  object.truncate(2 * kPage);
  EXPECT_TRUE(regions.slice("r", 0, kPage).ok());
  const auto slice = regions.slice("r", kPage, 1);
  EXPECT_EQ(slice.status().code(), StatusCode::invalid_argument);
  EXPECT_THAT(slice.status().message(), HasSubstr("has " + std::to_string(2 * kPage) + " bytes now"));
}

// A client takes its memory away while the server reads and writes it.
TEST(Regions, GiveZerosAndAWordAboutItWhenPagesAreLostInUse) {
  SharedObject object(8 * kPage);
  std::memset(object.data(), 7, object.size());
  Regions regions;
  ASSERT_TRUE(regions.register_system("r", object.key(), 0, 8 * kPage).ok());
  const auto slice = *regions.slice("r", 0, 8 * kPage);
  EXPECT_TRUE(slice.region->untorn().ok());
  object.truncate(2 * kPage);

  std::size_t sum = 0;
  for (std::size_t i = 0; i < slice.size; ++i) sum += std::to_integer<std::size_t>(slice.data[i]);
  EXPECT_EQ(sum, 7 * 2 * kPage);
  std::memset(slice.data + 6 * kPage, 1, 2 * kPage);
  EXPECT_THAT(slice.region->untorn().message(), HasSubstr("lost pages while it was in use"));

  object.truncate(8 * kPage);  // too late
  EXPECT_THAT(regions.slice("r", 0, 1).status().message(), HasSubstr("lost pages while it was in use"));
  SharedObject other(kPage);
  ASSERT_TRUE(regions.register_system("other", other.key(), 0, kPage).ok());
  EXPECT_TRUE(regions.slice("other", 0, 1).ok());
}

[[noreturn]] void touch_memory_that_is_not_watched() {
  SharedObject watched(kPage), stranger(kPage);
  Regions regions;
  if (!regions.register_system("r", watched.key(), 0, kPage).ok()) ::_exit(0);
  ::shm_unlink(stranger.key().c_str());
  ::shm_unlink(watched.key().c_str());
  stranger.truncate(0);
  static_cast<volatile std::byte*>(stranger.data())[0] = std::byte{1};
  ::_exit(0);
}

// A sanitizer's handler, which was there first, ends the process its own way.
bool was_killed(int status) { return !WIFEXITED(status) || WEXITSTATUS(status) != 0; }

TEST(RegionsDeathTest, LeaveOtherBusErrorsAlone) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(touch_memory_that_is_not_watched(), was_killed, "");
}

// Nothing that a user holds is ever unmapped, whatever else happens at the time.
TEST(Regions, CanBeRegisteredUsedAndUnregisteredAtOnce) {
  constexpr int kRounds = 400;
  SharedObject object(2 * kPage);
  std::memset(object.data(), 3, object.size());
  Regions regions;
  std::vector<std::jthread> threads;
  std::atomic<int> used{0};
  for (unsigned seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < kRounds; ++i) {
        const std::string name = random() % 2 == 0 ? "a" : "b";
        switch (random() % 4) {
          case 0: (void)regions.register_system(name, object.key(), 0, 2 * kPage); break;
          case 1: regions.unregister(Kind::system, name); break;
          case 2: (void)regions.list(Kind::system); break;
          default: {
            const auto slice = regions.slice(name, random() % kPage, kPage);
            if (!slice.ok()) break;
            std::vector<std::byte> copy(slice->size);
            std::memcpy(copy.data(), slice->data, slice->size);
            EXPECT_EQ(copy.back(), std::byte{3});
            ++used;
          }
        }
      }
    });
  }
  threads.clear();
  EXPECT_GT(used.load(), 0);
  regions.unregister_all(Kind::system);
  EXPECT_TRUE(regions.list(Kind::system).empty());
}

struct Gpus {
  Gpus() : client(SimulatedDevice::make()), server(SimulatedDevice::make({.ordinal = 1})) {
    block = *client->allocate(device::MemoryKind::device, 64);
    handle = *client->export_ipc(block);
  }
  std::shared_ptr<SimulatedDevice> client, server;
  std::byte* block;
  device::IpcHandle handle;
};

TEST(Regions, OpenMemoryOfOthersOnAGpu) {
  Gpus gpus;
  {
    Regions regions({gpus.server});
    ASSERT_TRUE(regions.register_cuda("r", gpus.handle, 1, 64).ok());
    EXPECT_EQ(regions.list(Kind::cuda), (std::vector<RegionStatus>{{"r", Kind::cuda, "", 0, 1, 64}}));
    EXPECT_EQ(text(regions.status(Kind::system, "r").status()),
              "not_found: The region named 'r' is registered as CUDA shared memory, not system shared memory");
    const auto slice = *regions.slice("r", 16, 48);
    EXPECT_EQ(slice.memory().place(), (device::Place{device::MemoryKind::device, 1}));
    EXPECT_EQ(slice.data, gpus.block + 16);
    regions.unregister(Kind::cuda, "r");
    EXPECT_TRUE(regions.slice("r", 0, 1).ok());  // still in use
  }
  EXPECT_TRUE(gpus.server->violations().empty());
  EXPECT_TRUE(gpus.server->open_ipc(gpus.handle).ok());
}

TEST(Regions, RefuseOnAGpuWhatTheyCannotOpen) {
  Gpus gpus;
  Regions regions({gpus.server}), none;
  const std::string invalid = "invalid_argument: failed to register CUDA shared memory region: 'r', ";
  EXPECT_EQ(text(none.register_cuda("r", gpus.handle, 0, 1)), invalid + "GPUs not supported");
  EXPECT_EQ(text(regions.register_cuda("r", gpus.handle, 0, 1)), invalid + "there is no GPU 0 that this server uses");
  EXPECT_EQ(text(regions.register_cuda("r", std::span(gpus.handle).first(63), 1, 1)),
            "invalid_argument: 'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t");
  EXPECT_EQ(text(regions.register_cuda("r", gpus.handle, 1, 65)),
            "invalid_argument: failed to register shared memory region 'r': invalid args");
  EXPECT_EQ(text(regions.register_cuda("r", gpus.handle, 1, 0)),
            "invalid_argument: failed to register shared memory region 'r': invalid args");
  EXPECT_THAT(text(regions.register_cuda("r", device::IpcHandle{}, 1, 8)),
              HasSubstr("failed to register shared memory region 'r': device 'simulated': no handle"));
  ASSERT_TRUE(regions.register_cuda("r", gpus.handle, 1, 64).ok());
  EXPECT_EQ(text(regions.register_cuda("r", gpus.handle, 1, 64)),
            "already_exists: shared memory region 'r' already in manager");
  EXPECT_TRUE(gpus.server->violations().empty());
}

}  // namespace
}  // namespace argosy::shm
