/* The instruction sets that loops are compiled for, and which one is in use. Internal. */
#ifndef FO_ISA_H
#define FO_ISA_H

#include <stddef.h>

/* On Windows GCC does not align the stack for the wider vectors (its bug 54412), so it compiles none of them.
 * Clang does. With FO_BASELINE_ONLY there is one instance of everything, which compiles in a fraction of the time
 * and has the same bits: for tests of what does not depend on the instruction set. */
#if defined(__x86_64__) && !defined(FO_BASELINE_ONLY) &&                                           \
    !(defined(_WIN32) && defined(__GNUC__) && !defined(__clang__))
#define FO_HAS_AVX 1
#else
#define FO_HAS_AVX 0
#endif

typedef enum fo_isa_index {
    FO_ISA_BASELINE,
    FO_ISA_AVX2,
    FO_ISA_AVX512,
    FO_ISA_NEON,
    FO_ISA_COUNT
} fo_isa_index;

/* Finds out what the CPU and the system can run, and chooses the wanted one, or the best if wanted is NULL. If
 * they cannot run the wanted one, it chooses the best and writes a sentence to error. Called once, when the
 * library is loaded. */
void fo_isa_choose(const char *wanted, char *error, size_t size);

fo_isa_index fo_isa_in_use(void);

#endif
