// The newest tokens of a sequence whose cache holds groups (kernels/kv_groups.h), in f16, group by group: those of the
// group that is not full, and of some before, from which a group is made again after tokens were taken back.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/half.h"
#include "formats/kv_type.h"

namespace hunch {

class KvTails {
 public:
  // Tokens that can be taken back one by one at least; also how far keys of a head may be behind.
  static constexpr size_t kKept = 64;

  // n_values [n_layer]: the values of one token's keys in all heads; 0: none. Makes the memory that decoding needs: a
  // pass makes more only where it has more tokens than those before.
  explicit KvTails(std::vector<size_t> n_values);

  static size_t bytes(size_t n_values) { return kGroups * 2 * kKvGroup * n_values * sizeof(f16); }

  // A group's keys, then values, each [n_head][kKvGroup][d_head]; nullptr where they are not held.
  const f16* find(size_t layer, size_t group) const;
  // The same, made where they are not.
  f16* need(size_t layer, size_t group);

  // A pass begins after n tokens: what is not needed to take back tokens from there goes.
  void begin(size_t n_tokens);
  // What the pass itself left in a layer that nobody reads any more: of its groups stay those that begin() and the next
  // one want.
  void settle(size_t layer, size_t n_tokens);
  void truncate(size_t n_tokens);
  // Whether the group of this many tokens' last ones, which is not full, is held in all layers.
  bool has(size_t n_tokens) const;

 private:
  static constexpr size_t kGroups = kKept / kKvGroup + 2;  // of a layer, while tokens are decoded
  struct Group {
    size_t index = 0;
    std::vector<f16> values;
  };
  // Puts aside the groups of a layer that `stays` says no to.
  template <class Stays>
  void keep(size_t layer, const Stays& stays);

  std::vector<std::vector<Group>> layers_;  // few, in no order
  std::vector<std::vector<f16>> spare_;     // of groups, as large as the widest layer's
  std::vector<size_t> n_values_;
  size_t n_begun_ = 0;  // tokens before the newest pass
};

}  // namespace hunch
