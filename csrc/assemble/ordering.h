#pragma once

// Ordering: the rules that keep a batch on a device whole, by name.
//
// DevicePipeline keeps them all; each flag is there so that a test can drop one rule
// and see the simulated device give wrong rows. Nothing else turns one off.
//
// Thread: a value; any.

namespace argosy::assemble {

struct Ordering {
  // 1. The model computes after its inputs have arrived. (Else: yesterday's rows.)
  bool compute_after_copy_in = true;
  // 2. Outputs leave after the model has computed them.
  bool copy_out_after_compute = true;
  // 3. The host reads outputs after they have arrived.
  bool read_after_copy_out = true;
  // 4. The host writes a staging buffer after the copy that reads it. (Else: rows of two
  //    batches mixed.)
  bool stage_after_copy_in = true;
  // 5. An input block is overwritten after the model that reads it has computed.
  bool copy_in_after_compute = true;
  // 6. An output block is overwritten after the copy that reads it.
  bool compute_after_copy_out = true;
  // 7. What was received stays as it is until it has been copied out of there.
  bool keep_received_until_copied = true;
  // 8. What a model returned in memory of its own stays until it has been copied.
  bool keep_returned_until_copied = true;
  // 9. Inputs that a model returns as its outputs stay, too.
  bool keep_passed_on_until_copied = true;
  // 10. A batch given up halfway keeps its memory until what was enqueued has happened.
  bool drain_before_giving_up = true;
};

}  // namespace argosy::assemble
