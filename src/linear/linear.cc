#include "linear/linear.h"

#include "base/error.h"
#include "linear/together.h"

namespace hunch {

const char* name_of(Role role) {
  static constexpr const char* kNames[kNumRoles] = {"q",
                                                    "k",
                                                    "v",
                                                    "o",
                                                    "gate",
                                                    "up",
                                                    "down",
                                                    "router",
                                                    "shared_gate",
                                                    "embedding",
                                                    "words_in",
                                                    "words_out",
                                                    "logits",
                                                    "q_down",
                                                    "q_up",
                                                    "latent",
                                                    "latent_key",
                                                    "latent_value",
                                                    "state_in",
                                                    "state_gate",
                                                    "state_beta",
                                                    "state_alpha",
                                                    "state_out",
                                                    "per_layer",
                                                    "per_layer_gate",
                                                    "per_layer_out",
                                                    "stream_in",
                                                    "stream_out",
                                                    "laurel_left",
                                                    "laurel_right",
                                                    "experts_in",
                                                    "experts_out"};
  return kNames[size_t(role)];
}

void Linear::dot_beside(Compute& compute, Tokens tokens, MatView<const float> X,
                        std::span<const Product> of_this_form) const {
  for (const Product& p : of_this_form) p.linear->dot(compute, tokens, X, {}, p.Y);
}

void Linear::decode(Compute&, MatView<float>) const {
  HUNCH_CHECK(false, "{}: not all of its numbers are here", name_of(id.role));
}

}  // namespace hunch
