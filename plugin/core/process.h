/* process.h - one program run as a child, without a shell, its output taken without blocking.
 *
 * stdin is /dev/null; stdout and stderr are pipes of ours; no other descriptor of this process is open in it. It leads
 * a session of its own: it cannot ask on the terminal (and would be stopped there), and it is killed with what
 * it started. Its end is taken note of with waitpid on its own pid only: nginx reaps every child of its workers by
 * itself, and a host may ignore SIGCHLD, so the exit status may be gone. What it leaves running in the
 * background is no matter: its own end ends the waiting. */
#ifndef CR_PROCESS_H
#define CR_PROCESS_H

#include "buffer.h"
#include "machine.h"

#include <sys/types.h>

struct cr_process {
  struct cr_process *next;       /* for whoever keeps several */
  void *owner;
  pid_t pid;
  int out, errors, ended;        /* descriptors to watch for reading; -1: none (any more). ended: a pidfd */
  int64_t deadline_mono_ms;
  size_t max_output;
  bool reaped;
  struct cr_outcome outcome;
};

/* Starts it; what the program's name has no slash in is looked for in PATH. NULL and *err (kind CREDENTIALS never:
 * INPUT "NotStarted" names the program and the reason). */
struct cr_process *cr_process_start(const struct cr_program *program, int64_t mono_ms, struct cr_error *err);
/* Takes what is there. True when it is over, one way or another: the outcome is complete then. */
bool cr_process_serve(struct cr_process *process, int64_t mono_ms);
/* When to serve it again even if no descriptor is ready. */
int64_t cr_process_due(const struct cr_process *process, int64_t mono_ms);
/* Kills it if it still runs; wipes the output. NULL is fine. */
void cr_process_free(struct cr_process *process);

#endif
