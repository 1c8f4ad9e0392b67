/* One instruction set, given by FO_ISA, FO_VOCABULARY and FO_VECTOR_BYTES: the template for both compute
 * types. FO_OF_f32(x) and FO_OF_f64(x) are x where that is the compute type, and nothing otherwise: they
 * select rows of formats.def. */
#define FO_COMPUTE f32
#define FO_DOUBLE 0
#define FO_OF_f32(...) __VA_ARGS__
#define FO_OF_f64(...)
#include "kernel/names.h"
#include "kernel/simd.h"
#include "kernel/formats.h"
#include "kernel/rounding.h"
#include FO_TEMPLATE
#undef FO_COMPUTE
#undef FO_DOUBLE
#undef FO_OF_f32
#undef FO_OF_f64

#define FO_COMPUTE f64
#define FO_DOUBLE 1
#define FO_OF_f32(...)
#define FO_OF_f64(...) __VA_ARGS__
#include "kernel/names.h"
#include "kernel/simd.h"
#include "kernel/formats.h"
#include FO_TEMPLATE
#undef FO_COMPUTE
#undef FO_DOUBLE
#undef FO_OF_f32
#undef FO_OF_f64

#undef FO_ISA
#undef FO_VOCABULARY
#undef FO_VECTOR_BYTES
