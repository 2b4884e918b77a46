/* program.c - a program as a machine: asked for once, its outcome handed on (see call.h).
 *
 * Owns copies of the arguments and what was printed; both may be secret and are wiped. */
#include "call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAMS_MAX ((size_t)1 << 20)
#define RESULT_MAX ((size_t)4 << 20)
#define OUTPUT_LIMIT ((int64_t)1 << 20)
#define SECONDS_MAX 3600.0

struct program {
  struct cr_machine machine;
  struct cr_tree params;
  char **arguments;              /* into params */
  struct cr_program request;
  enum cr_need state;            /* RUN until it has run, then DONE or FAILED */
};

static enum cr_need next(struct cr_machine *m, const struct cr_moment *now, struct cr_want *want)
{
  struct program *program = (struct program *)m;
  (void)now;
  want->program = &program->request;
  return program->state;
}

static void answered(struct cr_machine *m, const struct cr_moment *now, struct cr_answer *answer)
{
  (void)m;
  (void)now;
  (void)answer; /* sends nothing */
}

static int make_result(struct cr_tree *tree, const struct cr_outcome *outcome)
{
  struct cr_node *root = cr_node_add(tree, NULL, NULL, CR_NODE_MAP);

  if(!root || !cr_add_textn(tree, root, "output", cr_buf_str(&outcome->output), outcome->output.len) ||
     !cr_add_textn(tree, root, "errors", cr_buf_str(&outcome->errors), outcome->errors.len) ||
     (outcome->status >= 0 && !cr_add_int(tree, root, "status", outcome->status)) ||
     (outcome->signal && !cr_add_int(tree, root, "signal", outcome->signal))) {
    return -1;
  }
  return 0;
}

static void ran(struct cr_machine *m, const struct cr_moment *now, struct cr_outcome *outcome)
{
  struct program *program = (struct program *)m;
  (void)now;

  program->state = CR_NEED_DONE;
  if(outcome->error.kind != CR_KIND_NONE) {
    m->error = outcome->error;
    program->state = CR_NEED_FAILED;
  } else if(make_result(&m->result, outcome) < 0) {
    cr_tree_free(&m->result);
    cr_fail_memory(&m->error);
    program->state = CR_NEED_FAILED;
  }
  memcpy(m->error.operation, m->operation, sizeof m->error.operation);
}

static void decoded(struct cr_machine *m, const struct cr_error *failure)
{
  (void)m;
  (void)failure;
}

static void destroy(struct cr_machine *m)
{
  struct program *program = (struct program *)m;
  cr_tree_free(&m->result);
  cr_tree_free(&program->params);
  free(program->arguments);
  free(program);
}

static const struct cr_machine_class program_class = {
  .name = "program",
  .next = next,
  .answered = answered,
  .decoded = decoded,
  .ran = ran,
  .destroy = destroy,
};

static int bad(struct cr_error *err, const char *what)
{
  return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "program: %s", what);
}

static int set_up(struct program *program, const struct cr_node *params, struct cr_error *err)
{
  const struct cr_node *copy = params ? cr_node_copy(&program->params, NULL, NULL, params) : NULL, *list;
  double seconds = cr_get_number(copy, "timeout", 60);
  int64_t most = cr_get_int(copy, "max_output", 0);
  size_t count = 0;

  if(params && !copy) {
    return cr_fail_memory(err);
  }
  list = cr_get(copy, "arguments");
  if(!list || list->type != CR_NODE_LIST || !list->count) {
    return bad(err, "arguments must be a list that begins with the program");
  }
  if(!(seconds > 0 && seconds <= SECONDS_MAX) || most < 0 || most > OUTPUT_LIMIT) {
    return bad(err, "timeout must be seconds up to an hour, max_output bytes up to 1 MiB");
  }
  program->arguments = calloc(list->count + 1, sizeof *program->arguments);
  if(!program->arguments) {
    return cr_fail_memory(err);
  }
  for(const struct cr_node *node = list->first; node; node = node->next) {
    char *text;
    if(node->type != CR_NODE_TEXT || strlen(node->text) != node->len) {
      return bad(err, "arguments are strings without NUL bytes");
    }
    text = cr_tree_text(&program->params, node->text, node->len); /* argv is not const */
    if(!text) {
      return cr_fail_memory(err);
    }
    program->arguments[count++] = text;
  }
  program->request.arguments = program->arguments;
  program->request.timeout_ms = (int64_t)(seconds * 1000) + 1;
  program->request.max_output = (size_t)most;
  program->request.without_pidfd = cr_get_bool(copy, "without_pidfd", false);
  return 0;
}

struct cr_machine *cr_program_new(const struct cr_node *params, struct cr_error *err)
{
  struct program *program = calloc(1, sizeof *program);

  if(!program) {
    cr_fail_memory(err);
    return NULL;
  }
  program->machine.class = &program_class;
  program->state = CR_NEED_RUN;
  snprintf(program->machine.operation, sizeof program->machine.operation, "program");
  cr_tree_init(&program->machine.result, RESULT_MAX);
  cr_tree_init(&program->params, PARAMS_MAX);
  if(set_up(program, params, err) < 0) {
    destroy(&program->machine);
    return NULL;
  }
  return &program->machine;
}
