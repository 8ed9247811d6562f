#include "linear/linear.h"

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
                                                    "laurel_right"};
  return kNames[size_t(role)];
}

}  // namespace hunch
