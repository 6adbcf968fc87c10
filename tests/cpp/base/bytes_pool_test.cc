#include "base/bytes_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <thread>
#include <vector>

namespace argosy {
namespace {

TEST(HostPool, BuffersAreAlignedAndLargeEnough) {
  HostPool pool;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{1024}, std::size_t{1025},
                                 std::size_t{4} << 20, (std::size_t{4} << 20) + 1, (std::size_t{10} << 20) + 100,
                                 std::size_t{64} << 20, (std::size_t{64} << 20) + 1}) {
    Buffer buffer = pool.allocate(size);
    ASSERT_TRUE(buffer) << size;
    EXPECT_GE(buffer.capacity(), size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0u) << size;
    std::memset(buffer.data(), 1, buffer.capacity());
  }
}

TEST(HostPool, ASmallBufferIsUsedAgain) {
  HostPool pool;
  const std::byte* first = pool.allocate(2000).data();
  EXPECT_EQ(pool.kept_bytes(), 2048u);
  EXPECT_EQ(pool.allocate(1500).data(), first);
}

TEST(HostPool, ASliceKeepsItsBufferFromBeingUsedAgain) {
  HostPool pool;
  const Bytes slice = pool.allocate(1024).freeze(1024).slice(100, 1);
  EXPECT_EQ(pool.kept_bytes(), 0u);
  EXPECT_NE(pool.allocate(1024).data(), slice.data() - 100);
}

TEST(HostPool, ABufferOfMegabytesIsUsedAgainAndWastesNoHalfOfItself) {
  HostPool pool;
  const std::byte* first = pool.allocate((std::size_t{10} << 20) + 100).data();
  EXPECT_EQ(pool.kept_bytes(), std::size_t{12} << 20);
  EXPECT_EQ(pool.allocate(std::size_t{11} << 20).data(), first);
  EXPECT_NE(pool.allocate((std::size_t{12} << 20) + 1).data(), first);
}

// Law: a class is large enough, and at most a quarter too large above 4 MiB, a half below.
TEST(HostPool, EverySizeGetsItsClass) {
  HostPool pool(0);
  for (std::size_t power = 10; power < 26; ++power) {
    for (const std::size_t size :
         {(std::size_t{1} << power) - 1, std::size_t{1} << power, (std::size_t{1} << power) + 1,
          (std::size_t{5} << power) / 4, (std::size_t{5} << power) / 4 + 1, (std::size_t{7} << power) / 4}) {
      const std::size_t got = pool.allocate(size).capacity();
      EXPECT_GE(got, size);
      EXPECT_LE(got, std::max<std::size_t>(1024, size > std::size_t{4} << 20 ? size + size / 4 : 2 * size)) << size;
    }
  }
}

TEST(HostPool, AHugeBufferGoesBackToTheSystem) {
  HostPool pool;
  { const Buffer buffer = pool.allocate((std::size_t{64} << 20) + 1); }
  EXPECT_EQ(pool.kept_bytes(), 0u);
}

TEST(HostPool, KeepsNoMoreThanItsLimit) {
  HostPool pool(4096);
  {
    std::vector<Buffer> buffers;
    for (int i = 0; i < 10; ++i) buffers.push_back(pool.allocate(1024));
  }
  EXPECT_EQ(pool.kept_bytes(), 4096u);
}

TEST(HostPool, ImpossibleSizesAreRefusedNotWrapped) {
  HostPool pool;
  for (const std::size_t size :
       {std::numeric_limits<std::size_t>::max(), std::numeric_limits<std::size_t>::max() - 64, std::size_t{1} << 62}) {
    EXPECT_FALSE(pool.allocate(size)) << size;
  }
}

TEST(HostPool, BuffersMayOutliveThePool) {
  std::optional<HostPool> pool(std::in_place);
  Buffer buffer = pool->allocate(1024);
  pool.reset();
  std::memset(buffer.data(), 1, buffer.capacity());
}

TEST(HostPool, ThreadsShareItWithoutMixingBuffers) {
  HostPool pool;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < 2'000; ++i) {
        Buffer buffer = pool.allocate(1024);
        std::memset(buffer.data(), t, 1024);
        for (const std::byte b : buffer.span()) ASSERT_EQ(b, static_cast<std::byte>(t));
      }
    });
  }
}

}  // namespace
}  // namespace argosy
