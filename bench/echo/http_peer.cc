// HTTP/1.1: llhttp finds the message; the tensor is what follows "data": or the bytes
// behind the JSON head, taken as they are.

#include <llhttp.h>
#include <strings.h>

#include <charconv>

#include "echo/peer.h"

namespace argosy::echo {
namespace {

class HttpPeer final : public Peer {
 public:
  explicit HttpPeer(const EchoModel& model) : model_(model) {
    llhttp_settings_init(&settings_);
    settings_.on_url = [](llhttp_t* p, const char* at, size_t n) {
      self(p).url_.append(at, n);
      return 0;
    };
    settings_.on_header_field = [](llhttp_t* p, const char* at, size_t n) {
      self(p).field_.append(at, n);
      return 0;
    };
    settings_.on_header_value = [](llhttp_t* p, const char* at, size_t n) {
      self(p).value_.append(at, n);
      return 0;
    };
    settings_.on_header_value_complete = [](llhttp_t* p) { return self(p).on_header(); };
    settings_.on_body = [](llhttp_t* p, const char* at, size_t n) {
      self(p).body_.append(at, n);
      return 0;
    };
    settings_.on_message_complete = [](llhttp_t* p) { return self(p).on_message(); };
    llhttp_init(&parser_, HTTP_REQUEST, &settings_);
    parser_.data = this;
  }

  bool on_bytes(std::string_view bytes, std::string& out) override {
    out_ = &out;
    return llhttp_execute(&parser_, bytes.data(), bytes.size()) == HPE_OK;
  }

 private:
  static HttpPeer& self(llhttp_t* parser) { return *static_cast<HttpPeer*>(parser->data); }

  int on_header() {
    if (field_.size() == 31 && ::strncasecmp(field_.data(), "Inference-Header-Content-Length", 31) == 0) {
      std::from_chars(value_.data(), value_.data() + value_.size(), json_size_);
    }
    field_.clear();
    value_.clear();
    return 0;
  }

  int on_message() {
    if (parser_.method == HTTP_POST) {
      answer_infer();
    } else if (url_ == "/v2/models/" + model_.name) {
      const std::string tensor = R"("datatype":"FP32","shape":[)" + std::to_string(model_.elements) + "]}";
      respond(200, R"({"name":")" + model_.name +
                       R"(","versions":["1"],"platform":"echo","inputs":[{"name":"INPUT0",)" + tensor +
                       R"(],"outputs":[{"name":"OUTPUT0",)" + tensor + "]}");
    } else {
      respond(url_ == "/v2/health/ready" ? 200 : 404, R"({"error":"the bare echo server has no such path"})");
    }
    url_.clear();
    body_.clear();
    json_size_ = 0;
    return 0;
  }

  void respond(int status, std::string_view json) {
    *out_ += "HTTP/1.1 " + std::to_string(status) + (status == 200 ? " OK" : " Not Found") +
             "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(json.size()) + "\r\n\r\n";
    *out_ += json;
  }

  // The text between `"shape":` and its closing bracket, brackets included.
  static std::string_view bracketed(std::string_view json, std::string_view key) {
    const auto at = json.find(key);
    const auto open = at == std::string_view::npos ? at : json.find('[', at);
    const auto close = open == std::string_view::npos ? open : json.find(']', open);
    return close == std::string_view::npos ? std::string_view("[]") : json.substr(open, close - open + 1);
  }

  void answer_infer() {
    const std::string_view body = body_;
    const std::string_view json = json_size_ != 0 ? body.substr(0, json_size_) : body;
    const std::string_view binary = json_size_ != 0 ? body.substr(json.size()) : std::string_view();
    answer_ = R"({"model_name":")" + model_.name +
              R"(","model_version":"1","outputs":[{"name":"OUTPUT0","datatype":"FP32","shape":)";
    answer_ += bracketed(json, "\"shape\"");
    if (json_size_ == 0) {
      answer_ += ",\"data\":";
      answer_ += bracketed(json, "\"data\"");
      answer_ += "}]}";
      return respond(200, answer_);
    }
    answer_ += ",\"parameters\":{\"binary_data_size\":" + std::to_string(binary.size()) + "}}]}";
    *out_ += "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: " +
             std::to_string(answer_.size()) + "\r\nContent-Length: " + std::to_string(answer_.size() + binary.size()) +
             "\r\n\r\n";
    *out_ += answer_;
    *out_ += binary;
  }

  const EchoModel model_;
  llhttp_settings_t settings_{};
  llhttp_t parser_{};
  std::string* out_ = nullptr;
  std::string url_;
  std::string field_;
  std::string value_;
  std::string body_;
  std::string answer_;
  std::size_t json_size_ = 0;
};

}  // namespace

std::unique_ptr<Peer> make_http_peer(const EchoModel& model) { return std::make_unique<HttpPeer>(model); }

}  // namespace argosy::echo
