/* fuzz_answer.c - whatever a server may answer, a call comes to an end with a result or an error.
 *
 * Input: one byte (operation), one byte (status), then header lines, an empty line, and the body. */
#include "call_script.h"

#include "classify.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static const struct {
  const char *service, *operation;
  const char *const *params;
} operations[] = {
  { "cloudfront", "GetDistribution", (const char *const[]){ "Id=E1", NULL } },
  { "cloudfront", "GetDistributionConfig", (const char *const[]){ "Id=E1", NULL } },
  { "cloudfront", "ListDistributions", NULL },
  { "iam", "GetAccountSummary", NULL },
  { "iam", "DeleteServerCertificate", (const char *const[]){ "ServerCertificateName=n", NULL } },
  { "acm", "DeleteCertificate", (const char *const[]){ "CertificateArn=a", NULL } },
};
static const int statuses[] = { 200, 204, 301, 400, 403, 404, 412, 429, 500, 503 };

static void drive(struct script *s, int status, const char *headers, const char *body)
{
  for(int turn = 0; turn < 64; turn++) {
    switch(script_need(s)) {
    case CR_NEED_SEND:
      script_answer(s, status, headers, body);
      break;
    case CR_NEED_DECODE:
      script_decode(s, NULL);
      break;
    case CR_NEED_WAIT:
      script_wait(s);
      break;
    case CR_NEED_DONE:
      return;
    case CR_NEED_FAILED:
      if(s->m->error.kind == CR_KIND_NONE || !s->m->error.code[0] || !s->m->error.message[0] || s->m->result.root) {
        abort();
      }
      return;
    }
  }
  abort(); /* no end */
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
  static struct cr_account *account;
  struct script s;
  char *text, *body;

  if(size < 2 || size > 65536) {
    return 0;
  }
  if(!account) {
    account = script_account("token");
  }
  account->retry_tokens = 500;
  account->clock_offset_ms = 0;
  size_t which = data[0] % (sizeof operations / sizeof operations[0]);
  int status = statuses[data[1] % (sizeof statuses / sizeof statuses[0])];
  text = cr_memdup(data + 2, size - 2);
  cr_parse_date(text);
  body = strstr(text, "\n\n");
  if(body) {
    body[1] = '\0';
    body += 2;
  }
  if(!script_begin(&s, account, operations[which].service, operations[which].operation, operations[which].params)) {
    abort();
  }
  drive(&s, status, body ? text : "", body ? body : text);
  script_end(&s);
  free(text);
  return 0;
}
