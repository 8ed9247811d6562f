// Part s of sum_i a[t][i] * W[i, :], W [n_inputs, n_out] neuron by neuron: of the s-th share of all inputs, or of those
// that a list names. sum_parts.comp adds the parts, always in the same order.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 0) const uint TOKENS = 1;
layout(push_constant) uniform Push {
  Words codes, scales, extra;
  Floats a, parts;  // parts [n_tokens][n_parts][8 * n_groups]
  Words list;
  uint n_inputs, n_groups, a_stride, n_parts, n_tokens, flags;
} p;
#include "weights.glsl"

const uint kList = 4;

void main() {
  const uint g = gl_GlobalInvocationID.x, part = gl_WorkGroupID.y, first_token = gl_WorkGroupID.z * TOKENS;
  if (g >= p.n_groups) return;
  const bool listed = (p.flags & kList) != 0;
  const uint n = listed ? p.list.v[0] : p.n_inputs;
  const uint share = (n + p.n_parts - 1) / p.n_parts;
  const uint begin = min(n, part * share), end = min(n, begin + share);
  vec4 sums[2 * TOKENS];
  for (uint t = 0; t < 2 * TOKENS; ++t) sums[t] = vec4(0.0);
  for (uint i = begin; i < end; ++i) {
    const uint row = listed ? p.list.v[1 + i] : i;
    vec4 low, high;
    decode8(row, g, low, high);
    for (uint t = 0; t < TOKENS; ++t) {
      const float a = p.a.v[min(first_token + t, p.n_tokens - 1) * p.a_stride + row];
      sums[2 * t] += a * low;
      sums[2 * t + 1] += a * high;
    }
  }
  for (uint t = 0; t < TOKENS && first_token + t < p.n_tokens; ++t) {
    const uint at = (((first_token + t) * p.n_parts + part) * p.n_groups + g) * 2;
    Vec4s(p.parts).v[at] = sums[2 * t];
    Vec4s(p.parts).v[at + 1] = sums[2 * t + 1];
  }
}
