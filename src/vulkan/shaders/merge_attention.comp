// y[t][head] = what the parts of attention.comp come to together.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
  Floats parts, y;
  uint n_head, d_head, n_parts, y_stride;
} p;

void main() {
  const uint head = gl_WorkGroupID.x, t = gl_WorkGroupID.y, stride = p.d_head + 4;
  const uint first = (t * p.n_head + head) * p.n_parts * stride;
  float largest = -1e30, total = 0.0;
  for (uint s = 0; s < p.n_parts; ++s) largest = max(largest, p.parts.v[first + s * stride + p.d_head]);
  for (uint s = 0; s < p.n_parts; ++s) {
    const uint at = first + s * stride + p.d_head;
    total += p.parts.v[at + 1] * exp(p.parts.v[at] - largest);
  }
  for (uint i = gl_LocalInvocationID.x; i < p.d_head; i += gl_WorkGroupSize.x) {
    float sum = 0.0;
    for (uint s = 0; s < p.n_parts; ++s) {
      const uint at = first + s * stride;
      sum += p.parts.v[at + i] * exp(p.parts.v[at + p.d_head] - largest);
    }
    p.y.v[t * p.y_stride + head * p.d_head + i] = total > 0.0 ? sum / total : 0.0;  // zeros of a head that was left out
  }
}
