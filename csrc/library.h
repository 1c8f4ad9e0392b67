/* Internal. */
#ifndef FO_LIBRARY_H
#define FO_LIBRARY_H

#include "fastopt.h"

/* Whether the compiled loops gave the bits of IEEE arithmetic when the library was loaded. */
int fo_is_sound(void);

/* Whether a caller who was compiled with the header of that FO_ABI can be served. */
static inline fo_status fo_check_caller(uint64_t abi)
{
    if (abi != FO_ABI)
        return FO_BAD_VERSION;
    return fo_is_sound() ? FO_OK : FO_BAD_BUILD;
}

#endif
