#include "kserve/output_plan.h"

#include <algorithm>

namespace argosy::kserve {
namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

// Names come in the same order nearly always, so the guess makes a scan rare.
template <class Items>
std::size_t find_named(const Items& items, std::string_view name, std::size_t guess) {
  if (guess < items.size() && items[guess].name == name) return guess;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (items[i].name == name) return i;
  }
  return kNone;
}

}  // namespace

Result<std::vector<PlannedOutput>> plan_outputs(const infer::Response& response, const OutputPlan& plan,
                                                const model::ModelSpec& spec) {
  struct Ranked {
    std::size_t rank;
    PlannedOutput output;
  };
  std::vector<Ranked> ranked;
  ranked.reserve(response.outputs.size());
  for (const tensor::Tensor& tensor : response.outputs) {
    if (!tensor.data.on_host()) {
      return internal_error("output '" + tensor.name + "' of model '" + spec.name + "' is not in host memory");
    }
    const std::size_t guess = ranked.size();
    const std::size_t in_spec = find_named(spec.outputs, tensor.name, guess);
    const std::size_t in_plan = find_named(plan.outputs, tensor.name, guess);
    ranked.push_back({plan.outputs.empty() ? in_spec : in_plan,
                      {&tensor, in_plan == kNone ? nullptr : &plan.outputs[in_plan],
                       in_spec == kNone ? nullptr : &spec.outputs[in_spec]}});
  }
  const auto by_rank = [](const Ranked& a, const Ranked& b) { return a.rank < b.rank; };
  if (!std::is_sorted(ranked.begin(), ranked.end(), by_rank)) std::stable_sort(ranked.begin(), ranked.end(), by_rank);
  std::vector<PlannedOutput> out;
  out.reserve(ranked.size());
  for (const Ranked& item : ranked) out.push_back(item.output);
  return out;
}

}  // namespace argosy::kserve
