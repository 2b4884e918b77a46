/* durable.h - files whose content is on the disk when a call returns: journals and plans.
 *
 * An append file is locked (flock) against every other process for as long as it is open: two runs on one journal
 * exclude each other. Errors are of kind INPUT (FileUnreadable, FileUnwritable), CONFLICT (Locked) or MEMORY. */
#ifndef CR_DURABLE_H
#define CR_DURABLE_H

#include "buffer.h"

#define CR_FILE_MAX ((size_t)256 << 20)   /* what cr_append_read takes into memory at most */

struct cr_append;

/* Opens, creating it with mode 0600 where it is missing. Only regular files. NULL and *err on failure. */
struct cr_append *cr_append_open(const char *path, struct cr_error *err);
/* All of it and on the disk, or -1. What a failed append may have left is cut off again where the system allows it;
 * after a failed write-back nothing is certain any more, and every later append fails until it is opened again. */
int cr_append_write(struct cr_append *file, const char *text, size_t len, struct cr_error *err);
/* The whole content as it is now, added to `out`, which must be initialised. */
int cr_append_read(struct cr_append *file, struct cr_buf *out, struct cr_error *err);
/* Cuts to `size` bytes, durably. Refuses to make the file longer. */
int cr_append_truncate(struct cr_append *file, uint64_t size, struct cr_error *err);
/* Releases the lock; NULL is fine. A process that inherited the file by fork may close its copy. */
void cr_append_close(struct cr_append *file);

/* A whole file, atomically: temporary file beside it, written back, renamed, folder written back. Mode 0600.
 * A symbolic link stays; the file it leads to is replaced. */
int cr_write_file(const char *path, const char *text, size_t len, struct cr_error *err);

/* The absolute path of an existing file, to be freed by the caller; NULL and *err. */
char *cr_realpath(const char *path, struct cr_error *err);

/* The folder and every missing one above it, mode 0700; fine when it is there already. */
int cr_make_directory(const char *path, struct cr_error *err);

#endif
