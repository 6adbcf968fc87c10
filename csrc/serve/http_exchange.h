#pragma once

// HttpExchange: one request on an HTTP connection and its answer in the making.
//
// It outlives its connection while the engine or the control plane still holds it;
// then there is nobody to answer, and it says so to nobody.
//
// Thread: its loop's; it may be destroyed on any.

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "http1/parser.h"
#include "infer/cancellation.h"
#include "kserve/compress.h"
#include "kserve/gather.h"
#include "kserve/output_plan.h"
#include "kserve/path.h"
#include "serve/control.h"
#include "serve/infer_call.h"

namespace argosy::serve {

class HttpConnection;

struct HttpReply {
  int status = 200;
  std::string_view content_type;  // empty: no such field; a literal
  Headers fields;                 // further ones
  kserve::Gather body;
};

HttpReply error_reply(int status, std::string_view message);
HttpReply error_reply(const Status& status);

class HttpExchange final : public InferCaller, public std::enable_shared_from_this<HttpExchange> {
 public:
  explicit HttpExchange(HttpConnection& connection) : connection_(&connection) {}

  void on_response(const net::IoToken& io, infer::Response response, bool last) override;

  // Starts what the head and body ask for; the answer may be there at once.
  void start(const net::IoToken& io, const http1::Head& head, Bytes body, const kserve::Route& route);

  // The reader of a stream has caught up.
  void resume_stream(const net::IoToken& io);

  // The connection is gone, or its client.
  void abandon();
  void cancel() { cancellation_.cancel(); }

 private:
  friend class HttpConnection;

  void infer(const net::IoToken& io, const http1::Head& head, Bytes body, const kserve::InferCall& call);
  void health(const net::IoToken& io, const kserve::HealthCall& call);
  void metrics(const net::IoToken& io, bool known);
  void control(const net::IoToken& io, const http1::Head& head, Bytes body);
  bool inflate(const net::IoToken& io, const http1::Head& head, Bytes& body);
  void answer(const net::IoToken& io, HttpReply reply);
  void answer_stream(const net::IoToken& io, infer::Response response, bool last);
  void answer_infer(const net::IoToken& io, const infer::Response& response);
  void answer_generate(const net::IoToken& io, const infer::Response& response);

  HttpConnection* connection_;  // null: gone
  infer::Cancellation cancellation_;
  engine::ModelHandle model_;
  kserve::OutputPlan plan_;
  std::string id_;
  kserve::Coding coding_ = kserve::Coding::identity;
  kserve::InferVerb verb_ = kserve::InferVerb::infer;
  std::size_t responses_ = 0;
  // generate_stream: they hold the model back. A list: most exchanges stream nothing, and an empty one owns nothing.
  std::list<std::pair<infer::Response, bool>> waiting_;
  infer::Response first_;  // generate: until it is known to be the only one

  // Of the answer, for the connection.
  std::string asked_;  // method and target, when accesses are logged
  int minor_version_ = 1;
  bool keep_alive_ = true;
  bool streaming_ = false;
  bool ready_ = false;  // `reply_` is whole, or for a stream: its end is there
  bool begun_ = false;  // a stream's head is written
  HttpReply reply_;     // waiting for its turn
};

}  // namespace argosy::serve
