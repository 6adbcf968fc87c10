#include "load/shared_tensors.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "device/simulated/simulated_device.h"
#include "load/answer_check.h"
#include "load/elements.h"
#include "load/gpu_tensors.h"
#include "load/options.h"
#include "load/proto_wire.h"

namespace argosy::load {
namespace {

const Target kShared{"h:1", "m", ""};

ModelCard card() {
  ModelCard card;
  card.outputs = {{"Y", "INT32", {-1}}, {"Z", "INT32", {-1}}};
  return card;
}

std::vector<Sample> samples() {
  return {{{{"X", "UINT8", {3}, "abc"}}, std::nullopt}, {{{"X", "UINT8", {2}, "de"}}, std::nullopt}};
}

std::string fields_of(std::string_view message) {
  std::string text;
  ProtoReader reader(message);
  while (reader.next()) {
    text += std::to_string(reader.field()) + "=" +
            (reader.is_bytes() ? std::string(reader.bytes()) : std::to_string(reader.varint())) + ";";
  }
  return reader.ok() ? text : "malformed";
}

TEST(SharedLayout, HasAllInputsInFrontAndRoomForEachOutputBehindThem) {
  const auto layout = lay_out("r", samples(), card(), 100);
  ASSERT_TRUE(layout.ok());
  const auto& requests = layout->requests;
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].inputs[0].offset, 0u);
  EXPECT_EQ(requests[0].outputs[1].tensor, "Z");
  EXPECT_EQ(requests[1].inputs[0].bytes, 2u);
  EXPECT_GE(requests[1].inputs[0].offset, 3u);
  EXPECT_GE(layout->input_bytes, requests[1].inputs[0].offset + 2);
  EXPECT_GE(requests[0].outputs[0].offset, layout->input_bytes);
  EXPECT_GE(requests[1].outputs[0].offset, requests[0].outputs[1].offset + 100);
  EXPECT_GE(layout->bytes, requests[1].outputs[1].offset + 100);
  EXPECT_EQ(lay_out("r", {{{{"X", "UINT8", {0}, ""}}, std::nullopt}}, card(), 1).status().message(),
            "input 'X' is empty; shared memory cannot hold it");
}

TEST(SharedTensors, LieInASharedObjectThatGoesWithThem) {
  std::string key;
  {
    const auto shared = system_tensors(samples(), card(), 100);
    ASSERT_TRUE(shared.ok()) << shared.status().message();
    const SharedObject object = (*shared)->object();
    key = object.key;
    EXPECT_EQ("/" + object.region, key);
    EXPECT_EQ((*shared)->reader()->first(0, 1000)->size(), 100u);
    EXPECT_EQ((*shared)->reader()->first(1, 7)->size(), 7u);
    const int descriptor = ::shm_open(key.c_str(), O_RDONLY, 0);
    ASSERT_GE(descriptor, 0);
    char begin[3];
    EXPECT_EQ(::pread(descriptor, begin, 3, 0), 3);
    ::close(descriptor);
    EXPECT_EQ(std::string_view(begin, 3), "abc");
  }
  EXPECT_EQ(::shm_unlink(key.c_str()), -1) << "it is gone with its owner";
  EXPECT_EQ(errno, ENOENT);
}

// What a server sees of memory on a device, and writes to it.
struct Seen {
  explicit Seen(const SharedObject& object) {
    device::IpcHandle handle{};
    EXPECT_EQ(object.handle.size(), handle.size());
    std::memcpy(handle.data(), object.handle.data(), handle.size());
    memory = *device::host_device()->open_ipc(handle);
  }
  ~Seen() { device::host_device()->close_ipc(memory.data); }
  device::IpcMemory memory;
};

TEST(SharedTensors, LieOnADeviceThatTheServerOpens) {
  const auto shared = gpu_tensors(*find_gpu("host"), samples(), card(), 100);
  ASSERT_TRUE(shared.ok()) << shared.status().message();
  const SharedObject object = (*shared)->object();
  EXPECT_EQ(object.key, "");
  EXPECT_EQ(object.device, 0);
  EXPECT_EQ(object.bytes % (2u << 20), 0u);
  const Seen seen(object);
  EXPECT_GE(seen.memory.size, object.bytes);
  const auto& requests = (*shared)->requests();
  EXPECT_EQ(std::memcmp(seen.memory.data, "abc", 3), 0);
  EXPECT_EQ(std::memcmp(seen.memory.data + requests[1].inputs[0].offset, "de", 2), 0);

  const auto reader = (*shared)->reader();
  EXPECT_EQ(*reader->first(1, 3), std::string(3, '\0'));
  std::memcpy(seen.memory.data + requests[1].outputs[0].offset, "right", 5);
  EXPECT_EQ(*reader->first(1, 5), "right");
  EXPECT_EQ(*reader->first(1, 3), "rig");
  EXPECT_EQ(reader->first(1, 1000)->size(), 100u);
  EXPECT_EQ(*reader->first(0, 5), std::string(5, '\0'));
}

