#include "backend/registry.h"

namespace argosy::backend {

Status Registry::add(std::string name, std::shared_ptr<Backend> backend) {
  auto held = backends_.lock();
  const auto [at, added] = held->emplace(std::move(name), std::move(backend));
  if (!added) return already_exists("backend '" + at->first + "' is registered already");
  return {};
}

Result<std::shared_ptr<Backend>> Registry::find(const std::string& name) {
  auto held = backends_.lock();
  if (const auto at = held->find(name); at != held->end()) return at->second;
  std::string known;
  for (const auto& [other, backend] : *held) known += (known.empty() ? "" : ", ") + other;
  return not_found("no backend is called '" + name + "'; there are: " + (known.empty() ? "none" : known));
}

std::vector<std::string> Registry::names() {
  std::vector<std::string> out;
  for (const auto& [name, backend] : *backends_.lock()) out.push_back(name);
  return out;
}

}  // namespace argosy::backend
