// HTTP/1.1 with keep-alive: one exchange at a time on a connection; answers are read
// by llhttp, with a length, chunked, or until the server closes.

#include <llhttp.h>

#include <strings.h>
#include <charconv>

#include "load/connection.h"
#include "load/json.h"

namespace argosy::load {
namespace {

// Below this a body is cheaper to copy behind its head than to send as a second part.
constexpr std::size_t kCopyBytes = 4096;

class HttpConnection final : public Connection {
 public:
  explicit HttpConnection(OutcomeListener& listener) : Connection(listener) {
    llhttp_settings_init(&settings_);
    settings_.on_header_field = [](llhttp_t* p, const char* at, size_t n) { return self(p).on_field({at, n}); };
    settings_.on_header_value = [](llhttp_t* p, const char* at, size_t n) { return self(p).on_value({at, n}); };
    settings_.on_header_value_complete = [](llhttp_t* p) { return self(p).on_header(); };
    settings_.on_body = [](llhttp_t* p, const char* at, size_t n) {
      self(p).answer_.append({at, n});
      return 0;
    };
    settings_.on_message_complete = [](llhttp_t* p) { return self(p).on_message(); };
  }

  void begin(const Exchange& exchange, std::uint64_t tag, const LikelyBody& likely) override {
    busy_ = true;
    tag_ = tag;
    answer_.begin(likely);
    output() += exchange.head;
    if (exchange.body.size() <= kCopyBytes) {
      output() += exchange.body;
    } else {
      send_after_output(exchange.body);
    }
  }

 private:
  static HttpConnection& self(llhttp_t* parser) { return *static_cast<HttpConnection*>(parser->data); }

  void on_connected() override {
    llhttp_init(&parser_, HTTP_RESPONSE, &settings_);
    parser_.data = this;
    reset();
  }

  Status on_bytes(std::string_view bytes) override {
    const auto error = llhttp_execute(&parser_, bytes.data(), bytes.size());
    if (last_) return unavailable("the server closes after this answer");
    if (error == HPE_OK) return {};
    const char* reason = llhttp_get_error_reason(&parser_);
    return internal_error(std::string("the answer is no valid HTTP: ") +
                          (reason != nullptr ? reason : llhttp_errno_name(error)));
  }

  void on_closed(const Status& why) override {
    // An answer without a length ends with the connection.
    if (busy_ && !last_) llhttp_finish(&parser_);
    if (!busy_) return;
    busy_ = false;
    listener().on_outcome(*this, tag_,
                          last_ ? Outcome{verdict(answer_.body()), answer_.body(), header_length_} : Outcome{why, {}});
  }

  int on_field(std::string_view part) {
    field_ += part;
    return 0;
  }
  int on_value(std::string_view part) {
    value_ += part;
    return 0;
  }
  int on_header() {
    if (field_.size() == 31 && ::strncasecmp(field_.data(), "Inference-Header-Content-Length", 31) == 0) {
      std::from_chars(value_.data(), value_.data() + value_.size(), header_length_);
    }
    field_.clear();
    value_.clear();
    return 0;
  }

  int on_message() {
    if (!busy_ || parser_.status_code < 200) return 0;
    // Said to be the last on this connection, or given before the request was all
    // sent: told when the connection has been closed, so that none is begun on it.
    if (llhttp_should_keep_alive(&parser_) == 0 || output_pending()) {
      last_ = true;
      return 0;
    }
    busy_ = false;
    // The listener may begin the next exchange, whose answer is another one.
    std::swap(answer_, answered_);
    const Outcome outcome{verdict(answered_.body()), answered_.body(), header_length_};
    reset();
    listener().on_outcome(*this, tag_, outcome);
    return 0;
  }

  Status verdict(std::string_view body) const {
    const int code = parser_.status_code;
    if (code == 200) return {};
    std::string text = std::to_string(code);
    auto json = parse_json(body);
    const Json* error = json.ok() ? json->find("error") : nullptr;
    text += ": " + std::string(error != nullptr ? error->string_or("") : body.substr(0, 200));
    return {code == 503 ? StatusCode::unavailable : StatusCode::internal, std::move(text)};
  }

  void reset() {
    last_ = false;
    field_.clear();
    value_.clear();
    header_length_ = kNoHeaderLength;
  }

  llhttp_settings_t settings_{};
  llhttp_t parser_{};
  bool busy_ = false;
  bool last_ = false;
  std::uint64_t tag_ = 0;
  std::string field_;
  std::string value_;
  Answer answer_;
  Answer answered_;  // the one before, while it is told
  std::size_t header_length_ = kNoHeaderLength;
};

}  // namespace

std::unique_ptr<Connection> make_http_connection(OutcomeListener& listener) {
  return std::make_unique<HttpConnection>(listener);
}

}  // namespace argosy::load
