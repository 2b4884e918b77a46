/* baseline_listing.c - what a listing costs at least: libcurl fetches the pages, expat reads them with empty handlers.
 *
 * baseline_listing URL... : prints wall seconds, CPU seconds and bytes of one pass over one connection. */
#include <curl/curl.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

struct pass {
  XML_Parser parser;
  size_t bytes;
};

static void XMLCALL start_element(void *user, const XML_Char *name, const XML_Char **attributes)
{
  (void)user;
  (void)name;
  (void)attributes;
}

static void XMLCALL end_element(void *user, const XML_Char *name)
{
  (void)user;
  (void)name;
}

static void XMLCALL character_data(void *user, const XML_Char *text, int len)
{
  (void)user;
  (void)text;
  (void)len;
}

static size_t write_body(char *data, size_t size, size_t count, void *user)
{
  struct pass *pass = user;

  pass->bytes += size * count;
  if(XML_Parse(pass->parser, data, (int)(size * count), 0) == XML_STATUS_ERROR) {
    return 0;
  }
  return size * count;
}

static double wall(void)
{
  struct timespec ts;

  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double cpu(void)
{
  struct rusage usage;

  getrusage(RUSAGE_SELF, &usage);
  return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 + (double)usage.ru_stime.tv_sec +
         (double)usage.ru_stime.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
  struct pass pass = {0};
  CURL *easy;
  double wall_begin, cpu_begin;
  int rc = 1;

  if(curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(easy = curl_easy_init())) {
    return 1;
  }
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, write_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &pass);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
  wall_begin = wall();
  cpu_begin = cpu();
  for(int i = 1; i < argc; i++) {
    CURLcode result;

    pass.parser = XML_ParserCreate(NULL);
    if(!pass.parser) {
      goto fail;
    }
    XML_SetElementHandler(pass.parser, start_element, end_element);
    XML_SetCharacterDataHandler(pass.parser, character_data);
    curl_easy_setopt(easy, CURLOPT_URL, argv[i]);
    result = curl_easy_perform(easy);
    if(result != CURLE_OK || XML_Parse(pass.parser, "", 0, 1) == XML_STATUS_ERROR) {
      fprintf(stderr, "%s: %s\n", argv[i], curl_easy_strerror(result));
      XML_ParserFree(pass.parser);
      goto fail;
    }
    XML_ParserFree(pass.parser);
  }
  printf("%.6f %.6f %zu\n", wall() - wall_begin, cpu() - cpu_begin, pass.bytes);
  rc = 0;
fail:
  curl_easy_cleanup(easy);
  return rc;
}
