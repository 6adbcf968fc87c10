#include "engine/execution.h"

#include <gtest/gtest.h>

#include <cstring>
#include <stdexcept>

#include "engine/engine_fixture.h"

namespace argosy::engine {
namespace {

// Doubles; refuses batches that hold the value `bad` by returning or throwing.
class Fussy final : public backend::Instance {
 public:
  Fussy(std::int32_t bad, Status refusal) : bad_(bad), refusal_(std::move(refusal)) {}

  Status execute(backend::Batch& batch) override {
    ran.push_back(batch.rows);
    std::vector<std::int32_t> values(batch.rows);
    std::memcpy(values.data(), batch.inputs[0].data.data(), batch.rows * 4);
    for (std::int32_t& value : values) {
      if (value == bad_ && refusal_.ok()) throw std::runtime_error("index out of range");
      if (value == bad_) return refusal_;
      value *= 2;
    }
    const std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * 4);
    batch.outputs.push_back({"OUTPUT0", tensor::DType::int32, {batch.rows, 1}, device::Memory(Bytes::copy_of(bytes))});
    return {};
  }

  std::vector<std::uint32_t> ran;

 private:
  const std::int32_t bad_;
  const Status refusal_;
};

backend::Batch batch_of(std::initializer_list<std::int32_t> numbers) {
  const auto answers = std::make_shared<Answers>();
  backend::Batch batch;
  for (const std::int32_t number : numbers) {
    batch.requests.push_back(request(number, answers));
    batch.requests.back()->rows = 1;
  }
  return batch;
}

using Rows = std::vector<std::uint32_t>;

TEST(Execution, ARequestThatCannotRunFailsAlone) {
  Fussy instance(3, invalid_argument("input 'INPUT0': 3"));
  backend::Batch batch = batch_of({0, 1, 2, 3, 4, 5, 6, 7});
  execute(spec(), instance, default_pool(), SteadyClock(), batch);
  ASSERT_EQ(batch.answers.size(), 8);
  ASSERT_EQ(batch.requests.size(), 8);
  EXPECT_EQ(batch.rows, 8);
  for (std::int32_t i = 0; i < 8; ++i) {
    ASSERT_TRUE(batch.requests[i]);
    EXPECT_EQ(batch.requests[i]->id, std::to_string(i));
    EXPECT_EQ(batch.answers[i].status.ok(), i != 3) << i;
    if (i == 3) continue;
    EXPECT_EQ(value_of(batch.answers[i]), 2 * i);
  }
  EXPECT_EQ(batch.answers[3].status.message(), "input 'INPUT0': 3");
  EXPECT_EQ(instance.ran, (Rows{8, 4, 2, 2, 1, 1, 4}));
}

TEST(Execution, WhatIsThrownIsOneRequestsToo) {
  Fussy instance(7, {});
  backend::Batch batch = batch_of({6, 7, 8});
  execute(spec(), instance, default_pool(), SteadyClock(), batch);
  EXPECT_EQ(value_of(batch.answers[0]), 12);
  EXPECT_EQ(batch.answers[1].status.code(), StatusCode::internal);
  EXPECT_EQ(value_of(batch.answers[2]), 16);
}

TEST(Execution, WhatNoRequestIsToBlameForIsNotTriedAgain) {
  for (const Status& refusal : {resource_exhausted("no memory"), unavailable("going away")}) {
    Fussy instance(1, refusal);
    backend::Batch batch = batch_of({0, 1, 2});
    execute(spec(), instance, default_pool(), SteadyClock(), batch);
    EXPECT_EQ(instance.ran, (Rows{3}));
    for (const auto& answer : batch.answers) EXPECT_EQ(answer.status.code(), refusal.code());
  }
}

}  // namespace
}  // namespace argosy::engine
