#include "serve/http_connection.h"

#include "serve/http_fixture.h"

namespace argosy::serve {
namespace {

using namespace std::chrono_literals;

const std::string kBody = R"({"id":"7","inputs":[{"name":"IN","datatype":"INT32","shape":[1,2],"data":[1,2]}]})";
const std::string kAnswer =
    R"({"id":"7","model_name":"m","model_version":"1","outputs":[{"name":"OUT","datatype":"INT32","shape":[1,2],"data":[1,2]}]})";

TEST_F(HttpServer, RoutesAreAnsweredAsTheProtocolSays) {
  options_.http_restricted = {{"statistics", "Pass", "word"}};
  start();
  struct Row {
    std::string request;
    int status;
    std::string body;
  };
  const std::vector<Row> table{
      {get("/v2/health/live"), 200, ""},
      {get("/v2/health/ready?x=1"), 200, ""},
      {get("/v2/models/m/ready"), 200, ""},
      {get("/v2/models/u/ready"), 404, R"({"error":"Request for unknown model: 'u' is not found"})"},
      {get("/v2/models/m/versions/99/ready"), 404,
       R"({"error":"Request for unknown model: 'm' version 99 is not found"})"},
      {get("/v2"), 200, "GET /v2"},
      {get("/v2/models/m/config"), 200, "GET /v2/models/m/config"},
      {get("/v2/models/m/infer"), 405, R"({"error":"Method Not Allowed"})"},
      {get("/v2/models/m/"), 404, R"({"error":"Not Found"})"},
      {get("/nothing"), 404, R"({"error":"Not Found"})"},
      {get("/v2/logging"), 500, R"({"error":"control request was dropped unanswered"})"},
      {get("/v2/models/stats"), 403, R"({"error":"This API is restricted, expecting header 'Pass'"})"},
      {get("/v2/models/stats", "pass: word\r\n"), 200, "GET /v2/models/stats"},
      {post("/v2/models/m/infer", kBody), 200, kAnswer},
      {post("/v2/models/m/versions/1/infer", kBody), 200, kAnswer},
      {post("/v2/models/u/infer", kBody), 404, R"({"error":"Request for unknown model: 'u' is not found"})"},
      {post("/v2/models/dec/infer", kBody), 501,
       R"({"error":"HTTP end point doesn't support models with decoupled transaction policy"})"},
      {post("/v2/models/m/infer", "x", "Content-Encoding: br\r\n"), 501, R"({"error":"Unsupported compression type"})"},
      {post("/v2/models/m/infer", "", "Content-Encoding: gzip\r\n"), 400, R"({"error":"nothing to be decompressed"})"},
  };
  HttpClient client = connect();  // one connection: it stays usable after every error
  for (const Row& row : table) {
    SCOPED_TRACE(row.request);
    const std::string answer = client.ask(row.request);
    EXPECT_EQ(status_of(answer), row.status);
    EXPECT_EQ(body_of(answer), row.body);
  }
  EXPECT_EQ(status_of(client.ask(post("/v2/models/m/infer", "{nonsense"))), 400);
}

TEST_F(HttpServer, MetricsPortServesMetricsAlone) {
  start();
  HttpClient client(front_->metrics_port());
  EXPECT_NE(body_of(client.ask(get("/metrics"))).find("nv_inference_request_success"), std::string::npos);
  EXPECT_EQ(body_of(client.ask(get("/v2/health/live"))), "");
  EXPECT_EQ(status_of(client.ask(post("/metrics", ""))), 405);
}

TEST_F(HttpServer, PipelinedRequestsAreAnsweredInOrder) {
  start();
  HttpClient client = connect();
  std::string all;
  for (int i = 0; i < 300; ++i)
    all += i % 3 == 0 ? get("/v2/models/n" + std::to_string(i)) : post("/v2/models/m/infer", kBody);
  client.send(all);
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(body_of(client.answer()), i % 3 == 0 ? "GET /v2/models/n" + std::to_string(i) : kAnswer) << i;
  }
}

TEST_F(HttpServer, BinaryTensorsGoBothWays) {
  start();
  const std::string json =
      R"({"inputs":[{"name":"IN","datatype":"INT32","shape":[1,2],"parameters":{"binary_data_size":8}}],"parameters":{"binary_data_output":true}})";
  const std::string data("\1\0\0\0\2\0\0\0", 8);
  const std::string answer = connect().ask(post(
      "/v2/models/m/infer", json + data, "Inference-Header-Content-Length: " + std::to_string(json.size()) + "\r\n"));
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_NE(answer.find("Inference-Header-Content-Length: "), std::string::npos);
  EXPECT_TRUE(answer.ends_with(data)) << answer;
}

TEST_F(HttpServer, ALargeTensorComesBackWhole) {
  start();
  std::string data(64u << 20, '\0');
  for (std::size_t i = 0; i < data.size(); i += 4093) data[i] = static_cast<char>(i);
  const std::string json = R"({"inputs":[{"name":"IN","datatype":"INT32","shape":[1,)" +
                           std::to_string(data.size() / 4) + R"(],"parameters":{"binary_data_size":)" +
                           std::to_string(data.size()) + R"(}}],"parameters":{"binary_data_output":true}})";
  const std::string answer = connect().ask(post(
      "/v2/models/m/infer", json + data, "Inference-Header-Content-Length: " + std::to_string(json.size()) + "\r\n"));
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_TRUE(answer.ends_with(data));
}

TEST_F(HttpServer, AClientThatLeavesCancelsItsInference) {
  start();
  const TimePoint begin = clock_.now();
  {
    HttpClient client = connect();
    client.send(post("/v2/models/slow/infer", kBody));
    client.send(get("/v2/health/live"));
    while (front_->running() == 0) std::this_thread::yield();
  }  // closes; the model would take 300 s
  while (front_->running() != 0) std::this_thread::yield();
  EXPECT_LT(clock_.now() - begin, 60s);
}

TEST_F(HttpServer, AMalformedRequestIsAnsweredAndTheConnectionClosed) {
  start();
  for (const std::string bytes :
       {"hello\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"}) {
    HttpClient client = connect();
    client.send(bytes);
    const std::string answer = client.until_closed();
    EXPECT_EQ(status_of(answer), 400);
    EXPECT_NE(answer.find("{\"error\":\"malformed HTTP request"), std::string::npos);
  }
  EXPECT_EQ(status_of(connect().ask(get("/v2/health/live"))), 200);
}

TEST_F(HttpServer, ExpectContinueIsAnsweredBeforeTheBody) {
  start();
  HttpClient client = connect();
  client.send("POST /v2/models/m/infer HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: " +
              std::to_string(kBody.size()) + "\r\n\r\n");
  EXPECT_EQ(client.answer(), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(body_of(client.ask(kBody)), kAnswer);
}

TEST_F(HttpServer, ASlowHeaderIsTimedOut) {
  options_.limits.header_timeout = 20ms;
  start();
  HttpClient client = connect();
  client.send("GET /v2 HTTP/1.1\r\nHos");
  EXPECT_EQ(status_of(client.until_closed()), 408);
}

TEST_F(HttpServer, AnIdleConnectionIsClosed) {
  options_.limits.idle_timeout = 20ms;
  start();
  EXPECT_EQ(connect().until_closed(), "");
}

TEST_F(HttpServer, ReadsNoFasterThanItsClientDoes) {
  start();
  HttpClient client = connect();
  const std::string request = post("/v2/models/m/infer", kBody);
  std::thread writer([&] {
    for (int i = 0; i < 20'000; ++i) client.send(request);
  });
  for (int i = 0; i < 20'000; ++i) ASSERT_EQ(body_of(client.answer()), kAnswer) << i;
  writer.join();
}

TEST_F(HttpServer, DrainingFinishesWhatRunsAndCloses) {
  load("held", false, "0", "held");
  start();
  HttpClient idle = connect();
  EXPECT_EQ(status_of(idle.ask(get("/v2/health/live"))), 200);
  HttpClient busy = connect();
  busy.send(post("/v2/models/held/infer", kBody));
  door_->wait_inside(1);
  std::string last;
  std::thread reader([&] {
    last = busy.until_closed();
    busy.end();
  });
  std::thread other([&] {
    EXPECT_EQ(idle.until_closed(), "");
    idle.end();
    door_->open();  // by now it drains
  });
  EXPECT_TRUE(front_->drain(clock_.now() + 60s));
  reader.join();
  other.join();
  EXPECT_EQ(status_of(last), 200);
  EXPECT_NE(last.find("Connection: close"), std::string::npos);
}

TEST_F(HttpServer, APortInUseIsNamed) {
  start();
  FrontOptions again = options_;
  again.http.port = front_->http_port();
  Front second(again, *engine_, control_, *metrics_, clock_);
  const Status started = second.start();
  EXPECT_EQ(started.code(), StatusCode::unavailable);
  EXPECT_EQ(started.message(), "Socket '127.0.0.1:" + std::to_string(again.http.port) + "' already in use");
}

TEST_F(HttpServer, HeadersOfThePatternGoOnAndReservedOnesAreRefused) {
  options_.http_header_forward_pattern = "^(x-|timeout)";
  start();
  HttpClient client = connect();
  EXPECT_EQ(status_of(client.ask(post("/v2/models/m/infer", kBody, "X-A: b\r\n"))), 200);
  const std::string answer = client.ask(post("/v2/models/m/infer", kBody, "timeout: 3\r\n"));
  EXPECT_EQ(body_of(answer), R"({"error":"Header 'timeout' is reserved for Triton usage and cannot be forwarded."})");
}

TEST_F(HttpServer, GenerateAnswersOneObjectOrAStreamOfEvents) {
  start();
  HttpClient client = connect();
  const std::string once = client.ask(post("/v2/models/m/generate", R"({"IN":[1,2]})"));
  EXPECT_EQ(status_of(once), 200);
  EXPECT_EQ(body_of(once), R"({"OUT":[1,2],"model_name":"m","model_version":"1"})");
  EXPECT_EQ(body_of(client.ask(post("/v2/models/m/generate", "{}", "Content-Encoding: gzip\r\n"))),
            R"({"error":"Unsupported content-encoding, only 'identity' is supported."})");
  client.send(post("/v2/models/m/generate_stream", R"({"IN":[3]})", "Connection: close\r\n"));
  const std::string stream = client.until_closed();
  EXPECT_NE(stream.find("Content-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n"),
            std::string::npos);
  EXPECT_EQ(body_of(stream), "36\r\ndata: {\"OUT\":3,\"model_name\":\"m\",\"model_version\":\"1\"}\n\n\r\n0\r\n\r\n");
}

TEST_F(HttpServer, SeveralLoopsShareAPort) {
  options_.io_threads = 3;
  start();
  for (int i = 0; i < 30; ++i) EXPECT_EQ(body_of(connect().ask(post("/v2/models/m/infer", kBody))), kAnswer);
}

}  // namespace
}  // namespace argosy::serve
