// y[t][r] = scale * (dot(W[r, :], x[t]) + bias[r]), or added to what is there; of all rows, or of those that a list names
// which another kernel made. A subgroup computes a row for TOKENS tokens: weights are read and decoded once for them.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 128) in;
layout(constant_id = 0) const uint TOKENS = 1;
layout(push_constant) uniform Push {
  Words codes, scales, extra;
  Floats bias, x, y;
  Words list;  // their number, then the rows
  uint n_rows, n_groups, x_stride, y_stride, n_tokens, flags;
  float scale;
} p;
#include "weights.glsl"

const uint kBias = 1, kAdd = 2, kList = 4;

void main() {
  Vec4s x = Vec4s(p.x);
  const uint n = (p.flags & kList) != 0 ? p.list.v[0] : p.n_rows;
  const uint first_token = gl_WorkGroupID.y * TOKENS;
  for (uint i = gl_WorkGroupID.x * gl_NumSubgroups + gl_SubgroupID; i < n; i += gl_NumWorkGroups.x * gl_NumSubgroups) {
    const uint row = (p.flags & kList) != 0 ? p.list.v[1 + i] : i;
    float sums[TOKENS];
    for (uint t = 0; t < TOKENS; ++t) sums[t] = 0.0;
    for (uint g = gl_SubgroupInvocationID; g < p.n_groups; g += gl_SubgroupSize) {
      vec4 low, high;
      decode8(row, g, low, high);
      for (uint t = 0; t < TOKENS; ++t) {
        const uint at = (min(first_token + t, p.n_tokens - 1) * p.x_stride >> 2) + 2 * g;
        sums[t] += dot(low, x.v[at]) + dot(high, x.v[at + 1]);
      }
    }
    const float bias = (p.flags & kBias) != 0 ? p.bias.v[row] : 0.0;
    for (uint t = 0; t < TOKENS; ++t) {
      const float sum = p.scale * (subgroupAdd(sums[t]) + bias);
      if (subgroupElect() && first_token + t < p.n_tokens) {
        const uint at = (first_token + t) * p.y_stride + row;
        p.y.v[at] = (p.flags & kAdd) != 0 ? p.y.v[at] + sum : sum;
      }
    }
  }
}
