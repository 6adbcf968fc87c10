#pragma once

// Reshape: a configuration may give the backend other dimensions than the client's,
// with the same number of elements. Open dimensions keep their order.
//
// Thread: pure functions; any.

#include "tensor/shape.h"

namespace argosy::model {

// The dimensions `to`, its open ones filled in order from where `from` is open in
// `actual`; an `actual` of one more dimension than `from` keeps its first (the batch).
// `actual` fits `from`, and both have equally many open dimensions.
tensor::Shape reshaped(const tensor::Shape& actual, const tensor::Shape& from, const tensor::Shape& to);

}  // namespace argosy::model
