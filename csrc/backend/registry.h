#pragma once

// Registry: backend names to backends. Filled by a composition root before the
// engine starts, and by registrations that come later (Python packages).
//
// Thread: any.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/guarded.h"

namespace argosy::backend {

class Registry {
 public:
  // already_exists when the name is taken.
  Status add(std::string name, std::shared_ptr<Backend> backend);

  // not_found names the backend and lists those there are.
  Result<std::shared_ptr<Backend>> find(const std::string& name);

  std::vector<std::string> names();

 private:
  Guarded<std::map<std::string, std::shared_ptr<Backend>>> backends_;
};

}  // namespace argosy::backend
