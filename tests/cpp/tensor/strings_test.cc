#include "tensor/strings.h"

#include <gtest/gtest.h>

#include <random>

namespace argosy::tensor {
namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string joined(const std::vector<std::string>& values) {
  std::string out;
  for (const auto& value : values) append_element(out, value);
  return out;
}

TEST(Strings, AnElementIsALittleEndianLengthAndItsBytes) {
  const std::string text = joined({"ab", ""});
  EXPECT_EQ(text, std::string("\2\0\0\0ab\0\0\0\0", 10));
  const Element first = first_element(bytes(text));
  EXPECT_EQ(first.value, "ab");
  EXPECT_EQ(first.used, 6u);
  EXPECT_EQ(first_element(bytes(text).subspan(6)).used, 4u);
}

TEST(Strings, FaultsAreToldApart) {
  const auto fault = [](std::string_view text, std::size_t count) { return check_strings(bytes(text), count).fault; };
  const std::string two = joined({"ab", "c"});
  EXPECT_EQ(fault(two, 2), StringsFault::none);
  EXPECT_EQ(fault("", 0), StringsFault::none);
  EXPECT_EQ(fault(two, 1), StringsFault::too_many);
  EXPECT_EQ(fault(two, 3), StringsFault::too_few);
  EXPECT_EQ(fault(two.substr(0, 9), 2), StringsFault::cut_off_length);
  EXPECT_EQ(fault(two.substr(0, 5), 2), StringsFault::cut_off_element);
  EXPECT_EQ(fault(std::string("\xff\xff\xff\xff", 4), 1), StringsFault::cut_off_element);
}

// What was appended is read back; a cut anywhere is noticed.
TEST(StringsProperty, RoundTripAndEveryCutIsAFault) {
  for (unsigned seed = 0; seed < 2'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const std::size_t rows = 1 + random() % 4, per_row = 1 + random() % 3;
    std::vector<std::string> values(rows * per_row);
    for (auto& value : values) value.assign(random() % 7, static_cast<char>(random()));
    const std::string text = joined(values);
    ASSERT_EQ(check_strings(bytes(text), values.size()).fault, StringsFault::none);

    const auto offsets = row_offsets(bytes(text), rows, per_row);
    ASSERT_EQ(offsets.size(), rows + 1);
    for (std::size_t row = 0; row < rows; ++row) {
      ASSERT_EQ(first_element(bytes(text).subspan(offsets[row])).value, values[row * per_row]);
    }
    ASSERT_EQ(offsets.back(), text.size());
    const std::size_t cut = random() % text.size();
    ASSERT_NE(check_strings(bytes(text).first(cut), values.size()).fault, StringsFault::none);
  }
}

}  // namespace
}  // namespace argosy::tensor
