/* process.c - spawning, reading, ending (see process.h).
 *
 * Owns the descriptors and the pid. Knows no Lua and no engine. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ERRORS_MAX ((size_t)4096)
#define TIMEOUT_MS 60000
#define OUTPUT_MAX ((size_t)64 << 10)
#define LOOK_MS 20                /* between two looks at its end where the kernel has no pidfd (before 5.3) */
#define DEATH_MS 500              /* a killed process is gone at once, unless the kernel holds it */

extern char **environ;

static void close_fd(int *fd)
{
  if(*fd >= 0) {
    close(*fd);
    *fd = -1;
  }
}

static int open_pidfd(pid_t pid)
{
#ifdef SYS_pidfd_open
  return (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
#else
  (void)pid;
  return -1;
#endif
}

/* Everything a child must not inherit: signals blocked or ignored here, our terminal, our descriptors. */
static int prepare(posix_spawnattr_t *attributes, posix_spawn_file_actions_t *actions, int out, int errors)
{
  sigset_t all, none;
  int rc;

  sigemptyset(&none);
  sigfillset(&all);
  rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  rc = rc ? rc : posix_spawnattr_setsigmask(attributes, &none);
  rc = rc ? rc : posix_spawnattr_setsigdefault(attributes, &all);
  rc = rc ? rc : posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
  rc = rc ? rc : posix_spawn_file_actions_adddup2(actions, out, 1);
  rc = rc ? rc : posix_spawn_file_actions_adddup2(actions, errors, 2);
#if defined __GLIBC__ && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 34)
  /* The host's own files and sockets may be without close-on-exec. */
  rc = rc ? rc : posix_spawn_file_actions_addclosefrom_np(actions, 3);
#endif
  return rc;
}

/* 0 or an errno. */
static int spawn(struct cr_process *process, char *const *arguments, int out, int errors)
{
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  int rc = posix_spawnattr_init(&attributes);

  if(rc) {
    return rc;
  }
  rc = posix_spawn_file_actions_init(&actions);
  if(rc == 0) {
    rc = prepare(&attributes, &actions, out, errors);
    rc = rc ? rc : posix_spawnp(&process->pid, arguments[0], &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
  }
  posix_spawnattr_destroy(&attributes);
  return rc;
}

/* The reading end does not block; a number below 3 would be closed by its own dup2 in the child. */
static int make_pipe(int *ours, int *theirs)
{
  int ends[2], high;

  if(pipe2(ends, O_CLOEXEC) < 0) {
    return errno;
  }
  *ours = ends[0];
  high = fcntl(ends[1], F_DUPFD_CLOEXEC, 3);
  close(ends[1]);
  *theirs = high;
  return high < 0 || fcntl(*ours, F_SETFL, O_NONBLOCK) < 0 ? errno : 0;
}

struct cr_process *cr_process_start(const struct cr_program *program, int64_t mono_ms, struct cr_error *err)
{
  struct cr_process *process = calloc(1, sizeof *process);
  int out = -1, errors = -1, rc;

  if(!process) {
    cr_fail_memory(err);
    return NULL;
  }
  process->out = process->errors = process->ended = -1;
  process->reaped = true;
  process->max_output = program->max_output ? program->max_output : OUTPUT_MAX;
  process->deadline_mono_ms = mono_ms + (program->timeout_ms ? program->timeout_ms : TIMEOUT_MS);
  cr_outcome_init(&process->outcome, process->max_output, ERRORS_MAX);
  rc = make_pipe(&process->out, &out);
  rc = rc ? rc : make_pipe(&process->errors, &errors);
  rc = rc ? rc : spawn(process, program->arguments, out, errors);
  close_fd(&out);
  close_fd(&errors);
  if(rc) {
    cr_fail(err, CR_KIND_INPUT, "NotStarted", "\"%.200s\" cannot be started: %s", program->arguments[0], strerror(rc));
    cr_process_free(process);
    return NULL;
  }
  process->reaped = false;
  process->ended = program->without_pidfd ? -1 : open_pidfd(process->pid);
  return process;
}

/* Reads until there is nothing now. Beyond the limit: false, and what is kept is only the beginning. */
static bool drain(int *fd, struct cr_buf *into)
{
  char piece[4096];
  bool fits = true;

  while(*fd >= 0) {
    ssize_t got = read(*fd, piece, sizeof piece);
    if(got > 0) {
      size_t room = into->max - into->len;
      fits = fits && (size_t)got <= room;
      cr_buf_add(into, piece, (size_t)got < room ? (size_t)got : room);
      continue;
    }
    if(got < 0 && errno == EINTR) {
      continue;
    }
    if(got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
      close_fd(fd);
    }
    break;
  }
  cr_wipe(piece, sizeof piece);
  return fits;
}

/* True once it has ended. */
static bool reap(struct cr_process *process)
{
  int status = 0;
  pid_t pid;

  if(process->reaped) {
    return true;
  }
  do {
    pid = waitpid(process->pid, &status, WNOHANG);
  } while(pid < 0 && errno == EINTR);
  if(pid == 0) {
    return false;
  }
  process->reaped = true;
  if(pid == process->pid && WIFEXITED(status)) {
    process->outcome.status = WEXITSTATUS(status);
  } else if(pid == process->pid && WIFSIGNALED(status)) {
    process->outcome.signal = WTERMSIG(status);
  } /* else ECHILD: the host was quicker, and nobody knows how it ended */
  return true;
}

/* The pid is ours until it is reaped, so nobody else's group is hit. */
static void kill_group(struct cr_process *process)
{
  if(reap(process)) {
    return;
  }
  kill(-process->pid, SIGKILL);
  kill(process->pid, SIGKILL);
  for(int waited = 0; !reap(process) && waited < DEATH_MS; waited += 5) {
    struct pollfd fd = { .fd = process->ended, .events = POLLIN };
    poll(&fd, process->ended >= 0 ? 1 : 0, 5);
  }
}

static void give_up(struct cr_process *process, const char *code, const char *why)
{
  kill_group(process);
  cr_buf_free(&process->outcome.output);
  cr_fail(&process->outcome.error, strcmp(code, "ProcessTimeout") == 0 ? CR_KIND_TIMEOUT : CR_KIND_INPUT, code, "%s",
          why);
}

bool cr_process_serve(struct cr_process *process, int64_t mono_ms)
{
  struct cr_outcome *outcome = &process->outcome;
  bool over = reap(process); /* before reading: what it wrote is in the pipe then */

  if(!drain(&process->out, &outcome->output)) {
    give_up(process, "TooMuchOutput", "it prints more than such a program has to say");
    return true;
  }
  drain(&process->errors, &outcome->errors);
  if(over) {
    if(outcome->output.state != CR_BUF_FINE) {
      cr_fail_memory(&outcome->error);
    }
    return true;
  }
  if(mono_ms >= process->deadline_mono_ms) {
    give_up(process, "ProcessTimeout", "it did not end in time");
    return true;
  }
  return false;
}

int64_t cr_process_due(const struct cr_process *process, int64_t mono_ms)
{
  int64_t look = mono_ms + LOOK_MS;
  return process->ended >= 0 || process->deadline_mono_ms < look ? process->deadline_mono_ms : look;
}

void cr_process_free(struct cr_process *process)
{
  if(!process) {
    return;
  }
  kill_group(process);
  close_fd(&process->out);
  close_fd(&process->errors);
  close_fd(&process->ended);
  cr_outcome_free(&process->outcome);
  free(process);
}
