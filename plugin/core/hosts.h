/* hosts.h - how many requests are on their way, in all and to each host, and who waits for a seat.
 *
 * Seats are given out here rather than inside libcurl: a request that waits there is signed already and its time
 * limit runs. Pure. */
#ifndef CR_HOSTS_H
#define CR_HOSTS_H

#include "slots.h"

struct cr_hosts {
  struct cr_host *first;
  long most, most_each;               /* seats in all, and at one host */
  long taken;
};

/* The host a request goes to, remembered until nobody needs it. NULL: no memory. */
struct cr_host *cr_hosts_find(struct cr_hosts *hosts, const struct cr_request *request);
bool cr_hosts_full(const struct cr_hosts *hosts);
bool cr_host_full(const struct cr_hosts *hosts, const struct cr_host *host);

void cr_hosts_sit(struct cr_hosts *hosts, struct cr_host *host, struct cr_slot *slot);   /* takes a seat */
void cr_hosts_stand(struct cr_hosts *hosts, struct cr_slot *slot);                       /* gives it back */
void cr_hosts_park(struct cr_host *host, struct cr_slot *slot);                          /* waits for a seat */
void cr_hosts_unpark(struct cr_hosts *hosts, struct cr_slot *slot);                      /* waits no longer */

/* Those for whom there is a seat go from where they wait to `list`. To be called again and again: one that was called
 * may be cancelled or want something else by now, and the next must have its turn. */
void cr_hosts_call(struct cr_hosts *hosts, struct cr_slot_list *list);
/* Forgets a host that nobody talks to or waits for. */
void cr_hosts_drop_idle(struct cr_hosts *hosts, struct cr_host *host);
void cr_hosts_free(struct cr_hosts *hosts);

#endif
