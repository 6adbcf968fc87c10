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
  if (version == -1) {
    if (versions.empty()) return unknown("has no available versions");
    return versions.rbegin()->second;
  }
  const auto found = versions.find(version);
  if (found != versions.end()) return found->second;
  auto withdrawn = withdrawn_.lock();
  const auto gone = withdrawn->find(name);
  if (gone != withdrawn->end() && gone->second.contains(version)) {
    return unavailable("Request for unknown model: '" + std::string(name) + "' version " + std::to_string(version) +
                       " is not at ready state");
  }
  return unknown("version " + std::to_string(version) + " is not found");
}

void ModelTable::publish(const std::string& name, Versions versions) {
  auto withdrawn = withdrawn_.lock();
  const auto now = models_.read();
  const auto before = now->find(name);
  if (versions.empty() && before == now->end()) return;
  auto& gone = (*withdrawn)[name];
  if (before != now->end()) {
    for (const auto& [version, model] : before->second) gone.insert(version);
  }
  for (const auto& [version, model] : versions) gone.erase(version);
  auto next = std::make_shared<Models>(*now);
  (*next)[name] = std::move(versions);
  models_.publish(std::move(next));
}

}  // namespace argosy::engine
