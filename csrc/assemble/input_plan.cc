#include "assemble/input_plan.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "assemble/alignment.h"
#include "device/pool.h"

namespace argosy::assemble {
namespace {

using device::Memory;
using device::MemoryKind;

enum class Way { stage, direct, on_device };

Way way_of(const Memory& part, const InputParts& input, const InputRules& rules) {
  if (!part.on_host()) return Way::on_device;
  // Rows that are widened one by one go through staging, whatever their size.
  if (input.row_bytes > 0 || part.size() < rules.direct_bytes || !device::is_pinned(part)) return Way::stage;
  return Way::direct;
}

bool all_staged(const InputParts& input, const InputRules& rules) {
  return std::all_of(input.parts.begin(), input.parts.end(),
                     [&](const Memory& part) { return way_of(part, input, rules) == Way::stage; });
}

// Lays bytes out one behind the other, in the block and in its mirror.
class Layout {
 public:
  explicit Layout(InputPlan& plan) : plan_(plan) {}

  void begin_input() { at_ = aligned(at_); }
  std::size_t at() const { return at_; }

  void stage(Memory from) {
    const std::size_t bytes = from.size();
    plan_.staged.push_back({std::move(from), mirror(bytes), 0});
    at_ += bytes;
  }
  void direct(Memory from) { apart(plan_.direct, std::move(from)); }
  void on_device(Memory from) { apart(plan_.on_device, std::move(from)); }

  // Zeros join the stretch they stand behind, if there is one.
  void zeros(std::size_t bytes) {
    if (bytes == 0) return;
    if (open_) {
      plan_.staged.push_back({{}, mirror(bytes), bytes});
    } else {
      plan_.zeros.push_back({at_, bytes});
    }
    at_ += bytes;
  }

 private:
  // The place in the staging buffer of what goes to at_.
  std::size_t mirror(std::size_t bytes) {
    if (!open_) plan_.stretches.push_back({aligned(plan_.staging_bytes), at_, 0});
    open_ = true;
    auto& stretch = plan_.stretches.back();
    const std::size_t staged_at = stretch.staged_at + (at_ - stretch.at);
    stretch.bytes = at_ - stretch.at + bytes;
    plan_.staging_bytes = stretch.staged_at + stretch.bytes;
    return staged_at;
  }

  void apart(std::vector<InputPlan::Part>& parts, Memory from) {
    open_ = false;
    const std::size_t bytes = from.size();
    parts.push_back({std::move(from), at_});
    at_ += bytes;
  }

  InputPlan& plan_;
  std::size_t at_ = 0;
  bool open_ = false;  // what comes next may continue the last stretch
};

Status add_widened(Layout& layout, const InputParts& input, std::size_t number) {
  for (std::size_t i = 0; i < input.parts.size(); ++i) {
    const Memory& part = input.parts[i];
    const std::size_t rows = input.rows[i];
    const std::size_t each = rows == 0 ? 0 : part.size() / rows;
    if (!part.on_host()) {
      return unsupported("input " + std::to_string(number) + ": rows in device memory cannot be widened");
    }
    if (each * rows != part.size() || each > input.row_bytes) {
      return invalid_argument("input " + std::to_string(number) + ": " + std::to_string(part.size()) + " bytes in " +
                              std::to_string(rows) + " rows do not fit rows of " + std::to_string(input.row_bytes) +
                              " bytes");
    }
    for (std::size_t row = 0; row < rows; ++row) {
      layout.stage(part.slice(row * each, each));
      layout.zeros(input.row_bytes - each);
    }
  }
  return {};
}

Status add_joined(Layout& layout, const InputParts& input, const InputRules& rules, std::size_t number) {
  for (const Memory& part : input.parts) {
    if (part.empty()) continue;
    switch (way_of(part, input, rules)) {
      case Way::stage: layout.stage(part); break;
      case Way::direct: layout.direct(part); break;
      case Way::on_device:
        if (part.place().device != rules.device) {
          return unsupported("input " + std::to_string(number) + ": a part lies on device " +
                             std::to_string(part.place().device) + ", the batch is for device " +
                             std::to_string(rules.device));
        }
        layout.on_device(part);
        break;
    }
  }
  return {};
}

}  // namespace

Result<InputPlan> plan_inputs(std::span<const InputParts> inputs, const InputRules& rules) {
  InputPlan plan;
  plan.inputs.resize(inputs.size());
  std::vector<std::size_t> order(inputs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  // Staged inputs side by side make one stretch.
  std::stable_partition(order.begin(), order.end(), [&](std::size_t i) { return all_staged(inputs[i], rules); });

  Layout layout(plan);
  for (const std::size_t i : order) {
    const InputParts& input = inputs[i];
    layout.begin_input();
    const std::size_t begin = layout.at();
    auto status = input.row_bytes > 0 ? add_widened(layout, input, i) : add_joined(layout, input, rules, i);
    if (!status.ok()) return status;
    const std::size_t bytes = layout.at() - begin;
    if (input.padded_bytes > 0) {
      if (bytes > input.padded_bytes) {
        return invalid_argument("input " + std::to_string(i) + ": " + std::to_string(bytes) +
                                " bytes do not fit the padded size of " + std::to_string(input.padded_bytes));
      }
      layout.zeros(input.padded_bytes - bytes);
    }
    plan.inputs[i] = {begin, layout.at() - begin};
  }
  plan.block_bytes = layout.at();
  return plan;
}

}  // namespace argosy::assemble
