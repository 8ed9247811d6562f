// Rows of weights as vulkan/repack.cc lays them out: groups of eight consecutive elements, whatever the format, so that
// one loop serves all. FORMAT is set by the build. decode8() reads the push constants p.codes, p.scales, p.extra and
// p.n_groups (groups of a row).
#define F32 0
#define F16 1
#define BF16 2
#define Q8_0 3
#define Q4_0 4
#define Q4_K 5
#define Q6_K 6

float half_at(Words words, uint i) { return unpackHalf2x16(words.v[i >> 1])[i & 1]; }

vec4 signed_bytes(uint word) {
  const int w = int(word);
  return vec4(bitfieldExtract(w, 0, 8), bitfieldExtract(w, 8, 8), bitfieldExtract(w, 16, 8), bitfieldExtract(w, 24, 8));
}

vec4 nibbles(uint word) { return vec4(word & 15u, word >> 4 & 15u, word >> 8 & 15u, word >> 12 & 15u); }

uint byte_of(uvec4 words, uint i) { return words[i >> 2] >> (8 * (i & 3)) & 255u; }

// Elements 8 g to 8 g + 3 of the row, and the four after them.
void decode8(uint row, uint g, out vec4 low, out vec4 high) {
  const uint at = row * p.n_groups + g;
#if FORMAT == F32
  low = Vec4s(p.codes).v[2 * at];
  high = Vec4s(p.codes).v[2 * at + 1];
#elif FORMAT == F16
  const uvec4 w = UVec4s(p.codes).v[at];
  low = vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
  high = vec4(unpackHalf2x16(w.z), unpackHalf2x16(w.w));
#elif FORMAT == BF16
  const uvec4 w = UVec4s(p.codes).v[at];
  low = uintBitsToFloat(uvec4(w.x << 16, w.x & 0xffff0000u, w.y << 16, w.y & 0xffff0000u));
  high = uintBitsToFloat(uvec4(w.z << 16, w.z & 0xffff0000u, w.w << 16, w.w & 0xffff0000u));
#elif FORMAT == Q8_0
  const uvec2 w = UVec2s(p.codes).v[at];
  const float d = half_at(p.scales, at >> 2);
  low = d * signed_bytes(w.x);
  high = d * signed_bytes(w.y);
#elif FORMAT == Q4_0
  const uint w = p.codes.v[at];
  const float d = half_at(p.scales, at >> 2);
  low = d * (nibbles(w) - 8.0);
  high = d * (nibbles(w >> 16) - 8.0);
#elif FORMAT == Q4_K
  const uint w = p.codes.v[at];
  const uvec4 header = UVec4s(p.scales).v[at >> 5];  // d and d_min, and twelve bytes of 6-bit scales and minima
  const uint j = (at >> 2) & 7;                      // of the eight sub-blocks of 32
  uint scale, minimum;
  if (j < 4) {
    scale = byte_of(header, 4 + j) & 63u;
    minimum = byte_of(header, 8 + j) & 63u;
  } else {
    const uint low_bits = byte_of(header, 8 + j);
    scale = (low_bits & 15u) | (byte_of(header, j) >> 6 << 4);
    minimum = (low_bits >> 4) | (byte_of(header, 4 + j) >> 6 << 4);
  }
  const vec2 d = unpackHalf2x16(header.x);
  const float step = d.x * float(scale), offset = d.y * float(minimum);
  low = step * nibbles(w) - offset;
  high = step * nibbles(w >> 16) - offset;
#elif FORMAT == Q6_K
  const uint w = p.codes.v[at];                                // low four bits of each
  const uint top = p.extra.v[at >> 1] >> (16 * (at & 1));      // upper two
  const uint block = at >> 5, part = (at & 31) >> 1;           // a scale for every two groups
  const uvec4 scales = UVec4s(p.scales).v[2 * block];          // sixteen bytes; the super-block's own lies behind them
  const float d = unpackHalf2x16(UVec4s(p.scales).v[2 * block + 1].x).x * float(bitfieldExtract(int(scales[part >> 2]), int(8 * (part & 3)), 8));
  const vec4 top_low = vec4(top & 3u, top >> 2 & 3u, top >> 4 & 3u, top >> 6 & 3u);
  const vec4 top_high = vec4(top >> 8 & 3u, top >> 10 & 3u, top >> 12 & 3u, top >> 14 & 3u);
  low = d * (nibbles(w) + 16.0 * top_low - 32.0);
  high = d * (nibbles(w >> 16) + 16.0 * top_high - 32.0);
#endif
}
