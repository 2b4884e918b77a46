/* baseline_load.c - a process that loads libcurl, initialises it and ends. */
#include <curl/curl.h>

int main(void)
{
  return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : 1;
}
