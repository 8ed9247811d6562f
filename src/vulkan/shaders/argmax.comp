// best[row] = the index of the largest of n values, the smallest such index on ties, and that value; NaN never wins.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 256) in;
layout(push_constant) uniform Push {
  Floats x;
  Words best;  // [row][2]
  uint n, x_stride;
} p;
#include "reduce.glsl"

shared uint smallest;

void main() {
  const uint row = gl_WorkGroupID.x, first = row * p.x_stride;
  float largest = uintBitsToFloat(0xff800000u);
  uint at = 0xffffffffu;
  for (uint i = gl_LocalInvocationID.x; i < p.n; i += gl_WorkGroupSize.x) {
    const float x = p.x.v[first + i];
    if (x > largest || (at == 0xffffffffu && x == largest)) {
      largest = x;
      at = i;
    }
  }
  if (gl_LocalInvocationID.x == 0) smallest = 0xffffffffu;
  const float winner = workgroup_max(largest);
  if (largest == winner) atomicMin(smallest, at);
  barrier();
  if (gl_LocalInvocationID.x == 0) {
    const uint found = smallest == 0xffffffffu ? 0 : smallest;
    p.best.v[2 * row] = found;
    p.best.v[2 * row + 1] = floatBitsToUint(p.x.v[first + found]);
  }
}
