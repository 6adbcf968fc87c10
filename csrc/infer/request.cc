#include "infer/request.h"

namespace argosy::infer {

std::string id_prefix(const Request& request) {
  return "[request id: " + (request.id.empty() ? std::string("<id_unknown>") : request.id) + "] ";
}

}  // namespace argosy::infer
