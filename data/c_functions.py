"""The C99 functions that a preprocessing.c is put together from."""

from __future__ import annotations

IS_MISSING = """/* By its bits, for isnan() is always false where a compiler assumes finite numbers (-ffast-math). */
static int is_missing(const float *value) {
  uint32_t bits;
  memcpy(&bits, value, sizeof bits);
  return (bits & 0x7fffffffu) > 0x7f800000u;
}

"""

SIGNED_LOG = """/* sign(value - center) * log(1 + |value - center| / unit) */
static float signed_log(float value, float center, float unit) {
  const float distance = value - center;
  return copysignf(log1pf(fabsf(distance) / unit), distance);
}

"""

STANDARDIZE = """static float standardize(float value, float mean, float scale, float clip) {
  const float standardized = (value - mean) / scale;
  if (standardized > clip) {
    return clip;
  }
  return standardized < -clip ? -clip : standardized;
}

"""

ENCODE_BINS = """static void encode_bins(float value, const float *edges, int bins, float *input) {
  int bin;
  for (bin = 0; bin < bins; ++bin) {
    const float part = (value - edges[bin]) / (edges[bin + 1] - edges[bin]);
    input[bin] = part > 1.0f ? 1.0f : part > 0.0f ? part : 0.0f;
  }
}

"""

ENCODE_CATEGORY = """static void encode_category(
    const float *raw, int count, int slots, const float *unseen, const float *missing, float *input) {
  int slot;
  if (is_missing(raw)) {
    memcpy(input, missing, (size_t)slots * sizeof *input);
    return;
  }
  for (slot = 0; slot < slots; ++slot) {
    if (*raw >= 0.0f && *raw < (float)count) {
      input[slot] = slot == (int)*raw ? 1.0f : 0.0f;
    } else {
      input[slot] = unseen[slot];
    }
  }
}

"""

FIND_CATEGORY = """static float find_category(const char *const *categories, int count, const char *category) {
  int position;
  for (position = 0; position < count; ++position) {
    if (strcmp(categories[position], category) == 0) {
      return (float)position;
    }
  }
  return PENJING_UNSEEN_CATEGORY;
}

"""
