/* Loads and stores of every storage format that computes in this instance's type. A format is a constant
 * wherever these are inlined, so the switch leaves one case. */

FO_INLINE vec load(fo_format format, const void *from)
{
    switch (format) {
    default: /* the compute type itself */
        return load_native(from);
    }
}

FO_INLINE void store(fo_format format, void *to, vec x)
{
    switch (format) {
    default:
        store_native(to, x);
    }
}

/* The first count elements; see simd.h. */
FO_INLINE vec load_first(fo_format format, const void *from, size_t count)
{
    switch (format) {
    default:
        return load_first_native(from, count);
    }
}

FO_INLINE void store_first(fo_format format, void *to, vec x, size_t count)
{
    switch (format) {
    default:
        store_first_native(to, x, count);
    }
}

/* WIDE elements as doubles, for the norm. */
#define WIDE (FO_VECTOR_BYTES / sizeof(double))
typedef double wide __attribute__((vector_size(FO_VECTOR_BYTES)));
typedef scalar narrow __attribute__((vector_size(FO_VECTOR_BYTES / sizeof(double) * sizeof(scalar)),
                                     aligned(sizeof(scalar)), may_alias));

/* By intrinsics: compilers convert the halves of a vector one by one and put them together again. */
FO_INLINE wide widen(fo_format format, const void *from)
{
    switch (format) {
    default:
#if FO_DOUBLE
        return *(const narrow *)from;
#elif FO_VOCABULARY == FO_AVX512
        return (wide)_mm512_cvtps_pd(_mm256_loadu_ps(from));
#elif FO_VOCABULARY == FO_AVX2
        return (wide)_mm256_cvtps_pd(_mm_loadu_ps(from));
#else
        return __builtin_convertvector(*(const narrow *)from, wide);
#endif
    }
}
