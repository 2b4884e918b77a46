/* children.h - the programs an engine has running, watched by its poller beside libcurl's sockets. */
#ifndef CR_CHILDREN_H
#define CR_CHILDREN_H

#include "poller.h"
#include "process.h"

struct cr_children {
  struct cr_process *first;
};

/* Starts one and watches it. NULL and *err. */
struct cr_process *cr_children_start(struct cr_children *children, struct cr_poller *poller,
                                     const struct cr_program *program, void *owner, int64_t mono_ms,
                                     struct cr_error *err);
/* The next one that is over: taken out and no longer watched, cr_process_free is the caller's. NULL: none is. */
struct cr_process *cr_children_ended(struct cr_children *children, struct cr_poller *poller, int64_t mono_ms);
/* Takes one out before its end, which cr_process_free then brings. */
void cr_children_drop(struct cr_children *children, struct cr_poller *poller, struct cr_process *process);
/* Whether a descriptor is one of theirs. */
bool cr_children_own(const struct cr_children *children, int fd);
/* Milliseconds until one must be looked after; -1: none runs. */
int64_t cr_children_due_in(const struct cr_children *children, int64_t mono_ms);

#endif
