#include "grpc/status.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace argosy::grpc {
namespace {

TEST(GrpcStatus, CodesAreTheProtocols) {
  EXPECT_EQ(to_digits(code_of(StatusCode::ok)), "0");
  EXPECT_EQ(to_digits(code_of(StatusCode::cancelled)), "1");
  EXPECT_EQ(to_digits(code_of(StatusCode::invalid_argument)), "3");
  EXPECT_EQ(to_digits(code_of(StatusCode::deadline_exceeded)), "4");
  EXPECT_EQ(to_digits(code_of(StatusCode::not_found)), "5");
  EXPECT_EQ(to_digits(code_of(StatusCode::already_exists)), "6");
  EXPECT_EQ(to_digits(code_of(StatusCode::resource_exhausted)), "8");
  EXPECT_EQ(to_digits(code_of(StatusCode::unsupported)), "12");
  EXPECT_EQ(to_digits(code_of(StatusCode::internal)), "13");
  EXPECT_EQ(to_digits(code_of(StatusCode::unavailable)), "14");
}

TEST(GrpcStatus, MessagesAreEncodedByteByByte) {
  EXPECT_EQ(percent_encode("plain text, 'quoted'"), "plain text, 'quoted'");
  EXPECT_EQ(percent_encode("100%\n\xc3\xa4"), "100%25%0A%C3%A4");
  EXPECT_EQ(percent_decode("100%25%0a%C3%A4"), "100%\n\xc3\xa4");
}

TEST(GrpcStatus, WhatIsNoEncodingIsKeptAsItIs) {
  EXPECT_EQ(percent_decode("5% of%"), "5% of%");
  EXPECT_EQ(percent_decode("%4"), "%4");
  EXPECT_EQ(percent_decode("%zz%41"), "%zzA");
}

TEST(GrpcStatusProperty, DecodingUndoesEncoding) {
  std::mt19937 random(1);
  for (int i = 0; i < 500; ++i) {
    std::string text(random() % 60, '\0');
    for (char& c : text) c = static_cast<char>(random());
    EXPECT_EQ(percent_decode(percent_encode(text)), text);
  }
}

}  // namespace
}  // namespace argosy::grpc
