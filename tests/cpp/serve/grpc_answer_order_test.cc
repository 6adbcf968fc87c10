#include "serve/grpc_answer_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace argosy::serve {
namespace {

StreamAnswer answer(std::string text) {
  StreamAnswer made;
  made.message.add(Bytes::take(std::move(text)));
  return made;
}

std::vector<std::string> texts(const std::vector<StreamAnswer>& answers) {
  std::vector<std::string> all;
  for (const auto& one : answers) all.push_back(one.message.joined());
  return all;
}

TEST(AnswerOrder, AnEarlyAnswerWaitsForThoseBeforeIt) {
  AnswerOrder order;
  const auto first = order.admit(true), second = order.admit(true), third = order.admit(true);
  std::vector<StreamAnswer> out;
  order.put(third, answer("3"), true, out);
  order.put(second, answer("2"), true, out);
  EXPECT_TRUE(out.empty());
  order.put(first, answer("1"), true, out);
  EXPECT_EQ(texts(out), (std::vector<std::string>{"1", "2", "3"}));
  EXPECT_EQ(order.open(), 0u);
}

TEST(AnswerOrder, UnorderedAnswersPassAtOnce) {
  AnswerOrder order;
  const auto ordered = order.admit(true), free = order.admit(false), later = order.admit(true);
  std::vector<StreamAnswer> out;
  order.put(later, answer("later"), true, out);
  order.put(free, answer("a"), false, out);
  order.put(free, answer("b"), true, out);
  EXPECT_EQ(texts(out), (std::vector<std::string>{"a", "b"}));
  order.put(ordered, answer("first"), true, out);
  EXPECT_EQ(texts(out), (std::vector<std::string>{"a", "b", "first", "later"}));
}

// Nothing is lost or repeated; ordered requests leave in the order of their tickets and
// each request's own answers in the order in which they came.
TEST(AnswerOrderProperty, NothingIsLostOrOvertakes) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    AnswerOrder order;
    struct Open {
      AnswerOrder::Ticket ticket;
      bool ordered;
      unsigned left;
      unsigned given = 0;
    };
    std::vector<Open> open;
    std::vector<std::string> expected_all;
    std::vector<StreamAnswer> out;
    for (int step = 0; step < 300 || !open.empty(); ++step) {
      if (step < 300 && random() % 2 == 0) {
        const bool ordered = random() % 3 != 0;
        open.push_back({order.admit(ordered), ordered, 1 + static_cast<unsigned>(random() % 3)});
      } else if (!open.empty()) {
        Open& one = open[random() % open.size()];
        std::string text = std::to_string(one.ticket) + (one.ordered ? "o" : "u") + std::to_string(one.given++);
        expected_all.push_back(text);
        const bool last = --one.left == 0;
        order.put(one.ticket, answer(std::move(text)), last, out);
        if (last) std::erase_if(open, [&](const Open& o) { return o.left == 0; });
      }
    }
    auto left = texts(out);
    long before = -1;
    std::map<std::string, int> given;
    for (const std::string& text : left) {
      const auto letter = text.find_first_of("ou");
      const long ticket = std::stol(text.substr(0, letter));
      EXPECT_EQ(std::stoi(text.substr(letter + 1)), given[text.substr(0, letter)]++);
      if (text[letter] == 'u') continue;
      EXPECT_GE(ticket, before);
      before = ticket;
    }
    EXPECT_EQ(order.open(), 0u);
    std::sort(left.begin(), left.end());
    std::sort(expected_all.begin(), expected_all.end());
    EXPECT_EQ(left, expected_all);
  }
}

}  // namespace
}  // namespace argosy::serve
