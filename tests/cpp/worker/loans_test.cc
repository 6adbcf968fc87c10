#include "worker/loans.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "worker/channel.h"
#include "worker/sizes.h"

namespace argosy::worker {
namespace {

std::shared_ptr<Arena> lent_arena(std::size_t capacity = 8 * kMega) {
  return *Arena::create("loans test", capacity, kMega);
}

Bytes block_of(Arena& arena, std::size_t size = kMega) { return arena.allocate(size).freeze(size); }

TEST(Loans, ABlockStaysUntilEachLoanOfItIsReturned) {
  auto made = lent_arena();
  Loans loans(made);
  Bytes message = block_of(*made);
  const auto first = loans.lend(message.slice(64, 1000));
  const auto second = loans.lend(message.slice(2000, 1000));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->block, second->block);
  message = {};
  EXPECT_TRUE(loans.returned(first->block));
  EXPECT_EQ(made->used(), kMega);
  EXPECT_TRUE(loans.returned(first->block));
  EXPECT_EQ(made->used(), 0u);
  EXPECT_FALSE(loans.returned(first->block));
}

TEST(Loans, AWorkersWordAboutTheBlocksOfAnotherIsRefused) {
  auto made = lent_arena();
  Loans one(made), other(made);
  const Bytes mine = block_of(*made);
  const auto place = one.lend(mine);
  ASSERT_TRUE(place);
  EXPECT_FALSE(other.returned(place->block));
  EXPECT_FALSE(other.borrow(place->offset, 10));
  EXPECT_TRUE(one.borrow(place->offset, 10));
  EXPECT_FALSE(one.returned(place->block + 4096));
  EXPECT_TRUE(one.returned(place->block));
}

TEST(Loans, NothingIsLentToTwoWorkersAtOnce) {
  auto made = lent_arena();
  Loans one(made), other(made);
  const Bytes tensor = block_of(*made);
  ASSERT_TRUE(one.lend(tensor));
  EXPECT_FALSE(other.lend(tensor));
  EXPECT_FALSE(one.lend(tensor));
}

TEST(Loans, BorrowsNoMoreThanWasLent) {
  auto made = lent_arena();
  Loans loans(made);
  const Bytes message = block_of(*made);
  const auto place = loans.lend(message.slice(100, 1000));
  ASSERT_TRUE(place);
  EXPECT_TRUE(loans.borrow(place->offset, 1000));
  EXPECT_TRUE(loans.borrow(place->offset + 8, 992));
  EXPECT_FALSE(loans.borrow(place->offset + 8, 993));
  EXPECT_FALSE(loans.borrow(place->offset - 1, 10));
  EXPECT_FALSE(loans.borrow(place->offset + 1001, 0));
  EXPECT_FALSE(loans.borrow(made->capacity() + 1, 1));
  EXPECT_FALSE(loans.borrow(place->offset, ~std::size_t{0}));
}

TEST(Loans, BorrowedBytesKeepTheBlock) {
  auto made = lent_arena();
  Loans loans(made);
  const auto place = loans.lend(block_of(*made));
  auto borrowed = loans.borrow(place->offset, 5000);
  ASSERT_TRUE(borrowed);
  ASSERT_TRUE(loans.returned(place->block));
  EXPECT_EQ(made->used(), kMega);
  borrowed.reset();
  EXPECT_EQ(made->used(), 0u);
}

TEST(Loans, AnEndedWorkerHoldsNothing) {
  auto made = lent_arena();
  Loans ended(made), living(made);
  ASSERT_TRUE(ended.lend(block_of(*made)));
  ASSERT_TRUE(ended.lend(block_of(*made)));
  ASSERT_TRUE(living.lend(block_of(*made)));
  ended.end();
  EXPECT_EQ(made->used(), kMega);
  // A batch that was just being written for it.
  ASSERT_TRUE(ended.lend(block_of(*made)));
  EXPECT_EQ(made->used(), kMega);
  living.end();
  EXPECT_EQ(made->used(), 0u);
}

TEST(Loans, WhatAWorkerPassedOnOutlivesIt) {
  auto made = lent_arena();
  Bytes passed_on;
  {
    Loans loans(made);
    Buffer buffer = made->allocate(kMega);
    std::memset(buffer.data(), 5, kMega);
    const auto place = loans.lend(std::move(buffer).freeze(kMega));
    passed_on = *loans.borrow(place->offset, kMega);
    loans.end();
  }
  EXPECT_EQ(passed_on.data()[kMega - 1], std::byte{5});
  // Another worker may have it, but as a copy: the first could have written to it.
  Loans other(made);
  EXPECT_FALSE(other.lend(passed_on));
}

// Law: many threads' loans leave the arena as they found it.
TEST(Loans, KeepBookOverManyThreads) {
  auto made = lent_arena(64 * kMega);
  std::vector<std::thread> threads;
  for (std::uint32_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&made, seed] {
      std::mt19937 random(seed);
      Loans loans(made);
      std::vector<std::uint64_t> held;
      for (int i = 0; i < 2000; ++i) {
        if (random() % 2 == 0 || held.empty()) {
          Buffer buffer = made->allocate(1 + random() % 100'000, made->capacity() / 2);
          if (!buffer) continue;
          const std::size_t size = buffer.capacity();
          const auto place = loans.lend(std::move(buffer).freeze(size));
          ASSERT_TRUE(place);
          held.push_back(place->block);
        } else {
          std::swap(held[random() % held.size()], held.back());
          ASSERT_TRUE(loans.returned(held.back()));
          held.pop_back();
        }
      }
      loans.end();
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(made->used(), 0u);
}

TEST(Channel, TwoWorkersSeeOneArenaAndHoldTheirOwn) {
  auto made = lent_arena();
  auto first = *Channel::create("first", made, kMega);
  auto second = *Channel::create("second", made, kMega);
  EXPECT_EQ(first->descriptors()[1], second->descriptors()[1]);
  EXPECT_NE(first->descriptors()[2], second->descriptors()[2]);
  const auto lent = first->exchange().ours->lend(block_of(*made));
  const auto kept = second->exchange().ours->lend(block_of(*made));
  ASSERT_TRUE(lent && kept);
  first->end();
  EXPECT_EQ(made->used(), kMega);
  EXPECT_TRUE(second->exchange().ours->borrow(kept->offset, kMega));
  // A worker that comes after the first.
  auto third = *Channel::create("third", made, kMega);
  EXPECT_EQ(third->descriptors()[1], second->descriptors()[1]);
  EXPECT_TRUE(third->exchange().ours->lend(block_of(*made)));
  third.reset();
  EXPECT_EQ(made->used(), kMega);
  second->take_back({kept->block});
  EXPECT_EQ(made->used(), 0u);
}

}  // namespace
}  // namespace argosy::worker
