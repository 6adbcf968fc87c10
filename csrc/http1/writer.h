#pragma once

// writer: heads and chunk frames of HTTP/1.1 answers, as text appended to a string that
// its owner reuses. Bodies are not its business: they are written beside the head, as
// the slices they are.
//
// Thread: pure functions; any.

#include <cstddef>
#include <string>
#include <string_view>

namespace argosy::http1 {

std::string_view reason(int status);  // "OK", "Not Found", ...

// The status line.
void begin_head(std::string& out, int status);
// A field; `value` with line ends or zero bytes in it is not written at all.
void add_field(std::string& out, std::string_view name, std::string_view value);
// Content-Length, Connection if it says something, and the empty line.
void end_head(std::string& out, std::size_t body_bytes, int minor_version, bool keep_alive);
// The same for a body of unknown length. `chunked` is false for HTTP/1.0 peers, whose
// body ends with the connection.
void end_stream_head(std::string& out, bool chunked, bool keep_alive);

void begin_chunk(std::string& out, std::size_t bytes);  // bytes > 0
inline constexpr std::string_view kEndOfChunk = "\r\n";
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";
inline constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

}  // namespace argosy::http1
