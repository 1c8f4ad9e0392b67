/* One instruction set, given by FO_ISA, FO_VOCABULARY and FO_VECTOR_BYTES: the template for both compute
 * types. */
#define FO_COMPUTE f32
#define FO_DOUBLE 0
#include "kernel/names.h"
#include "kernel/simd.h"
#include FO_TEMPLATE
#undef FO_COMPUTE
#undef FO_DOUBLE

#define FO_COMPUTE f64
#define FO_DOUBLE 1
#include "kernel/names.h"
#include "kernel/simd.h"
#include FO_TEMPLATE
#undef FO_COMPUTE
#undef FO_DOUBLE

#undef FO_ISA
#undef FO_VOCABULARY
#undef FO_VECTOR_BYTES
