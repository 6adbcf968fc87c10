// Inferences whose tensors lie in memory of the client, on the host and on a simulated GPU.

#include "serve/region_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "device/simulated/simulated_device.h"
#include "serve/http_fixture.h"
#include "shm/shared_object.h"

namespace argosy::serve {
namespace {

using device::SimulatedDevice;
using ::testing::HasSubstr;

class RegionCall : public HttpServer {
 protected:
  RegionCall() {
    block_ = *client_gpu_->allocate(device::MemoryKind::device, 4096);
    EXPECT_TRUE(regions_.register_system("host", object_.key(), 0, 4096).ok());
    EXPECT_TRUE(regions_.register_cuda("gpu", *client_gpu_->export_ipc(block_), 3, 4096).ok());
  }
  ~RegionCall() override {
    door_->open();
    if (front_) front_->stop();
    engine_->stop(clock_.now());
    EXPECT_TRUE(server_gpu_->violations().empty());
  }
  void start_sharing() {
    front_ = std::make_unique<Front>(options_, *engine_, control_, *metrics_, clock_, default_pool(), &regions_);
    ASSERT_TRUE(front_->start().ok());
    front_->set_state(true, true);
  }
  static std::string place(const std::string& region, std::size_t offset, std::size_t size) {
    return R"("parameters":{"shared_memory_region":")" + region + R"(","shared_memory_offset":)" +
           std::to_string(offset) + R"(,"shared_memory_byte_size":)" + std::to_string(size) + "}";
  }
  // One row of two numbers, from `in` to `out`.
  std::string infer(const std::string& in, const std::string& out, const std::string& model = "m") {
    const std::string body = R"({"inputs":[{"name":"IN","datatype":"INT32","shape":[1,2],)" + in +
                             R"(}],"outputs":[{"name":"OUT")" + (out.empty() ? "" : "," + out) + "}]}";
    return connect().ask(post("/v2/models/" + model + "/infer", body));
  }
  static void put(std::byte* to, std::int32_t first, std::int32_t second) {
    const std::int32_t numbers[2] = {first, second};
    std::memcpy(to, numbers, sizeof numbers);
  }
  static std::vector<std::int32_t> numbers(const std::byte* from) {
    std::vector<std::int32_t> out(2);
    std::memcpy(out.data(), from, 8);
    return out;
  }

  static constexpr const char* kNoData =
      R"({"model_name":"m","model_version":"1","outputs":[{"name":"OUT","datatype":"INT32","shape":[1,2]}]})";
  using Numbers = std::vector<std::int32_t>;

  shm::SharedObject object_{4096};
  std::shared_ptr<SimulatedDevice> client_gpu_ = SimulatedDevice::make();
  std::shared_ptr<SimulatedDevice> server_gpu_ = SimulatedDevice::make({.ordinal = 3});
  std::byte* block_ = nullptr;
  shm::Regions regions_{{server_gpu_}};
};

TEST_F(RegionCall, GoesFromTheClientsMemoryToTheClientsMemory) {
  start_sharing();
  put(object_.data(), 7, -8);
  const std::string answer = infer(place("host", 0, 8), place("host", 64, 100));
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_EQ(body_of(answer), kNoData);
  EXPECT_EQ(numbers(object_.data() + 64), (Numbers{7, -8}));
}

TEST_F(RegionCall, MixesRegionsAndData) {
  start_sharing();
  put(object_.data(), 1, 2);
  EXPECT_THAT(body_of(infer(place("host", 0, 8), "")), HasSubstr(R"("data":[1,2])"));
  EXPECT_EQ(body_of(infer(R"("data":[3,4])", place("host", 8, 8))), kNoData);
  EXPECT_EQ(numbers(object_.data() + 8), (Numbers{3, 4}));
}

TEST_F(RegionCall, SaysWhatAnOutputNeeds) {
  start_sharing();
  const std::string answer = infer(R"("data":[3,4])", place("host", 0, 7));
  EXPECT_EQ(status_of(answer), 500);
  EXPECT_EQ(
      body_of(answer),
      R"({"error":"shared memory size specified with the request for output 'OUT' (7 bytes) should be at least 8 )"
      R"(bytes to hold the results"})");
}

TEST_F(RegionCall, RefusesAnInputOfAnotherSize) {
  start_sharing();
  const std::string answer = infer(place("host", 0, 12), "");
  EXPECT_EQ(status_of(answer), 400);
  EXPECT_THAT(body_of(answer), HasSubstr("Expected 8, got 12"));
}

