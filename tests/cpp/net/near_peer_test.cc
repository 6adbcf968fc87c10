#include "net/near_peer.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "net/socket.h"

namespace argosy::net {
namespace {

sockaddr_storage ipv4(const char* text) {
  sockaddr_storage end{};
  end.ss_family = AF_INET;
  EXPECT_EQ(::inet_pton(AF_INET, text, &reinterpret_cast<sockaddr_in&>(end).sin_addr), 1);
  return end;
}

sockaddr_storage ipv6(const char* text) {
  sockaddr_storage end{};
  end.ss_family = AF_INET6;
  EXPECT_EQ(::inet_pton(AF_INET6, text, &reinterpret_cast<sockaddr_in6&>(end).sin6_addr), 1);
  return end;
}

std::string algorithm_of(int socket) {
  std::array<char, 64> name{};
  socklen_t size = name.size();
  EXPECT_EQ(::getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name.data(), &size), 0);
  return name.data();
}

TEST(NearPeer, IsOneWithTheSameAddress) {
  EXPECT_TRUE(is_near(ipv4("127.0.0.1"), ipv4("127.0.0.1")));
  EXPECT_TRUE(is_near(ipv4("10.1.2.3"), ipv4("10.1.2.3")));
  EXPECT_TRUE(is_near(ipv6("::1"), ipv6("::1")));
  EXPECT_TRUE(is_near(ipv6("::ffff:127.0.0.1"), ipv6("::ffff:127.0.0.1")));
  EXPECT_FALSE(is_near(ipv4("10.1.2.3"), ipv4("10.1.2.4")));
  EXPECT_FALSE(is_near(ipv6("fe80::1"), ipv6("fe80::2")));
  EXPECT_FALSE(is_near(ipv4("0.0.0.0"), ipv6("::")));
  sockaddr_storage by_path{};
  by_path.ss_family = AF_UNIX;
  EXPECT_FALSE(is_near(by_path, by_path));
}

TEST(NearPeer, ItsConnectionIsNotPaced) {
  const auto listening = listen_on({});
  ASSERT_TRUE(listening.ok());
  sockaddr_storage to{};
  socklen_t size = sizeof to;
  ASSERT_EQ(::getsockname(listening->socket.get(), reinterpret_cast<sockaddr*>(&to), &size), 0);
  const Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  bool set = false;
  for (const std::string other : {"bbr", "cubic", "dctcp"}) {
    set = set || ::setsockopt(client.get(), IPPROTO_TCP, TCP_CONGESTION, other.data(),
                              static_cast<socklen_t>(other.size())) == 0;
  }
  if (!set) GTEST_SKIP() << "this kernel allows nothing but " << algorithm_of(client.get());
  tune_for_near_peer(client.get());
  EXPECT_NE(algorithm_of(client.get()), "reno");  // not connected: nothing is known of the peer
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), size), 0);
  tune_for_near_peer(client.get());
  EXPECT_EQ(algorithm_of(client.get()), "reno");
}

}  // namespace
}  // namespace argosy::net
