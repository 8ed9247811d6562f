// list = the number of rows i with x[i] above a threshold, then those rows, ascending: a prefix sum over one workgroup.
// NaN counts as chosen: a broken value shows in the output instead of hiding a neuron. Or with |x[i]| above it, and then
// the others become zero.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 256) in;
layout(push_constant) uniform Push {
  Floats x;
  Words list;
  uint n, flags;
  float threshold;
} p;

const uint kMagnitude = 1, kEach = 32;
shared uint sums[gl_WorkGroupSize.x];

bool chosen(uint i) {
  const float x = p.x.v[i];
  if ((p.flags & kMagnitude) == 0) return !(x <= p.threshold);
  if (!(abs(x) <= p.threshold)) return true;
  if (x != 0.0) p.x.v[i] = 0.0;
  return false;
}

void main() {
  const uint own = gl_LocalInvocationID.x, last = gl_WorkGroupSize.x - 1;
  uint n_before = 0;
  for (uint first = 0; first < p.n; first += kEach * gl_WorkGroupSize.x) {
    const uint begin = first + kEach * own;
    uint bits = 0;
    for (uint k = 0; k < kEach && begin + k < p.n; ++k) bits |= chosen(begin + k) ? 1u << k : 0u;
    sums[own] = bitCount(bits);
    barrier();
    for (uint step = 1; step < gl_WorkGroupSize.x; step *= 2) {  // Hillis and Steele 1986
      const uint before = own >= step ? sums[own - step] : 0;
      barrier();
      sums[own] += before;
      barrier();
    }
    uint at = n_before + sums[own] - bitCount(bits);
    for (uint rest = bits; rest != 0; rest &= rest - 1) p.list.v[1 + at++] = begin + findLSB(rest);
    n_before += sums[last];
    barrier();
  }
  if (own == 0) p.list.v[0] = n_before;
}