// Copies that happen as late as they may, memory that is poison before.
TEST(SharedTensors, AreThereWhenTheServerIsToldOfThem) {
  const auto gpu = device::SimulatedDevice::make({.ordinal = 2}), server = device::SimulatedDevice::make();
  {
    const auto shared = gpu_tensors(gpu, samples(), card(), 100);
    ASSERT_TRUE(shared.ok()) << shared.status().message();
    const SharedObject object = (*shared)->object();
    EXPECT_EQ(object.device, 2);
    device::IpcHandle handle{};
    std::memcpy(handle.data(), object.handle.data(), handle.size());
    const auto seen = *server->open_ipc(handle);
    EXPECT_EQ(std::memcmp(seen.data, "abc", 3), 0);
    std::memcpy(seen.data + (*shared)->requests()[0].outputs[0].offset, "out", 3);
    EXPECT_EQ(*(*shared)->reader()->first(0, 3), "out");
    server->close_ipc(seen.data);
  }
  EXPECT_EQ(gpu->violations(), std::vector<std::string>{});
}

TEST(SharedTensors, ADeviceInTroubleIsNamed) {
  const auto gpu = device::SimulatedDevice::make({.memory_bytes = 4u << 20});
  const auto full = gpu_tensors(gpu, samples(), card(), 8u << 20);
  EXPECT_EQ(full.status().code(), StatusCode::resource_exhausted);
  EXPECT_NE(full.status().message().find("shared memory on the GPU: device 'simulated'"), std::string::npos);
  const auto shared = gpu_tensors(gpu, samples(), card(), 100);
  ASSERT_TRUE(shared.ok());
  const auto reader = (*shared)->reader();
  ASSERT_TRUE(reader->first(0, 8).ok());
  gpu->set_fail_one_in(1);
  EXPECT_FALSE(reader->first(0, 8).ok());
  gpu->set_fail_one_in(0);
  EXPECT_TRUE(reader->first(0, 8).ok());
}

TEST(SharedTensors, ARequestNamesPlacesInsteadOfBytes) {
  const SharedRequest places{"r", {{"X", 64, 3}}, {{"Y", 128, 100}}};
  const Exchange json = infer_exchange(Format::http_binary, kShared, samples()[0], &places);
  EXPECT_EQ(json.body,
            R"({"inputs":[{"name":"X","shape":[3],"datatype":"UINT8","parameters":{"shared_memory_region":"r",)"
            R"("shared_memory_offset":64,"shared_memory_byte_size":3}}],"outputs":[{"name":"Y","parameters":)"
            R"({"shared_memory_region":"r","shared_memory_offset":128,"shared_memory_byte_size":100}}]})");
  EXPECT_EQ(json.head.find("Inference-Header"), std::string::npos);
  EXPECT_EQ(infer_exchange(Format::grpc, kShared, samples()[0], &places).body.find("abc"), std::string::npos);
}

TEST(Registration, OfASharedObjectNamesItsKey) {
  const SharedObject object{"r", "/k", 256, "", 0};
  const Exchange http = register_exchange(false, kShared, object);
  EXPECT_EQ(http.head.substr(0, 53), "POST /v2/systemsharedmemory/region/r/register HTTP/1.");
  EXPECT_EQ(http.body, R"({"key":"/k","offset":0,"byte_size":256})");
  const Exchange grpc = register_exchange(true, kShared, object);
  EXPECT_EQ(grpc.head, "/inference.GRPCInferenceService/SystemSharedMemoryRegister");
  EXPECT_EQ(fields_of(grpc.body.substr(5)), "1=r;2=/k;4=256;");
  EXPECT_EQ(unregister_exchange(false, kShared, object).head.substr(0, 49),
            "POST /v2/systemsharedmemory/region/r/unregister H");
  EXPECT_EQ(unregister_exchange(true, kShared, object).head,
            "/inference.GRPCInferenceService/SystemSharedMemoryUnregister");
}

