/* step_import_iam.c - import into IAM, where the name is unique and thus tells whether it is there already.
 *
 * GetServerCertificate by name, compare, upload when there is none. A name that holds anything else is a conflict:
 * nothing is overwritten, nothing renamed. */
#include "step_import.h"

#include <string.h>

static void look(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                 const struct cr_error *failure);

static void conflict(struct cr_import *import, const char *what)
{
  struct cr_error err;
  cr_fail(&err, CR_KIND_CONFLICT, "EntityAlreadyExists",
          "the IAM server certificate '%s' %s; choose another name or delete that one", import->name, what);
  cr_step_fail(&import->step, &err);
}

static void uploaded(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                     const struct cr_error *failure)
{
  struct cr_import *import = cr_import_of(step);
  const struct cr_node *metadata = cr_get(answer, "ServerCertificateMetadata");
  if(!failure) {
    cr_import_done(import, cr_get_text(metadata, "ServerCertificateId"), cr_get_text(metadata, "Arn"), false);
  } else if(failure->ambiguous || cr_step_code(failure, "EntityAlreadyExists")) {
    /* Our own upload, most likely, or somebody's of the same name: IAM shows it sooner or later. */
    cr_import_lost(import, now, failure);
    look(step, now, NULL, NULL);
  } else if(!cr_import_busy(import, now, failure, look)) {
    cr_step_fail_cause(step, failure, NULL);
  }
}

static void upload(struct cr_import *import)
{
  struct cr_step *step = &import->step;
  struct cr_tree *tree = &step->call_params;
  struct cr_node *params = cr_step_params(step);
  const struct cr_node *tags = cr_get(step->params.root, "tags");
  bool fine = params && cr_add_text(tree, params, "ServerCertificateName", import->name) &&
              cr_add_text(tree, params, "Path", import->path);
  /* No tags of our own: the name says it all, and tagging takes one more permission. */
  if(fine && tags && tags->count > 0) {
    struct cr_node *list = cr_node_add(tree, params, "Tags", CR_NODE_LIST);
    fine = list != NULL;
    for(const struct cr_node *given = tags->first; fine && given; given = given->next) {
      struct cr_node *tag = cr_node_add(tree, list, NULL, CR_NODE_MAP);
      fine = tag && cr_add_text(tree, tag, "Key", given->name) && cr_add_text(tree, tag, "Value", given->text);
    }
  }
  if(!fine) {
    cr_step_fail_memory(step);
    return;
  }
  import->tries++;
  cr_step_send(step, uploaded, "iam", "UploadServerCertificate", NULL, true);
}

static void none_there(struct cr_import *import, const struct cr_moment *now)
{
  int64_t pause = cr_import_pause(import, now);
  if(pause >= 0) {
    cr_step_wait(&import->step, now, pause, look);
  } else if(import->tries >= CR_IMPORT_TRIES) {
    cr_step_fail_cause(&import->step, &import->lost, NULL);
  } else {
    upload(import);   /* cannot make a second one: the name is unique */
  }
}

static void looked(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                   const struct cr_error *failure)
{
  struct cr_import *import = cr_import_of(step);
  const struct cr_node *held = cr_get(answer, "ServerCertificate");
  const struct cr_node *metadata = cr_get(held, "ServerCertificateMetadata");
  const char *path = cr_get_text(metadata, "Path");
  if(failure && cr_step_code(failure, "NoSuchEntity")) {
    none_there(import, now);
    return;
  }
  if(failure) {
    cr_step_fail_cause(step, failure, NULL);
    return;
  }
  step->machine.unsure = false; /* the name is taken: by our upload or, which is told below, by another */
  switch(cr_import_compare(step->identity, cr_get_text(held, "CertificateBody"),
                           cr_get_text(held, "CertificateChain"))) {
  case CR_COMPARED_OTHER:
    conflict(import, "holds another certificate");
    return;
  case CR_COMPARED_OTHER_CHAIN:
    conflict(import, "holds this certificate with another chain");
    return;
  case CR_COMPARED_SAME:
    break;
  }
  if(!path || strncmp(path, "/cloudfront/", 12) != 0) {
    conflict(import, "holds this certificate below a path other than /cloudfront/, where CloudFront cannot use it");
    return;
  }
  cr_import_done(import, cr_get_text(metadata, "ServerCertificateId"), cr_get_text(metadata, "Arn"), true);
}

static void look(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                 const struct cr_error *failure)
{
  (void)now, (void)answer, (void)failure;
  cr_step_call(step, looked, "iam", "GetServerCertificate", "ServerCertificateName", cr_import_of(step)->name,
               (char *)NULL);
}

void cr_import_iam(struct cr_step *step, const struct cr_moment *now)
{
  look(step, now, NULL, NULL);
}
