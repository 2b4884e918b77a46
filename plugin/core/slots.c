/* slots.c - lists and a hash table whose links are inside the slots: nothing but cr_slots_add can fail. */
#include "slots.h"

#include <stdlib.h>

#define FIRST_BUCKETS 64

void cr_slot_join(struct cr_slot *slot, struct cr_slot_list *list)
{
  slot->list = list;
  slot->next = NULL;
  slot->previous = list->last;
  *(list->last ? &list->last->next : &list->first) = slot;
  list->last = slot;
  list->count++;
}

void cr_slot_leave(struct cr_slot *slot)
{
  struct cr_slot_list *list = slot->list;

  if(!list) {
    return;
  }
  *(slot->previous ? &slot->previous->next : &list->first) = slot->next;
  *(slot->next ? &slot->next->previous : &list->last) = slot->previous;
  slot->next = slot->previous = NULL;
  slot->list = NULL;
  list->count--;
}

static struct cr_slot **bucket_of(const struct cr_slots *slots, int64_t id)
{
  return &slots->buckets[(size_t)id & (slots->bucket_count - 1)];
}

static void enter(struct cr_slots *slots, struct cr_slot *slot)
{
  struct cr_slot **bucket = bucket_of(slots, slot->id);
  slot->same_bucket = *bucket;
  *bucket = slot;
}

/* Numbers count upwards, so as many buckets as slots keep the chains at about one. */
static int grow(struct cr_slots *slots)
{
  struct cr_slot **old = slots->buckets, **buckets;
  size_t old_count = slots->bucket_count, count = old_count ? old_count * 2 : FIRST_BUCKETS;

  if(slots->count < old_count) {
    return 0;
  }
  buckets = calloc(count, sizeof *buckets);
  if(!buckets) {
    return -1;
  }
  slots->buckets = buckets;
  slots->bucket_count = count;
  for(size_t i = 0; i < old_count; i++) {
    while(old[i]) {
      struct cr_slot *slot = old[i];
      old[i] = slot->same_bucket;
      enter(slots, slot);
    }
  }
  free(old);
  return 0;
}

struct cr_slot *cr_slots_add(struct cr_slots *slots, struct cr_machine *machine)
{
  struct cr_slot *slot = calloc(1, sizeof *slot);

  if(!slot || grow(slots) < 0) {
    free(slot);
    return NULL;
  }
  slot->machine = machine;
  slot->id = ++slots->last_id;
  enter(slots, slot);
  slots->count++;
  return slot;
}

struct cr_slot *cr_slots_find(const struct cr_slots *slots, int64_t id)
{
  struct cr_slot *slot = id > 0 && slots->count ? *bucket_of(slots, id) : NULL;
  while(slot && slot->id != id) {
    slot = slot->same_bucket;
  }
  return slot;
}

struct cr_slot *cr_slots_any(const struct cr_slots *slots)
{
  for(size_t i = 0; slots->count && i < slots->bucket_count; i++) {
    if(slots->buckets[i]) {
      return slots->buckets[i];
    }
  }
  return NULL;
}

void cr_slots_drop(struct cr_slots *slots, struct cr_slot *slot)
{
  struct cr_slot **at = bucket_of(slots, slot->id);
  while(*at != slot) {
    at = &(*at)->same_bucket;
  }
  *at = slot->same_bucket;
  slots->count--;
  free(slot);
}

void cr_slots_free(struct cr_slots *slots)
{
  free(slots->buckets);
  slots->buckets = NULL;
  slots->bucket_count = 0;
}
