/* machine.c - answers, and what is common to all machines.
 *
 * An answer's buffers belong to whoever initialised it; a machine may take the body over. */
#include "call.h"
#include "machine.h"

#include <string.h>

#define BODY_MAX ((size_t)32 << 20)
#define HEADERS_MAX ((size_t)64 << 10)
#define CERTIFICATES_MAX ((size_t)1 << 20)

void cr_answer_init(struct cr_answer *answer)
{
  memset(answer, 0, sizeof *answer);
  cr_buf_init(&answer->body, BODY_MAX);
  cr_buf_init(&answer->header_text, HEADERS_MAX);
  cr_buf_init(&answer->certificates, CERTIFICATES_MAX);
}

void cr_answer_free(struct cr_answer *answer)
{
  cr_buf_free(&answer->body);
  cr_buf_free(&answer->header_text);
  cr_buf_free(&answer->certificates);
  cr_error_clear(&answer->error);
}

bool cr_answer_header(const struct cr_answer *answer, const char *name, char *out, size_t size)
{
  const char *line = cr_buf_str(&answer->header_text);
  size_t name_len = strlen(name);

  if(size) {
    out[0] = '\0';
  }
  while(*line) {
    size_t len = strcspn(line, "\n");
    if(len > name_len && line[name_len] == ':' && memcmp(line, name, name_len) == 0) {
      const char *value = line + name_len + 1;
      size_t value_len = len - name_len - 1;
      while(value_len && (*value == ' ' || *value == '\t')) {
        value++;
        value_len--;
      }
      if(size) {
        if(value_len >= size) {
          value_len = size - 1;
        }
        memcpy(out, value, value_len);
        out[value_len] = '\0';
      }
      return true;
    }
    line += len + (line[len] == '\n');
  }
  return false;
}

void cr_outcome_init(struct cr_outcome *outcome, size_t max_output, size_t max_errors)
{
  memset(outcome, 0, sizeof *outcome);
  outcome->status = -1;
  cr_buf_init(&outcome->output, max_output);
  cr_buf_init(&outcome->errors, max_errors);
}

void cr_outcome_free(struct cr_outcome *outcome)
{
  cr_buf_free(&outcome->output);
  cr_buf_free(&outcome->errors);
}

void cr_machine_free(struct cr_machine *m)
{
  if(m) {
    m->class->destroy(m);
  }
}

bool cr_machine_attempt(struct cr_machine *m, struct cr_attempt *out)
{
  return m->class->attempt && m->class->attempt(m, out);
}
