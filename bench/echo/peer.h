#pragma once

// Peer: one accepted socket of the bare echo server, and the two protocols that read it.
//
// The echo server is the floor of the ratio "our server against a bare loop": the same
// parsers on a plain epoll loop, answering with the request's own first tensor. No
// core, no checks, no bounds, no statistics: never a server for anything else.
//
// Thread: the loop's.

#include <memory>
#include <string>
#include <string_view>

namespace argosy::echo {

struct EchoModel {
  std::string name = "echo";
  int elements = 16;  // FP32
};

class Peer {
 public:
  virtual ~Peer() = default;
  // Appends answers to `out`; false: close.
  virtual bool on_bytes(std::string_view bytes, std::string& out) = 0;
};

std::unique_ptr<Peer> make_http_peer(const EchoModel& model);
std::unique_ptr<Peer> make_grpc_peer(const EchoModel& model);

}  // namespace argosy::echo
