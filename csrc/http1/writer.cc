#include "http1/writer.h"

#include <array>
#include <charconv>

namespace argosy::http1 {
namespace {

void add_number(std::string& out, std::size_t number, int base = 10) {
  std::array<char, 20> text;
  const auto done = std::to_chars(text.data(), text.data() + text.size(), number, base);
  out.append(text.data(), done.ptr);
}

}  // namespace

std::string_view reason(int status) {
  switch (status) {
    case 100: return "Continue";
    case 200: return "OK";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Payload Too Large";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return status < 400 ? "OK" : "Error";
  }
}

void begin_head(std::string& out, int status) {
  out += "HTTP/1.1 ";
  add_number(out, static_cast<std::size_t>(status));
  out += ' ';
  out += reason(status);
  out += "\r\n";
}

void add_field(std::string& out, std::string_view name, std::string_view value) {
  constexpr std::string_view kEnds("\r\n\0", 3);
  if (name.find_first_of(kEnds) != std::string_view::npos || value.find_first_of(kEnds) != std::string_view::npos)
    return;
  out += name;
  out += ": ";
  out += value;
  out += "\r\n";
}

void end_head(std::string& out, std::size_t body_bytes, int minor_version, bool keep_alive) {
  out += "Content-Length: ";
  add_number(out, body_bytes);
  out += "\r\n";
  if (!keep_alive) {
    out += "Connection: close\r\n";
  } else if (minor_version == 0) {
    out += "Connection: keep-alive\r\n";
  }
  out += "\r\n";
}

void end_stream_head(std::string& out, bool chunked, bool keep_alive) {
  if (chunked) out += "Transfer-Encoding: chunked\r\n";
  if (!chunked || !keep_alive) out += "Connection: close\r\n";
  out += "\r\n";
}

void begin_chunk(std::string& out, std::size_t bytes) {
  add_number(out, bytes, 16);
  out += "\r\n";
}

}  // namespace argosy::http1
