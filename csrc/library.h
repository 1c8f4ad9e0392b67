/* Internal. */
#ifndef FO_LIBRARY_H
#define FO_LIBRARY_H

#include "fastopt.h"

/* Whether the compiled loops gave the bits of IEEE arithmetic when the library was loaded. */
int fo_is_sound(void);

/* Whether a rule's hyper-parameter may have the value. */
int fo_is_in_domain(const fo_hyper_entry *entry, double value);

#endif
