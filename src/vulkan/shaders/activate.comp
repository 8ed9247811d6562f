// x = f(x), x = f(x) * up, or x = x * up; of all n values of each token, or of those that a list names (of one token).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 128) in;
layout(push_constant) uniform Push {
  Floats x, up;
  Words list;
  uint n, stride, function, flags;  // function: vulkan/kernels.h, Function
  float threshold;
} p;

const uint kUp = 1, kUpRelu = 2, kList = 4;

// Abramowitz and Stegun 7.1.26, error below 1.5e-7.
float erf(float x) {
  const float t = 1.0 / (1.0 + 0.3275911 * abs(x));
  const float y = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return sign(x) * (1.0 - y * exp(-x * x));
}

float activated(float x) {
  switch (p.function) {
    case 0: return x > p.threshold ? x : 0.0;
    case 1: return x > p.threshold ? x * x : 0.0;
    case 2: return x / (1.0 + exp(-x));
    case 3: return 0.5 * x * (1.0 + erf(x * 0.70710678118654752));
    case 4: return x / (1.0 + exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)));  // 1 + tanh(a) = 2 sigmoid(2 a)
    case 5: return x / (1.0 + exp(-1.702 * x));
    default: return x;
  }
}

void main() {
  const uint n = (p.flags & kList) != 0 ? p.list.v[0] : p.n;
  for (uint i = gl_GlobalInvocationID.x; i < n; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    const uint at = gl_WorkGroupID.y * p.stride + ((p.flags & kList) != 0 ? p.list.v[1 + i] : i);
    float value = activated(p.x.v[at]);
    if ((p.flags & kUp) != 0) {
      const float up = p.up.v[at];
      value *= (p.flags & kUpRelu) != 0 ? max(up, 0.0) : up;
    }
    p.x.v[at] = value;
  }
}
