/* slots.h - where an engine keeps its machines: by number, and in lists by what they wait for.
 *
 * A slot is in at most one list. Pure: knows nothing of libcurl and asks machines nothing. */
#ifndef CR_SLOTS_H
#define CR_SLOTS_H

#include "machine.h"
#include "schedule.h"

struct cr_slot {
  struct cr_due due;                  /* first: a schedule hands it back as the slot */
  struct cr_slot *next, *previous;
  struct cr_slot_list *list;          /* NULL: in transfer or scheduled */
  struct cr_slot *same_bucket;
  int64_t id;
  struct cr_machine *machine;         /* owned by whoever fills the slot */
  struct cr_transfer *transfer;
  struct cr_process *process;         /* the program it has running */
  struct cr_host *host;               /* where the transfer goes, or where it waits for a seat */
  const char *json;                   /* to be decoded */
  size_t json_len;
  struct cr_tree *into;
};

struct cr_slot_list {
  struct cr_slot *first, *last;
  size_t count;
};

struct cr_slots {
  struct cr_slot **buckets;
  size_t bucket_count, count;
  int64_t last_id;
};

void cr_slot_join(struct cr_slot *slot, struct cr_slot_list *list);   /* at the end; the slot is in none */
void cr_slot_leave(struct cr_slot *slot);                             /* fine when it is in none */

/* A new slot with the next number (> 0). NULL: no memory. */
struct cr_slot *cr_slots_add(struct cr_slots *slots, struct cr_machine *machine);
struct cr_slot *cr_slots_find(const struct cr_slots *slots, int64_t id);   /* NULL: unknown */
struct cr_slot *cr_slots_any(const struct cr_slots *slots);                /* NULL when empty */
void cr_slots_drop(struct cr_slots *slots, struct cr_slot *slot);          /* frees the slot; it is in no list */
void cr_slots_free(struct cr_slots *slots);                                /* must be empty */

#endif
