#pragma once

// ModelTable: name and version to Model, as a snapshot that readers never wait for.
//
// A name that was unloaded stays known without versions, and so does a version that
// was withdrawn: the protocol tells "not found" from "has no available versions" and
// from "not at ready state".
//
// Thread: any.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/guarded.h"
#include "base/snapshot.h"
#include "base/status.h"
#include "engine/engine.h"

namespace argosy::engine {

class ModelTable {
 public:
  using Versions = std::map<std::int64_t, ModelHandle>;
  using Models = std::map<std::string, Versions, std::less<>>;

  ModelTable() : models_(std::make_shared<const Models>()) {}

  // The newest version when `version` is -1.
  Result<ModelHandle> find(std::string_view name, std::int64_t version) const;

  // Puts `versions` in place of what is there, in one step; nothing if `name` is unknown
  // and there are none.
  void publish(const std::string& name, Versions versions);

  std::shared_ptr<const Models> read() const { return models_.read(); }

 private:
  Snapshot<Models> models_;
  // Publishers take turns. Holds the versions that served once and do not now.
  mutable Guarded<std::map<std::string, std::set<std::int64_t>, std::less<>>> withdrawn_;
};

}  // namespace argosy::engine
