/* hosts.c - seats at hosts (see hosts.h). Owns the hosts; a list of them, for there are never more than requests. */
#include "hosts.h"

#include <stdlib.h>
#include <string.h>

struct cr_host {
  struct cr_host *next;
  long taken;
  struct cr_slot_list parked;
  size_t name_len;
  char name[];                        /* "https://host:port", or the address a probe dials */
};

/* The part of a request that decides which connections can serve it. */
static const char *name_of(const struct cr_request *request, size_t *len)
{
  const char *text = request->handshake_only && request->connect_to ? request->connect_to : request->url;
  const char *slashes = strstr(text, "://"), *begin = slashes ? slashes + 3 : text;
  *len = (size_t)(begin - text) + strcspn(begin, "/?#");
  return text;
}

struct cr_host *cr_hosts_find(struct cr_hosts *hosts, const struct cr_request *request)
{
  size_t len;
  const char *name = name_of(request, &len);
  struct cr_host *host = hosts->first;

  while(host && (host->name_len != len || memcmp(host->name, name, len) != 0)) {
    host = host->next;
  }
  if(host) {
    return host;
  }
  host = calloc(1, sizeof *host + len);
  if(host) {
    memcpy(host->name, name, len);
    host->name_len = len;
    host->next = hosts->first;
    hosts->first = host;
  }
  return host;
}

bool cr_hosts_full(const struct cr_hosts *hosts)
{
  return hosts->taken >= hosts->most;
}

bool cr_host_full(const struct cr_hosts *hosts, const struct cr_host *host)
{
  return host->taken >= hosts->most_each;
}

void cr_hosts_drop_idle(struct cr_hosts *hosts, struct cr_host *host)
{
  struct cr_host **at = &hosts->first;

  if(host->taken || host->parked.count) {
    return;
  }
  while(*at != host) {
    at = &(*at)->next;
  }
  *at = host->next;
  free(host);
}

void cr_hosts_sit(struct cr_hosts *hosts, struct cr_host *host, struct cr_slot *slot)
{
  slot->host = host;
  host->taken++;
  hosts->taken++;
}

void cr_hosts_stand(struct cr_hosts *hosts, struct cr_slot *slot)
{
  struct cr_host *host = slot->host;
  slot->host = NULL;
  host->taken--;
  hosts->taken--;
  cr_hosts_drop_idle(hosts, host);
}

void cr_hosts_park(struct cr_host *host, struct cr_slot *slot)
{
  slot->host = host;
  cr_slot_join(slot, &host->parked);
}

void cr_hosts_unpark(struct cr_hosts *hosts, struct cr_slot *slot)
{
  struct cr_host *host = slot->host;
  slot->host = NULL;
  cr_slot_leave(slot);
  cr_hosts_drop_idle(hosts, host);
}

void cr_hosts_call(struct cr_hosts *hosts, struct cr_slot_list *list)
{
  struct cr_host *next;

  for(struct cr_host *host = hosts->first; host; host = next) {
    long seats = hosts->most_each - host->taken;
    next = host->next;
    while(host->parked.first && seats-- > 0) {
      struct cr_slot *slot = host->parked.first;
      cr_slot_leave(slot);
      slot->host = NULL;
      cr_slot_join(slot, list);
    }
    cr_hosts_drop_idle(hosts, host);
  }
}

void cr_hosts_free(struct cr_hosts *hosts)
{
  while(hosts->first) {
    struct cr_host *host = hosts->first;
    hosts->first = host->next;
    free(host);
  }
}
