/* children.c - a list of running programs (see children.h). They are few: one a renewal of credentials. */
#include "children.h"

static void watch(struct cr_poller *poller, const struct cr_process *process, bool on)
{
  const int fds[] = { process->out, process->errors, process->ended };
  for(size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
    if(fds[i] >= 0) {
      cr_poller_watch(poller, fds[i], on, false);
    }
  }
}

struct cr_process *cr_children_start(struct cr_children *children, struct cr_poller *poller,
                                     const struct cr_program *program, void *owner, int64_t mono_ms,
                                     struct cr_error *err)
{
  struct cr_process *process = cr_process_start(program, mono_ms, err);

  if(process) {
    process->owner = owner;
    process->next = children->first;
    children->first = process;
    watch(poller, process, true);
  }
  return process;
}

void cr_children_drop(struct cr_children *children, struct cr_poller *poller, struct cr_process *process)
{
  struct cr_process **at = &children->first;

  while(*at != process) {
    at = &(*at)->next;
  }
  *at = process->next;
  watch(poller, process, false);
}

struct cr_process *cr_children_ended(struct cr_children *children, struct cr_poller *poller, int64_t mono_ms)
{
  for(struct cr_process *process = children->first; process; process = process->next) {
    if(cr_process_serve(process, mono_ms)) { /* a pipe it closes leaves the poller by itself */
      cr_children_drop(children, poller, process);
      return process;
    }
  }
  return NULL;
}

bool cr_children_own(const struct cr_children *children, int fd)
{
  for(const struct cr_process *process = children->first; process; process = process->next) {
    if(fd == process->out || fd == process->errors || fd == process->ended) {
      return true;
    }
  }
  return false;
}

int64_t cr_children_due_in(const struct cr_children *children, int64_t mono_ms)
{
  int64_t due = -1;

  for(const struct cr_process *process = children->first; process; process = process->next) {
    int64_t in = cr_process_due(process, mono_ms) - mono_ms;
    in = in < 0 ? 0 : in;
    due = due < 0 || in < due ? in : due;
  }
  return due;
}
