/* system.c - clocks, terminal, permissions: the few facts of the system that Lua cannot ask for itself. */
#include "system.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double read_clock(clockid_t id)
{
  struct timespec ts = {0};

  clock_gettime(id, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

double cr_system_now(void)
{
  return read_clock(CLOCK_REALTIME);
}

double cr_system_monotonic(void)
{
  return read_clock(CLOCK_MONOTONIC);
}

int cr_system_columns(int fd)
{
  struct winsize size = {0};

  if(!isatty(fd)) {
    return 0;
  }
  if(ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
    return 80;
  }
  return size.ws_col;
}

int cr_system_mode(const char *path)
{
  struct stat about;

  return stat(path, &about) == 0 ? (int)(about.st_mode & 07777) : -1;
}
