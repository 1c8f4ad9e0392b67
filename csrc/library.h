/* Internal. */
#ifndef FO_LIBRARY_H
#define FO_LIBRARY_H

/* Whether the compiled loops gave the bits of IEEE arithmetic when the library was loaded. */
int fo_is_sound(void);

#endif
