// Where large requests are received: into the memory of their model, if it has some.

#include "serve/model_room.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "serve/grpc_fixture.h"
#include "serve/http_fixture.h"

namespace argosy::serve {
namespace {

// Models with one piece of memory for what is received, which tell where their inputs lay.
struct Rooms final : backend::Backend {
  struct Pool final : BytesPool {
    Buffer allocate(std::size_t size) override {
      auto all = asked.lock();
      all->push_back(size);
      if (full || size > memory.size()) return {};
      return {living, memory.data() + 64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64, memory.size() - 64};
    }
    bool holds(const std::byte* data) const { return data >= memory.data() && data < memory.data() + memory.size(); }

    Guarded<std::vector<std::size_t>> asked;
    std::atomic<bool> full = false;
    std::shared_ptr<int> living = std::make_shared<int>(0);  // each buffer is an owner
    std::vector<std::byte> memory = std::vector<std::byte>(4u << 20);
  };
  struct Seen {
    bool in_pool = false;
    std::uintptr_t address = 0;
    std::size_t size = 0;
  };
  struct World {
    std::shared_ptr<Pool> pool = std::make_shared<Pool>();
    Guarded<std::vector<Seen>> seen;
  };
  struct Echo final : backend::Instance {
    explicit Echo(std::shared_ptr<World> w) : world(std::move(w)) {}
    backend::Intake intake() const override { return backend::Intake::pieces; }
    Status execute(backend::Batch& batch) override {
      for (const auto& request : batch.requests) {
        const auto& data = request->inputs[0].data;
        world->seen.lock()->push_back(
            {world->pool->holds(data.data()), reinterpret_cast<std::uintptr_t>(data.data()), data.size()});
        infer::Response response;
        response.outputs = request->inputs;
        response.outputs[0].name = "OUTPUT0";
        batch.answers.push_back(std::move(response));
      }
      return {};
    }
    const std::shared_ptr<World> world;
  };
  struct Loaded final : backend::LoadedModel {
    explicit Loaded(std::shared_ptr<World> w) : world(std::move(w)) {}
    Result<std::unique_ptr<backend::Instance>> make_instance(const backend::InstanceSlot&) override {
      return std::unique_ptr<backend::Instance>(std::make_unique<Echo>(world));
    }
    std::shared_ptr<BytesPool> receive_pool() override { return world->pool; }
    const std::shared_ptr<World> world;
  };
  Result<std::unique_ptr<backend::LoadedModel>> load(const model::SpecPtr&, const backend::InstanceSlot&) override {
    return std::unique_ptr<backend::LoadedModel>(std::make_unique<Loaded>(world));
  }

  std::vector<Seen> seen() { return *world->seen.lock(); }
  std::size_t asked() { return world->pool->asked.lock()->size(); }
  long living() { return world->pool->living.use_count() - 1; }

