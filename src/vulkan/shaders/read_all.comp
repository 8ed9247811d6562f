// Reads n times sixteen bytes and does next to nothing with them: what memory gives (vulkan/bandwidth.h).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 256) in;
layout(push_constant) uniform Push {
  UVec4s x;
  Words found;
  uint n;
} p;

void main() {
  uvec4 bits = uvec4(0);
  const uint step = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
  for (uint i = gl_GlobalInvocationID.x; i < p.n; i += step) bits |= p.x.v[i];
  if ((bits.x | bits.y | bits.z | bits.w) == 0x12345678u) p.found.v[0] = 1;  // never, but the driver does not know
}