TEST_F(RegionCall, GoesFromAGpuToAGpuThroughAModelOnTheHost) {
  start_sharing();
  put(block_ + 16, 10, 20);
  EXPECT_EQ(body_of(infer(place("gpu", 16, 8), place("gpu", 256, 8))), kNoData);
  EXPECT_EQ(numbers(block_ + 256), (Numbers{10, 20}));
  EXPECT_THAT(body_of(infer(place("gpu", 16, 8), "")), HasSubstr(R"("data":[10,20])"));
  EXPECT_EQ(body_of(infer(R"("data":[5,6])", place("gpu", 0, 8))), kNoData);
  EXPECT_EQ(numbers(block_), (Numbers{5, 6}));
  EXPECT_EQ(body_of(infer(place("gpu", 0, 8), place("host", 0, 8))), kNoData);
  EXPECT_EQ(numbers(object_.data()), (Numbers{5, 6}));
}

TEST_F(RegionCall, TellsOfAGpuInTrouble) {
  start_sharing();
  server_gpu_->set_fail_one_in(1);
  const std::string in = infer(place("gpu", 0, 8), ""), out = infer(R"("data":[1,2])", place("gpu", 0, 8));
  server_gpu_->set_fail_one_in(0);
  EXPECT_EQ(status_of(in), 500);
  EXPECT_THAT(body_of(in), HasSubstr("input 'IN': device 'simulated'"));
  EXPECT_EQ(status_of(out), 500);
  EXPECT_THAT(body_of(out), HasSubstr("output 'OUT': device 'simulated'"));
}

TEST_F(RegionCall, KeepsWhatIsUnregisteredUntilTheAnswer) {
  load("held", false, "0", "held");
  start_sharing();
  put(object_.data(), 1, 1);
  HttpClient client = connect();
  client.send(post("/v2/models/held/infer", R"({"inputs":[{"name":"IN","datatype":"INT32","shape":[1,2],)" +
                                                place("host", 0, 8) + R"(}],"outputs":[{"name":"OUT",)" +
                                                place("host", 8, 8) + "}]}"));
  door_->wait_inside(1);
  regions_.unregister(shm::Kind::system, "host");
  EXPECT_EQ(regions_.list(shm::Kind::system).size(), 1u);
  door_->open();
  EXPECT_EQ(status_of(client.answer()), 200);
  EXPECT_EQ(numbers(object_.data() + 8), (Numbers{1, 1}));
  // The sink, which holds the region, dies right after its last word.
  const TimePoint patience = clock_.now() + std::chrono::seconds(60);
  while (!regions_.list(shm::Kind::system).empty() && clock_.now() < patience) std::this_thread::yield();
  EXPECT_TRUE(regions_.list(shm::Kind::system).empty());
}

TEST_F(RegionCall, FailsWhereTheClientTookItsMemoryAway) {
  load("held", false, "0", "held");
  start_sharing();
  HttpClient client = connect();
  client.send(
      post("/v2/models/held/infer",
           R"({"inputs":[{"name":"IN","datatype":"INT32","shape":[1,2],"data":[1,2]}],"outputs":[{"name":"OUT",)" +
               place("host", 8, 8) + "}]}"));
  door_->wait_inside(1);
  object_.truncate(0);
  door_->open();
  const std::string answer = client.answer();
  EXPECT_EQ(status_of(answer), 400);
  EXPECT_THAT(body_of(answer), HasSubstr("lost pages while it was in use"));
  EXPECT_EQ(status_of(connect().ask(get("/v2/health/live"))), 200);
}

TEST_F(RegionCall, AnswersWhatIsUnderWayWhenTheFrontStops) {
  load("held", false, "0", "held");
  start_sharing();
  HttpClient client = connect();
  client.send(post("/v2/models/held/infer", R"({"inputs":[{"name":"IN","datatype":"INT32","shape":[1,2],)" +
                                                place("gpu", 0, 8) + R"(}],"outputs":[{"name":"OUT",)" +
                                                place("gpu", 8, 8) + "}]}"));
  door_->wait_inside(1);
  front_->stop();
  door_->open();
  EXPECT_TRUE(engine_->stop(clock_.now() + std::chrono::seconds(60)));
  EXPECT_EQ(engine_->in_flight(), 0u);
}

}  // namespace
}  // namespace argosy::serve
