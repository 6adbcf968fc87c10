#include "model/reshape.h"

#include <cstddef>

namespace argosy::model {

tensor::Shape reshaped(const tensor::Shape& actual, const tensor::Shape& from, const tensor::Shape& to) {
  tensor::Shape out;
  std::size_t at = 0;
  if (actual.rank() == from.rank() + 1) out.push_back(actual[at++]);
  const std::size_t lead = at;
  for (const std::int64_t dim : to) {
    if (dim >= 0) {
      out.push_back(dim);
      continue;
    }
    while (at - lead < from.rank() && from[at - lead] >= 0) ++at;
    if (at - lead == from.rank()) break;
    out.push_back(actual[at++]);
  }
  return out;
}

}  // namespace argosy::model
