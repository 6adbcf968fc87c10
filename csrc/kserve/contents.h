#pragma once

// contents: InferTensorContents, the typed elements of one input, to dense bytes.
//
// Packed and unpacked lists are both read, in any mixture. The buffer is sized by
// the bytes that are really there, never by the shape.
//
// Thread: pure functions; any.

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/bytes_pool.h"
#include "base/status.h"
#include "tensor/dtype.h"

namespace argosy::kserve {

struct ContentsPlace {
  std::string_view input;
  std::string_view model;
};

Status not_an_infer_request();  // what every break of the wire format is told

// `contents` is the message body. Empty Bytes when no list holds anything.
Result<Bytes> read_contents(std::string_view contents, tensor::DType dtype, const ContentsPlace& place,
                            BytesPool& pool);

}  // namespace argosy::kserve