  const std::shared_ptr<World> world = std::make_shared<World>();
};

std::string text_of(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + i / 1021);
  return text;
}

class GrpcRoom : public ::testing::Test {
 protected:
  GrpcRoom() {
    EXPECT_TRUE(server_.backends->add("rooms", rooms_).ok());
    server_.load("m", "rooms");
    server_.load("other", "identity");
  }
  std::string ask(const std::string& data, const std::string& model = "m", const std::string& id = "") {
    GrpcClient client(server_);
    const auto& heard = client.call(kModelInfer, infer_request(model, data, id));
    const auto messages = messages_of(heard);
    return messages.size() == 1 ? field_of(messages[0], 6) : "status " + status_of(heard);
  }
  const std::shared_ptr<Rooms> rooms_ = std::make_shared<Rooms>();
  GrpcServer server_;
};

TEST_F(GrpcRoom, ALargeTensorLiesInTheModelsMemoryAndAligned) {
  const std::string data = text_of(1'000'000);
  for (std::size_t id = 0; id < 70; id += 7) {
    ASSERT_TRUE(ask(data, "m", std::string(id, 'i')) == data);
    const auto seen = rooms_->seen().back();
    EXPECT_TRUE(seen.in_pool) << id;
    EXPECT_EQ(seen.address % 64, 0u);
    EXPECT_EQ(seen.size, data.size());
  }
}

TEST_F(GrpcRoom, EachMessageOfAStreamDoesToo) {
  GrpcClient client(server_);
  const auto id = client.start(kStreamInfer);
  for (int i = 0; i < 3; ++i) {
    client.message(id, infer_request("m", text_of(300'000 + i)), i == 2);
    ASSERT_TRUE(
        client.until([&] { return messages_of(client.h2.heard(id)).size() == static_cast<std::size_t>(i) + 1; }));
  }
  ASSERT_TRUE(client.closed(id));
  ASSERT_EQ(rooms_->seen().size(), 3u);
  for (const auto& seen : rooms_->seen()) {
    EXPECT_TRUE(seen.in_pool);
    EXPECT_EQ(seen.address % 64, 0u);
  }
}

TEST_F(GrpcRoom, AModelWithoutRoomIsServedAllTheSame) {
  rooms_->world->pool->full = true;
  const std::string data = text_of(1'000'000);
  EXPECT_TRUE(ask(data) == data);
  EXPECT_EQ(rooms_->asked(), 1u);
  EXPECT_FALSE(rooms_->seen().back().in_pool);
}

TEST_F(GrpcRoom, IsNotAskedForSmallRequestsNorForOtherModels) {
  EXPECT_EQ(ask(text_of(1000)), text_of(1000));
  EXPECT_TRUE(ask(text_of(1'000'000), "other") == text_of(1'000'000));
  EXPECT_EQ(ask(text_of(1'000'000), "nobody"), "status 5");
  EXPECT_EQ(rooms_->asked(), 0u);
}

TEST_F(GrpcRoom, AClientThatStopsHalfWayGivesItBack) {
  const auto becomes = [&](auto condition) {
    const TimePoint patience = server_.clock.now() + std::chrono::seconds(60);
    while (!condition() && server_.clock.now() < patience) server_.loop->run_there([](const net::IoToken&) {});
    return condition();
  };
  GrpcClient client(server_);
  const std::string message = infer_request("m", text_of(1'000'000));
  const auto prefix = grpc::message_prefix(message.size(), false);
  client.h2.send(client.start(kModelInfer),
                 std::string(reinterpret_cast<const char*>(prefix.data()), prefix.size()) + message.substr(0, 500'000),
                 false);
  client.flush();
  EXPECT_TRUE(becomes([&] { return rooms_->asked() == 1 && rooms_->living() >= 1; }));
  client.hang_up();
  EXPECT_TRUE(becomes([&] { return rooms_->living() == 0; }));
}

class HttpRoom : public HttpServer {
 protected:
  HttpRoom() {
    EXPECT_TRUE(backends_->add("rooms", rooms_).ok());
    model::ModelSpec spec;
    spec.name = "r";
    spec.backend = "rooms";
    spec.inputs = {{.name = "IN", .dtype = tensor::DType::uint8, .dims = {-1}}};
    spec.outputs = {{.name = "OUTPUT0", .dtype = tensor::DType::uint8, .dims = {-1}}};
    spec.instances = {{}};
    EXPECT_TRUE(engine_->load("r", {spec}).ok());
    start();
  }
  // `padding`: blanks before the JSON.
  std::string ask(const std::string& data, std::size_t padding = 0, const std::string& model = "r") {
    const std::string size = std::to_string(data.size());
    const std::string json = std::string(padding, ' ') + R"({"inputs":[{"name":"IN","datatype":"UINT8","shape":[)" +
                             size + R"(],"parameters":{"binary_data_size":)" + size +
                             R"(}}],"parameters":{"binary_data_output":true}})";
    const std::string answer =
        connect().ask(post("/v2/models/" + model + "/infer", json + data,
                           "Inference-Header-Content-Length: " + std::to_string(json.size()) + "\r\n"));
    return answer.size() < data.size() ? answer : answer.substr(answer.size() - data.size());
  }
  const std::shared_ptr<Rooms> rooms_ = std::make_shared<Rooms>();
};

TEST_F(HttpRoom, ALargeBinaryTensorLiesInTheModelsMemoryAndAligned) {
  const std::string data = text_of(500'000);
  for (std::size_t padding = 0; padding < 70; padding += 9) {
    ASSERT_TRUE(ask(data, padding) == data);
    const auto seen = rooms_->seen().back();
    EXPECT_TRUE(seen.in_pool);
    EXPECT_EQ(seen.address % 64, 0u);
    EXPECT_EQ(seen.size, data.size());
  }
}

TEST_F(HttpRoom, IsNotAskedForOtherBodies) {
  EXPECT_EQ(ask(text_of(1000)), text_of(1000));
  EXPECT_EQ(status_of(connect().ask(post("/v2/models/r/infer", text_of(500'000)))), 400);
  EXPECT_EQ(status_of(connect().ask(post("/v2/models/r/infer", text_of(500'000),
                                         "Inference-Header-Content-Length: 9999999999999999999999\r\n"))),
            400);
  EXPECT_EQ(status_of(connect().ask(
                post("/v2/models/nobody/infer", text_of(500'000), "Inference-Header-Content-Length: 10\r\n"))),
            404);
  EXPECT_EQ(rooms_->asked(), 0u);
}

}  // namespace
}  // namespace argosy::serve
