/* durable.c - files whose content is on the disk when a call returns: journals and plans.
 *
 * Plain POSIX and Linux. A struct cr_append owns its descriptor and its lock; nothing else outlives a call. */
#include "durable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct cr_append {
  int fd;
  bool broken;          /* a write-back failed: what is on the disk is unknown */
  bool folder_synced;   /* the directory entry is on the disk */
  char path[];
};

/* GNU strerror_r: the plain one is not safe in a process with other threads. */
static int fail_errno(struct cr_error *err, const char *code, const char *what, const char *path, int number)
{
  char text[128];
  return cr_fail(err, CR_KIND_INPUT, code, "cannot %s %s: %s", what, path, strerror_r(number, text, sizeof text));
}

static int write_all(int fd, const char *text, size_t len)
{
  while(len) {
    ssize_t n = write(fd, text, len);
    if(n < 0 && errno != EINTR) {
      return -1;
    }
    if(n > 0) {
      text += n;
      len -= (size_t)n;
    }
  }
  return 0;
}

/* The folder a path lies in, as a new text. */
static char *folder_of(const char *path)
{
  const char *slash = strrchr(path, '/');

  if(!slash) {
    return cr_strdup(".");
  }
  return cr_memdup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* Makes a new name in the folder survive a power cut. Some file systems cannot (EINVAL): nothing more can be done. */
static int sync_folder(const char *path, struct cr_error *err)
{
  char *folder = folder_of(path);
  int result = 0, fd;

  if(!folder) {
    return cr_fail_memory(err);
  }
  fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if(fd < 0 || (fsync(fd) != 0 && errno != EINVAL && errno != EROFS)) {
    result = fail_errno(err, "FileUnwritable", "write back the folder", folder, errno);
  }
  if(fd >= 0) {
    close(fd);
  }
  free(folder);
  return result;
}

/* The process that holds the lock, from the system's table; 0: not known (another container's, another machine's). */
static long lock_holder(const struct stat *st)
{
  FILE *locks = fopen("/proc/locks", "re");
  char line[256];
  long holder = 0;

  if(!locks) {
    return 0;
  }
  while(!holder && fgets(line, sizeof line, locks)) {
    unsigned high, low;
    unsigned long long inode;
    char type[16];
    long pid;
    if(sscanf(line, "%*s %15s %*s %*s %ld %x:%x:%llu", type, &pid, &high, &low, &inode) == 5 &&
       strcmp(type, "FLOCK") == 0 && high == major(st->st_dev) && low == minor(st->st_dev) &&
       inode == (unsigned long long)st->st_ino && pid > 0) {
      holder = pid;
    }
  }
  fclose(locks);
  return holder;
}

static int fail_locked(struct cr_error *err, const char *path, const struct stat *st)
{
  long holder = lock_holder(st);

  if(holder) {
    return cr_fail(err, CR_KIND_CONFLICT, "Locked", "%s is in use by process %ld; wait until it ends, or stop it", path,
                   holder);
  }
  return cr_fail(err, CR_KIND_CONFLICT, "Locked", "%s is in use by another process; wait until it ends", path);
}

/* One attempt: descriptor with the lock; -1 and *err; -2 when the path got another file meanwhile. */
static int open_locked(const char *path, struct cr_error *err)
{
  struct stat opened, named;
  int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);

  if(fd < 0) {
    return fail_errno(err, "FileUnwritable", "open", path, errno);
  }
  if(fstat(fd, &opened) != 0) {
    fail_errno(err, "FileUnreadable", "examine", path, errno);
    goto fail;
  }
  if(!S_ISREG(opened.st_mode)) {
    cr_fail(err, CR_KIND_INPUT, "FileUnwritable", "%s is not a regular file", path);
    goto fail;
  }
  while(flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if(errno == EINTR) {
      continue;
    }
    if(errno == EWOULDBLOCK) {
      fail_locked(err, path, &opened);
    } else {
      fail_errno(err, "FileUnwritable", "lock", path, errno);
    }
    goto fail;
  }
  /* Renamed or removed between open and lock: the lock would be on a file nobody else can find. */
  if(stat(path, &named) != 0 || named.st_dev != opened.st_dev || named.st_ino != opened.st_ino) {
    close(fd);
    return -2;
  }
  return fd;
fail:
  close(fd);
  return -1;
}

struct cr_append *cr_append_open(const char *path, struct cr_error *err)
{
  size_t len = strlen(path);
  struct cr_append *file;
  int fd = -2;

  if(!len) {
    cr_fail(err, CR_KIND_INPUT, "FileUnwritable", "the path is empty");
    return NULL;
  }
  file = calloc(1, sizeof *file + len + 1);
  if(!file) {
    cr_fail_memory(err);
    return NULL;
  }
  memcpy(file->path, path, len + 1);
  for(int tries = 0; fd == -2 && tries < 10; tries++) {
    fd = open_locked(path, err);
  }
  if(fd < 0) {
    if(fd == -2) {
      cr_fail(err, CR_KIND_CONFLICT, "Locked", "%s is being replaced again and again by another process", path);
    }
    free(file);
    return NULL;
  }
  file->fd = fd;
  return file;
}

