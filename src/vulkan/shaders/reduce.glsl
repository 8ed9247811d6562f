// Sums and maxima over a workgroup of up to 256 invocations, in subgroups of 4 or more; all invocations get the result.
shared float reduce_parts[64];

float workgroup_sum(float x) {
  x = subgroupAdd(x);
  if (subgroupElect()) reduce_parts[gl_SubgroupID] = x;
  barrier();
  float sum = 0.0;
  for (uint i = 0; i < gl_NumSubgroups; ++i) sum += reduce_parts[i];
  barrier();
  return sum;
}

float workgroup_max(float x) {
  x = subgroupMax(x);
  if (subgroupElect()) reduce_parts[gl_SubgroupID] = x;
  barrier();
  float largest = reduce_parts[0];
  for (uint i = 1; i < gl_NumSubgroups; ++i) largest = max(largest, reduce_parts[i]);
  barrier();
  return largest;
}
