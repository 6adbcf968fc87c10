#include "engine/model_table.h"

namespace argosy::engine {

Result<ModelHandle> ModelTable::find(std::string_view name, std::int64_t version) const {
  const auto models = models_.read();
  const auto model = models->find(name);
  const auto unknown = [&](const std::string& what) {
    return not_found("Request for unknown model: '" + std::string(name) + "' " + what);
  };
  if (model == models->end()) return unknown("is not found");
  const Versions& versions = model->second;
  if (versions.empty()) return unknown("has no available versions");
  if (version == -1) return versions.rbegin()->second;
  const auto found = versions.find(version);
  if (found == versions.end()) return unknown("version " + std::to_string(version) + " is not found");
  return found->second;
}

void ModelTable::publish(const std::string& name, Versions versions) {
  auto turn = turn_.lock();
  const auto now = models_.read();
  if (versions.empty() && !now->contains(name)) return;
  auto next = std::make_shared<Models>(*now);
  (*next)[name] = std::move(versions);
  models_.publish(std::move(next));
}

}  // namespace argosy::engine
