#pragma once

// near_peer: a connection whose other end is on this machine has no network to be
// considerate of. Congestion control that paces what it sends, as BBR does, costs such a
// connection twice the time and the CPU of a large message. Reno does not pace, and any
// process may choose it on any kernel.
//
// Thread: any.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>

namespace argosy::net {

inline std::span<const std::uint8_t> address_bytes(const sockaddr_storage& end) {
  if (end.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(end);
    return {reinterpret_cast<const std::uint8_t*>(&in.sin_addr), sizeof in.sin_addr};
  }
  if (end.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(end);
    return {in.sin6_addr.s6_addr, sizeof in.sin6_addr.s6_addr};
  }
  return {};
}

// Both ends have one address: 127.0.0.1, ::1, or any other of this machine's.
inline bool is_near(const sockaddr_storage& own, const sockaddr_storage& peer) {
  return own.ss_family == peer.ss_family && !address_bytes(own).empty() &&
         std::ranges::equal(address_bytes(own), address_bytes(peer));
}

// Of a connected socket. Changes nothing where the peer is elsewhere, or the kernel says no.
inline void tune_for_near_peer(int socket) {
  constexpr std::string_view kUnpaced = "reno";
  sockaddr_storage own{}, peer{};
  socklen_t own_size = sizeof own, peer_size = sizeof peer;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &own_size) != 0) return;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0) return;
  if (is_near(own, peer)) ::setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, kUnpaced.data(), kUnpaced.size());
}

}  // namespace argosy::net
