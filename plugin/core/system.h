/* system.h - clocks, terminal, permissions: the few facts of the system that Lua cannot ask for itself. */
#ifndef CR_SYSTEM_H
#define CR_SYSTEM_H

#include "base.h"

double cr_system_now(void);         /* Unix time in seconds, with fractions */
double cr_system_monotonic(void);   /* seconds since some moment; goes on while nothing else does */
/* Columns of the terminal on a descriptor; 80 when it does not say; 0 when it is no terminal. */
int cr_system_columns(int fd);
/* Permission bits of a file (0644); -1 when it cannot be looked at. */
int cr_system_mode(const char *path);

#endif
