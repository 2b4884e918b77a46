/* step_import.h - what the import step's two stores share; private to step_import*.c.
 *
 * step_import.c      parameters, the derived name, comparing what a store holds with the identity, the result
 * step_import_acm.c  finding by fingerprint, ImportCertificate
 * step_import_iam.c  finding by name, UploadServerCertificate */
#ifndef CR_STEP_IMPORT_H
#define CR_STEP_IMPORT_H

#include "step_private.h"

#define CR_IMPORT_NAME_MAX 128
#define CR_IMPORT_TRIES 3            /* writes whose answers may get lost */

/* A certificate in ACM that may be ours. */
struct cr_candidate {
  char *arn;               /* owned */
  int64_t created;         /* CreatedAt or ImportedAt, 0 when unknown */
  bool same;               /* holds exactly our certificates */
  bool tagged;             /* and our fingerprint as a tag */
};

struct cr_import {
  struct cr_step step;
  const char *store, *path;            /* in step.params, or constants */
  char name[CR_IMPORT_NAME_MAX + 1];
  bool attempted;                      /* by an earlier run, or by us and the answer got lost */
  int64_t patience_ms;
  int tries;                           /* writes sent */
  int64_t search_until;                /* monotonic; 0: search once */
  int search_round, busy_round;
  struct cr_error lost;                /* the failure that left us unsure */
  /* ACM */
  struct cr_candidate *candidates;
  size_t count, capacity, cursor;
  char *token;                         /* NextToken of the page asked for */
  int pages;
};

struct cr_import *cr_import_of(struct cr_step *step);
void cr_import_acm(struct cr_step *step, const struct cr_moment *now);
void cr_import_iam(struct cr_step *step, const struct cr_moment *now);

/* Whether the PEM texts a store answered are the identity's leaf and its chain, in order, and nothing else. */
enum cr_compared { CR_COMPARED_SAME, CR_COMPARED_OTHER_CHAIN, CR_COMPARED_OTHER };
enum cr_compared cr_import_compare(const struct cr_identity *identity, const char *certificate, const char *chain);

/* How long to wait before searching once more, or -1 when the patience is used up. */
int64_t cr_import_pause(struct cr_import *import, const struct cr_moment *now);
/* The write's answer is lost: begins a time of searching. */
void cr_import_lost(struct cr_import *import, const struct cr_moment *now, const struct cr_error *failure);
/* The write was refused for lack of time (throttled): waits and goes on with `then`. false: some other failure. */
bool cr_import_busy(struct cr_import *import, const struct cr_moment *now, const struct cr_error *failure,
                    CR_STEP_THEN(then));
/* Ends the step. */
void cr_import_done(struct cr_import *import, const char *reference, const char *arn, bool adopted);

#endif
