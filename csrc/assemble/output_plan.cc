#include "assemble/output_plan.h"

#include <algorithm>
#include <functional>

#include "assemble/alignment.h"

namespace argosy::assemble {

// std::less orders any two addresses, also those of different blocks.
bool lies_in(const device::Memory& memory, std::span<const std::byte> block) {
  const std::less_equal<const std::byte*> not_after;
  return !block.empty() && not_after(block.data(), memory.data()) &&
         not_after(memory.data() + memory.size(), block.data() + block.size());
}

OutputPlan plan_outputs(std::span<const device::Memory> outputs, std::span<const std::byte> reserved,
                        std::size_t direct_bytes) {
  OutputPlan plan;
  plan.begins.resize(outputs.size());
  const std::byte* first = nullptr;
  const std::byte* last = nullptr;
  std::size_t small = 0;
  for (const auto& output : outputs) {
    if (output.empty()) continue;
    if (!lies_in(output, reserved)) {
      small += output.size() < direct_bytes ? 1 : 0;
      continue;
    }
    const std::byte* const end = output.data() + output.size();
    if (first == nullptr || output.data() < first) first = output.data();
    if (last == nullptr || end > last) last = end;
  }
  if (first != nullptr) {
    plan.host_bytes = static_cast<std::size_t>(last - first);
    plan.copies.push_back({first, 0, plan.host_bytes});
  }

  const std::size_t packs_at = aligned(plan.host_bytes);
  const auto packs = [&](const device::Memory& output) { return small > 1 && output.size() < direct_bytes; };
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto& output = outputs[i];
    if (output.empty()) continue;
    if (lies_in(output, reserved)) {
      plan.begins[i] = static_cast<std::size_t>(output.data() - first);
    } else if (packs(output)) {
      const std::size_t at = aligned(plan.pack_bytes);
      plan.packed.push_back({output.data(), at, output.size()});
      plan.begins[i] = packs_at + at;
      plan.pack_bytes = at + output.size();
    }
  }
  if (plan.pack_bytes > 0) {
    plan.copies.push_back({nullptr, packs_at, plan.pack_bytes});
    plan.host_bytes = packs_at + plan.pack_bytes;
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto& output = outputs[i];
    if (output.empty() || lies_in(output, reserved) || packs(output)) continue;
    plan.begins[i] = aligned(plan.host_bytes);
    plan.copies.push_back({output.data(), plan.begins[i], output.size()});
    plan.host_bytes = plan.begins[i] + output.size();
  }
  return plan;
}

}  // namespace argosy::assemble
