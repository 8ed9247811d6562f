// y[t][c] = scale * (bias[c] + sum_s parts[t][s][c]), or added to what is there.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 64) in;
layout(push_constant) uniform Push {
  Floats parts, bias, y;
  uint n_out, part_stride, n_parts, y_stride, flags;
  float scale;
} p;

const uint kBias = 1, kAdd = 2;

void main() {
  const uint c = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;
  if (c >= p.n_out) return;
  float sum = (p.flags & kBias) != 0 ? p.bias.v[c] : 0.0;
  for (uint s = 0; s < p.n_parts; ++s) sum += p.parts.v[(t * p.n_parts + s) * p.part_stride + c];
  const uint at = t * p.y_stride + c;
  p.y.v[at] = p.scale * sum + ((p.flags & kAdd) != 0 ? p.y.v[at] : 0.0);
}