TEST(Registration, OfMemoryOnAGpuCarriesItsHandle) {
  const SharedObject object{"r", "", 512, std::string("\0\xff h", 4), 3};
  const Exchange http = register_exchange(false, kShared, object);
  EXPECT_EQ(http.head.substr(0, 51), "POST /v2/cudasharedmemory/region/r/register HTTP/1.");
  EXPECT_EQ(http.body, R"({"raw_handle":{"b64":"AP8gaA=="},"device_id":3,"byte_size":512})");
  const Exchange grpc = register_exchange(true, kShared, object);
  EXPECT_EQ(grpc.head, "/inference.GRPCInferenceService/CudaSharedMemoryRegister");
  EXPECT_EQ(fields_of(grpc.body.substr(5)), "1=r;2=" + object.handle + ";3=3;4=512;");
  EXPECT_EQ(unregister_exchange(false, kShared, object).head.substr(0, 47),
            "POST /v2/cudasharedmemory/region/r/unregister H");
  EXPECT_EQ(unregister_exchange(true, kShared, object).head,
            "/inference.GRPCInferenceService/CudaSharedMemoryUnregister");
  EXPECT_EQ(fields_of(unregister_exchange(true, kShared, object).body.substr(5)), "1=r;");
}

TEST(Elements, Base64OfAnyLengthComesBack) {
  for (const std::string bytes : {"", "f", "fo", "foo", "foob", "\xff\xfe\xfd\xfc\x01"}) {
    EXPECT_EQ(*bytes_from_base64(bytes_as_base64(bytes)), bytes);
    EXPECT_EQ(bytes_as_base64(bytes).size() % 4, 0u);
  }
  EXPECT_EQ(bytes_as_base64("hello"), "aGVsbG8=");
}

TEST(SharedTensors, AnswersAreComparedWhereTheyLie) {
  struct Memory final : OutputReader {
    explicit Memory(const std::string& bytes) : held(bytes) {}
    Result<std::string_view> first(std::size_t, std::size_t bytes) override {
      return std::string_view(held).substr(0, bytes);
    }
    const std::string& held;
  };
  std::string memory = "right and more";
  const auto reader = [&] { return std::make_unique<Memory>(memory); };
  AnswerCheck check(Format::http_json, {"right"}, reader());
  const std::string answer = R"({"outputs":[{"name":"Y","datatype":"UINT8","shape":[5]}]})";
  EXPECT_TRUE(check.check(0, answer, kNoHeaderLength).ok());
  memory[4] = 'x';
  EXPECT_FALSE(check.check(0, answer, kNoHeaderLength).ok());
  EXPECT_FALSE(AnswerCheck(Format::http_json, {std::nullopt}, reader()).check(0, R"({"outputs":[]})", 0).ok());
  EXPECT_FALSE(AnswerCheck(Format::grpc, {std::nullopt}, reader()).check(0, "", 0).ok());
}

TEST(SharedTensors, TheFlagsAreRead) {
  const auto parse = [](std::array<const char*, 4> words) { return parse_options(words); };
  EXPECT_EQ(parse({"-m", "m", "--shared-memory", "system"})->shared_memory, SharedMemory::system);
  EXPECT_EQ(parse({"-m", "m", "--shared-memory", "cuda"})->shared_memory, SharedMemory::cuda);
  EXPECT_EQ(parse({"-m", "m", "--shared-memory", "none"})->shared_memory, SharedMemory::none);
  EXPECT_EQ(parse({"-m", "m", "--shared-memory", "gpu"}).status().message(),
            "--shared-memory: 'gpu' is not none, system or cuda");
  EXPECT_EQ(parse({"-m", "m", "--output-shared-memory-size", "5"})->shared_output_bytes, 5u);
  EXPECT_EQ(parse({"-m", "m", "--cuda-device", "3"})->cuda_device, "3");
  EXPECT_EQ(parse({"-m", "m", "--cuda-device", "host"})->cuda_device, "host");
  EXPECT_FALSE(parse({"-m", "m", "--cuda-device", "-1"}).ok());
}

TEST(SharedTensors, WithoutAGpuTheFlagIsRefusedByName) {
  const auto found = find_gpu("0");
  if (found.ok()) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_EQ(found.status().code(), StatusCode::unsupported);
  EXPECT_EQ(found.status().message(), device::built_with_cuda()
                                          ? "--shared-memory cuda: there is no GPU here, or no driver for it; use "
                                            "system or none"
                                          : "--shared-memory cuda: this load generator is built without CUDA; use "
                                            "system or none");
}

}  // namespace
}  // namespace argosy::load
