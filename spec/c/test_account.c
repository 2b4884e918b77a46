/* test_account.c - credentials and endpoints: copies, checks, references. */
#include "account.h"
#include "check.h"

static void test_services(void)
{
  for(int i = 0; i < CR_SERVICE_COUNT; i++) {
    CHECK(cr_service_by_name(cr_service_name((enum cr_service)i)) == i);
  }
  CHECK(cr_service_by_name("servicequotas") == CR_QUOTAS);
  CHECK(cr_service_by_name("ACM") == -1 && cr_service_by_name("") == -1 && cr_service_by_name(NULL) == -1);
  CHECK_STR(cr_service_name(CR_SERVICE_COUNT), "unknown");
}

static void test_credentials(struct cr_account *account)
{
  struct cr_error err;
  char secret[] = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

  CHECK(account->access_key_id == NULL && account->max_attempts == 3 && account->retry_tokens == 500.0 && account->keys);
  CHECK(cr_account_set_credentials(account, "AKID", secret, "", 0, &err) == 0);
  CHECK(account->session_token == NULL && account->secret_access_key != secret);
  /* Taking over its own values: the copies are made before the old ones go. */
  CHECK(cr_account_set_credentials(account, account->access_key_id, account->secret_access_key, "token==", 99, &err) == 0);
  CHECK_STR(account->access_key_id, "AKID");
  CHECK_STR(account->secret_access_key, secret);
  CHECK_STR(account->session_token, "token==");
  CHECK(account->expires_at == 99);
  CHECK(cr_account_set_credentials(account, "AKID", "", NULL, 0, &err) == -1 && err.kind == CR_KIND_CREDENTIALS);
  CHECK(cr_account_set_credentials(account, "", secret, NULL, 0, &err) == -1);
  CHECK_STR(err.code, "IncompleteCredentials");
  CHECK(cr_account_set_credentials(account, "AKID", "se cret\n", NULL, 0, &err) == -1);
  CHECK_STR(err.code, "InvalidCredentials");
  CHECK(strstr(err.message, "secret access key") && !strstr(err.message, "se cret"));
  CHECK(cr_account_set_credentials(account, "AKID", secret, "to\x01ken", 0, &err) == -1);
  CHECK_STR(account->session_token, "token=="); /* a refusal changes nothing */
  CHECK(cr_account_set_credentials(account, NULL, NULL, NULL, 99, &err) == 0);
  CHECK(!account->access_key_id && !account->secret_access_key && !account->session_token && account->expires_at == 0);
}

static void test_endpoints(struct cr_account *account)
{
  static const char *const bad[] = { NULL, "", "acm.us-east-1.amazonaws.com", "https://u:p@h", "https://h/?a=b", "file:///x" };
  struct cr_error err;

  CHECK(account->endpoints[CR_ACM].url == NULL);
  CHECK(cr_account_set_endpoint(account, CR_ACM, "HTTPS://ACM.US-east-1.amazonaws.com/", "us-east-1", &err) == 0);
  CHECK_STR(account->endpoints[CR_ACM].url, "https://acm.us-east-1.amazonaws.com");
  CHECK_STR(account->endpoints[CR_ACM].region, "us-east-1");
  CHECK(cr_account_set_endpoint(account, CR_ACM, "http://[::1]:8080/Prefix//", "eu-west-1", &err) == 0);
  CHECK_STR(account->endpoints[CR_ACM].url, "http://[::1]:8080/Prefix");
  CHECK_STR(account->endpoints[CR_ACM].region, "eu-west-1");
  for(size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    CHECK(cr_account_set_endpoint(account, CR_ACM, bad[i], "eu-west-1", &err) == -1 && err.kind == CR_KIND_INPUT);
  }
  CHECK(cr_account_set_endpoint(account, CR_ACM, "https://h", NULL, &err) == -1);
  CHECK(cr_account_set_endpoint(account, CR_ACM, "https://h", "us east", &err) == -1);
  CHECK(cr_account_set_endpoint(account, CR_ACM, "https://h", "us/east", &err) == -1);
  CHECK(cr_account_set_endpoint(account, CR_SERVICE_COUNT, "https://h", "us-east-1", &err) == -1);
  CHECK_STR(account->endpoints[CR_ACM].url, "http://[::1]:8080/Prefix");
}

int main(void)
{
  struct cr_error err;
  struct cr_account *account = cr_account_new(&err);
  CHECK(account != NULL);
  if(account) {
    test_services();
    test_credentials(account);
    test_endpoints(account);
    CHECK(cr_account_ref(account) == account && account->references == 2);
    cr_account_unref(account);
    CHECK(account->references == 1);
    cr_account_unref(account);
  }
  CHECK(cr_account_ref(NULL) == NULL);
  cr_account_unref(NULL);
  return check_end();
}