static int append_and_sync(struct cr_append *file, const char *text, size_t len, struct cr_error *err)
{
  struct stat st;

  if(fstat(file->fd, &st) != 0) {
    return fail_errno(err, "FileUnwritable", "examine", file->path, errno);
  }
  if(write_all(file->fd, text, len) != 0) {
    int number = errno;
    /* A full disk leaves part of a line: take it away again. */
    if(ftruncate(file->fd, st.st_size) != 0 || fdatasync(file->fd) != 0) {
      file->broken = true;
    }
    return fail_errno(err, "FileUnwritable", "write to", file->path, number);
  }
  if(fdatasync(file->fd) != 0) {
    file->broken = true;
    return fail_errno(err, "FileUnwritable", "write back", file->path, errno);
  }
  return 0;
}

int cr_append_write(struct cr_append *file, const char *text, size_t len, struct cr_error *err)
{
  if(file->broken) {
    return cr_fail(err, CR_KIND_INPUT, "FileUnwritable",
                   "an earlier write to %s failed, and what is on the disk is not known; resume from the file",
                   file->path);
  }
  if(append_and_sync(file, text, len, err) != 0) {
    return -1;
  }
  if(!file->folder_synced) {
    if(sync_folder(file->path, err) != 0) {
      file->broken = true;
      return -1;
    }
    file->folder_synced = true;
  }
  return 0;
}

int cr_append_read(struct cr_append *file, struct cr_buf *out, struct cr_error *err)
{
  char piece[16384];
  off_t at = 0;

  for(;;) {
    ssize_t n = pread(file->fd, piece, sizeof piece, at);
    if(n < 0 && errno == EINTR) {
      continue;
    }
    if(n < 0) {
      return fail_errno(err, "FileUnreadable", "read", file->path, errno);
    }
    if(n == 0) {
      return cr_buf_check(out, file->path, err);
    }
    at += n;
    if(cr_buf_add(out, piece, (size_t)n) != 0) {
      return cr_buf_check(out, file->path, err);
    }
  }
}

int cr_append_truncate(struct cr_append *file, uint64_t size, struct cr_error *err)
{
  struct stat st;
  int result;

  if(fstat(file->fd, &st) != 0) {
    return fail_errno(err, "FileUnreadable", "examine", file->path, errno);
  }
  if(size > (uint64_t)st.st_size) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "%s has %lld bytes: it cannot be cut to %llu", file->path,
                   (long long)st.st_size, (unsigned long long)size);
  }
  do {
    result = ftruncate(file->fd, (off_t)size);
  } while(result != 0 && errno == EINTR);
  if(result != 0 || fdatasync(file->fd) != 0) {
    return fail_errno(err, "FileUnwritable", "cut", file->path, errno);
  }
  return 0;
}

void cr_append_close(struct cr_append *file)
{
  if(file) {
    /* No LOCK_UN: it would take the lock from the other side of a fork as well. */
    close(file->fd);
    free(file);
  }
}

/* Written under a name of its own, then renamed: a reader sees the old file or the new one. */
static int replace_file(const char *path, const char *text, size_t len, struct cr_error *err)
{
  const char *slash = strrchr(path, '/');
  int folder = slash ? (int)(slash - path) + 1 : 0, fd = -1, result = -1;
  char *temporary = NULL;

  if(asprintf(&temporary, "%.*s.%s.XXXXXX", folder, path, path + folder) < 0) {
    return cr_fail_memory(err);
  }
  fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
  if(fd < 0) {
    fail_errno(err, "FileUnwritable", "write", path, errno);
    free(temporary);
    return -1;
  }
  if(write_all(fd, text, len) != 0 || fdatasync(fd) != 0) {
    fail_errno(err, "FileUnwritable", "write", path, errno);
    goto fail;
  }
  result = close(fd);
  fd = -1;
  if(result != 0 || rename(temporary, path) != 0) {
    result = fail_errno(err, "FileUnwritable", "write", path, errno);
    goto fail;
  }
  free(temporary);
  return sync_folder(path, err);
fail:
  if(fd >= 0) {
    close(fd);
  }
  unlink(temporary);
  free(temporary);
  return result;
}

int cr_write_file(const char *path, const char *text, size_t len, struct cr_error *err)
{
  char *target;
  int result;

  if(!path[0]) {
    return cr_fail(err, CR_KIND_INPUT, "FileUnwritable", "the path is empty");
  }
  if(strlen(path) > PATH_MAX) {
    return fail_errno(err, "FileUnwritable", "write", path, ENAMETOOLONG);
  }
  target = realpath(path, NULL);
  if(!target && errno == ENOMEM) {
    return cr_fail_memory(err);
  }
  result = replace_file(target ? target : path, text, len, err);
  free(target);
  return result;
}

char *cr_realpath(const char *path, struct cr_error *err)
{
  char *result = realpath(path, NULL);

  if(!result) {
    if(errno == ENOMEM) {
      cr_fail_memory(err);
    } else {
      fail_errno(err, "FileUnreadable", "find", path, errno);
    }
  }
  return result;
}

int cr_make_directory(const char *path, struct cr_error *err)
{
  char *copy = cr_strdup(path);
  struct stat info;
  int result = 0;

  if(!copy) {
    return cr_fail_memory(err);
  }
  for(char *slash = strchr(copy, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    (void)mkdir(copy, 0700); /* what is in the way shows in the last one */
    *slash = '/';
  }
  if(mkdir(copy, 0700) != 0 && (errno != EEXIST || stat(copy, &info) != 0)) {
    result = fail_errno(err, "FileUnwritable", "make the folder", path, errno);
  } else if(stat(copy, &info) == 0 && !S_ISDIR(info.st_mode)) {
    result = cr_fail(err, CR_KIND_INPUT, "FileUnwritable", "cannot make the folder %s: something else has that name",
                     path);
  }
  free(copy);
  return result;
}
