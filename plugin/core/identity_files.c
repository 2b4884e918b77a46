/* identity_files.c - a file, or a text in memory, read into the certificates and private keys it holds.
 *
 * POSIX reading instead of stdio, whose buffer would keep the key. What is found belongs to struct cr_material;
 * whatever may hold secrets is a struct cr_buf. */
#include "identity_private.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pem.h"

#define READ_STEP 8192
#define PIPE_WAIT_MS 10000

bool cr_input_given(const struct cr_input *input)
{
  return input->path || input->text;
}

const char *cr_input_name(struct cr_shown *shown, const struct cr_input *input)
{
  return cr_show_path(shown, input->path ? input->path : input->what);
}

static int unreadable(const char *from, int number, struct cr_error *err)
{
  char text[128];
  const char *why = strerror_r(number, text, sizeof text); /* GNU's: may return a text of its own */
  const char *hint = number == ENOENT ? "check the path"
                   : number == EACCES ? "run as a user that may read it, or change its mode"
                   : "check the file";
  return cr_fail(err, CR_KIND_INPUT, "FileUnreadable", "cannot read %s (%s): %s", from, why, hint);
}

/* Regular files and pipes ("<(command)" in a shell). A terminal or a device would wait for ever or never end. */
static int check_kind(int fd, const char *from, bool *pipe, struct cr_error *err)
{
  struct stat info;

  if(fstat(fd, &info) < 0) {
    return unreadable(from, errno, err);
  }
  if(S_ISDIR(info.st_mode)) {
    return cr_fail(err, CR_KIND_INPUT, "FileUnreadable", "%s is a folder: name the file in it", from);
  }
  *pipe = S_ISFIFO(info.st_mode);
  if(!S_ISREG(info.st_mode) && !*pipe) {
    return cr_fail(err, CR_KIND_INPUT, "FileUnreadable", "%s is neither a file nor a pipe: name a file", from);
  }
  return 0;
}

static int wait_for(int fd, const char *from, struct cr_error *err)
{
  struct pollfd ready;
  int rc;

  ready.fd = fd;
  ready.events = POLLIN;
  do {
    rc = poll(&ready, 1, PIPE_WAIT_MS);
  } while(rc < 0 && errno == EINTR);
  if(rc < 0) {
    return unreadable(from, errno, err);
  }
  return rc > 0 ? 0 : cr_fail(err, CR_KIND_INPUT, "FileUnreadable",
                              "nothing came out of the pipe %s for %d seconds: check what writes into it", from,
                              PIPE_WAIT_MS / 1000);
}

static int read_all(int fd, bool pipe, const char *from, struct cr_buf *out, struct cr_error *err)
{
  ssize_t got;

  do {
    if(pipe && wait_for(fd, from, err) < 0) {
      return -1;
    }
    if(cr_buf_reserve(out, READ_STEP) < 0) {
      return cr_buf_check(out, "file", err);
    }
    got = read(fd, out->data + out->len, READ_STEP);
    if(got > 0) {
      out->len += (size_t)got;
    } else if(got < 0 && errno != EINTR && errno != EAGAIN) {
      return unreadable(from, errno, err);
    }
    if(out->len > CR_IDENTITY_FILE_MAX) {
      return cr_fail(err, CR_KIND_INPUT, "FileTooLarge",
                     "%s is larger than %d KiB, so it is no certificate or key: name the right file", from,
                     CR_IDENTITY_FILE_MAX / 1024);
    }
  } while(got != 0);
  return 0;
}

static int read_file(const char *path, const char *from, struct cr_buf *out, struct cr_error *err)
{
  bool pipe = false;
  int rc = -1, fd;

  do {
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  } while(fd < 0 && errno == EINTR);
  if(fd < 0) {
    return unreadable(from, errno, err);
  }
  if(check_kind(fd, from, &pipe, err) == 0) {
    rc = read_all(fd, pipe, from, out, err);
  }
  close(fd);
  return rc;
}

static int grow(struct cr_material *material)
{
  size_t room = material->room ? material->room * 2 : 8;
  X509 **more = realloc(material->certificates, room * sizeof *more);

  if(!more) {
    return -1;
  }
  material->certificates = more;
  material->room = room;
  return 0;
}

int cr_material_add_certificate(struct cr_material *material, X509 *x509, const char *from, struct cr_error *err)
{
  size_t max = material->max ? material->max : CR_IDENTITY_CERTIFICATES_MAX;

  for(size_t i = 0; i < material->count; i++) {
    if(X509_cmp(material->certificates[i], x509) == 0) {
      X509_free(x509);
      return 0;
    }
  }
  if(material->count >= max) {
    X509_free(x509);
    return cr_fail(err, CR_KIND_INPUT, "BrokenChain",
                   "there are more than %zu certificates up to %s: give only the leaf and the intermediates above it",
                   max, from);
  }
  if(material->count == material->room && grow(material) < 0) {
    X509_free(x509);
    return cr_fail_memory(err);
  }
  material->certificates[material->count++] = x509;
  return 0;
}

int cr_material_add_key(struct cr_material *material, const void *der, size_t len, const char *from,
                        struct cr_error *err)
{
  if(material->key_count == CR_IDENTITY_KEYS_MAX) {
    return cr_fail(err, CR_KIND_INPUT, "KeyPairMismatch",
                   "%s holds more than %d private keys: give only the one that belongs to the certificate", from,
                   CR_IDENTITY_KEYS_MAX);
  }
  if(cr_private_key_parse(&material->keys[material->key_count], der, len, from, err) < 0) {
    return -1;
  }
  material->key_count++;
  return 0;
}

static bool ends_with(const struct cr_pem_block *block, const char *tail)
{
  size_t len = strlen(tail);
  return block->label_len >= len && memcmp(block->label + block->label_len - len, tail, len) == 0;
}

static int damaged(const struct cr_pem_block *block, bool key, const char *from, struct cr_error *err)
{
  return cr_fail(err, CR_KIND_INPUT, key ? "MalformedPrivateKey" : "MalformedCertificate",
                 "block %zu (%.*s) of %s is damaged or cut off: copy the file again from where it was made",
                 block->number, block->label_len > 40 ? 40 : (int)block->label_len, block->label, from);
}

static int take_certificate(struct cr_material *material, const struct cr_pem_block *block, const char *from,
                            struct cr_error *err)
{
  struct cr_buf der;
  const unsigned char *at;
  X509 *x509 = NULL;
  bool short_of_memory;

  cr_buf_init(&der, CR_IDENTITY_FILE_MAX);
  if(cr_pem_decode(block, &der) == 0) {
    at = (const unsigned char *)cr_buf_str(&der);
    x509 = cr_pem_is(block, "TRUSTED CERTIFICATE") ? d2i_X509_AUX(NULL, &at, (long)der.len)
                                                   : d2i_X509(NULL, &at, (long)der.len);
    if(x509 && at != (const unsigned char *)cr_buf_str(&der) + der.len) {
      X509_free(x509);
      x509 = NULL;
    }
  }
  short_of_memory = der.state != CR_BUF_FINE;
  cr_buf_free(&der);
  if(short_of_memory) {
    return cr_fail_memory(err);
  }
  return x509 ? cr_material_add_certificate(material, x509, from, err) : damaged(block, false, from, err);
}

/* A decrypted key that does not parse was decrypted with the wrong passphrase: padding is right once in a while. */
static int take_decrypted(struct cr_material *material, enum cr_decrypted opened, const struct cr_buf *plain,
                          const char *from, bool given, struct cr_error *err)
{
  if(opened == CR_DECRYPTED && cr_material_add_key(material, cr_buf_str(plain), plain->len, from, err) < 0) {
    if(!err || strcmp(err->code, "MalformedPrivateKey") != 0) {
      return -1;
    }
    opened = CR_DECRYPT_WRONG;
  }
  return cr_decrypt_fail(opened, from, given, err);
}

static int take_key(struct cr_material *material, const struct cr_pem_block *block, const char *passphrase,
                    const char *from, struct cr_error *err)
{
  bool pkcs8 = cr_pem_is(block, "ENCRYPTED PRIVATE KEY");
  struct cr_buf der, plain;
  enum cr_decrypted opened;
  int rc;

  if(!pkcs8 && !cr_pem_is(block, "PRIVATE KEY") && !cr_pem_is(block, "RSA PRIVATE KEY") &&
     !cr_pem_is(block, "EC PRIVATE KEY")) {
    return cr_fail(err, CR_KIND_INPUT, "UnsupportedKey",
                   "%s holds a key of the kind \"%.*s\", which CloudFront does not take: "
                   "use RSA (2048 bits) or EC P-256", from, block->label_len > 40 ? 40 : (int)block->label_len,
                   block->label);
  }
  cr_buf_init(&der, CR_IDENTITY_FILE_MAX);
  cr_buf_init(&plain, CR_IDENTITY_FILE_MAX);
  if(cr_pem_decode(block, &der) < 0) {
    rc = der.state == CR_BUF_FINE ? damaged(block, true, from, err) : cr_fail_memory(err);
  } else if(!pkcs8 && !block->headers_len) {
    rc = cr_material_add_key(material, cr_buf_str(&der), der.len, from, err);
  } else if(!passphrase) {
    rc = cr_decrypt_fail(CR_DECRYPT_WRONG, from, false, err);
  } else {
    opened = pkcs8 ? cr_decrypt_pkcs8(cr_buf_str(&der), der.len, passphrase, &plain)
                   : cr_decrypt_pem(block->headers, block->headers_len, &der, passphrase, &plain);
    rc = take_decrypted(material, opened, &plain, from, true, err);
  }
  cr_buf_free(&der);
  cr_buf_free(&plain);
  return rc;
}

static int read_pem(struct cr_material *material, const char *text, size_t len, const char *passphrase,
                    const char *from, struct cr_error *err)
{
  struct cr_pem_reader reader;
  struct cr_pem_block block;
  int found, rc = 0;

  cr_pem_start(&reader, text, len);
  while(rc == 0 && (found = cr_pem_next(&reader, &block)) != 0) {
    bool key = ends_with(&block, "PRIVATE KEY");
    if(found < 0) {
      return damaged(&block, key, from, err);
    }
    if(cr_pem_is(&block, "CERTIFICATE") || cr_pem_is(&block, "X509 CERTIFICATE") ||
       cr_pem_is(&block, "TRUSTED CERTIFICATE")) {
      rc = take_certificate(material, &block, from, err);
      if(material->first_only) {
        return rc;
      }
    } else if(key) {
      material->saw_private_key = true;
      rc = material->want_keys ? take_key(material, &block, passphrase, from, err) : 0;
    } else {
      material->saw_request |= ends_with(&block, "CERTIFICATE REQUEST");
      material->saw_public_key |= ends_with(&block, "PUBLIC KEY");
      material->saw_pkcs7 |= cr_pem_is(&block, "PKCS7") || cr_pem_is(&block, "CMS");
    }
  }
  return rc;
}

/* What a DER file could be, told by its first elements. */
enum der_kind { DER_UNKNOWN, DER_CERTIFICATE, DER_KEY, DER_SEALED_KEY, DER_PKCS12 };

/* How many bytes tag and length take at `at`; an open length, as in some PKCS#12, counts as none. */
static size_t header_size(const unsigned char *der, size_t len, size_t at)
{
  return at + 1 < len && (der[at + 1] & 0x80) ? 2 + (size_t)(der[at + 1] & 0x7F) : 2;
}

static enum der_kind der_kind(const unsigned char *der, size_t len)
{
  size_t at = header_size(der, len, 0);

  if(len < 16 || der[0] != 0x30 || len - 8 < at) {
    return DER_UNKNOWN;
  }
  if(der[at] == 0x02 && der[at + 1] == 1) {
    return der[at + 2] == 3 && der[at + 3] == 0x30 ? DER_PKCS12 : DER_KEY;
  }
  if(der[at] != 0x30) {
    return DER_UNKNOWN;
  }
  at += header_size(der, len, at);
  if(at >= len) {
    return DER_UNKNOWN;
  }
  return der[at] == 0x06 ? DER_SEALED_KEY : der[at] == 0xA0 || der[at] == 0x02 ? DER_CERTIFICATE : DER_UNKNOWN;
}

static int read_der_certificate(struct cr_material *material, const char *text, size_t len, const char *from,
                                struct cr_error *err)
{
  const unsigned char *at = (const unsigned char *)text;
  X509 *x509 = d2i_X509(NULL, &at, (long)len);

  if(x509 && at == (const unsigned char *)text + len) {
    return cr_material_add_certificate(material, x509, from, err);
  }
  X509_free(x509);
  return cr_fail(err, CR_KIND_INPUT, "MalformedCertificate",
                 "the certificate (DER) in %s is damaged or cut off: copy the file again from where it was made", from);
}

static int read_der(struct cr_material *material, const char *text, size_t len, const char *passphrase,
                    const char *from, struct cr_error *err)
{
  struct cr_buf plain;
  int rc = 0;

  switch(der_kind((const unsigned char *)text, len)) {
  case DER_CERTIFICATE:
    return read_der_certificate(material, text, len, from, err);
  case DER_PKCS12:
    return material->first_only ? 0 : cr_pkcs12_read(material, text, len, passphrase, from, err);
  case DER_KEY:
    material->saw_private_key = true;
    return material->want_keys ? cr_material_add_key(material, text, len, from, err) : 0;
  case DER_SEALED_KEY:
    material->saw_private_key = true;
    if(material->want_keys && !passphrase) {
      return cr_decrypt_fail(CR_DECRYPT_WRONG, from, false, err);
    }
    if(material->want_keys) {
      cr_buf_init(&plain, CR_IDENTITY_FILE_MAX);
      rc = take_decrypted(material, cr_decrypt_pkcs8(text, len, passphrase, &plain), &plain, from, true, err);
      cr_buf_free(&plain);
    }
    return rc;
  case DER_UNKNOWN:
    break;
  }
  return 0; /* the caller, who knows what was wanted, says what is missing */
}

static int read_text(struct cr_material *material, const char *text, size_t len, const struct cr_input *input,
                     const char *from, struct cr_error *err)
{
  const char *missing = input->key ? "NoPrivateKey" : "NoCertificate";
  int rc;

  if(len == 0) {
    return cr_fail(err, CR_KIND_INPUT, missing,
                   "%s is empty: copy the file again from where it was made", from);
  }
  if(len >= 2 && (memcmp(text, "\xFF\xFE", 2) == 0 || memcmp(text, "\xFE\xFF", 2) == 0)) {
    return cr_fail(err, CR_KIND_INPUT, missing,
                   "%s is UTF-16 text, as Windows writes it: save it as plain ASCII or UTF-8", from);
  }
  ERR_set_mark();
  rc = memmem(text, len, "-----BEGIN ", 11) ? read_pem(material, text, len, input->passphrase, from, err)
                                            : read_der(material, text, len, input->passphrase, from, err);
  ERR_pop_to_mark();
  return rc;
}

int cr_material_read(struct cr_material *material, const struct cr_input *input, struct cr_error *err)
{
  struct cr_shown shown;
  struct cr_buf file;
  const char *from = cr_input_name(&shown, input);
  int rc;

  if(!input->path) {
    if(input->len > CR_IDENTITY_FILE_MAX) {
      return cr_fail(err, CR_KIND_INPUT, "FileTooLarge", "%s is larger than %d KiB", from,
                     CR_IDENTITY_FILE_MAX / 1024);
    }
    return read_text(material, input->text, input->len, input, from, err);
  }
  cr_buf_init(&file, CR_IDENTITY_FILE_MAX + 2 * READ_STEP);
  rc = read_file(input->path, from, &file, err);
  if(rc == 0) {
    rc = read_text(material, cr_buf_str(&file), file.len, input, from, err);
  }
  cr_buf_free(&file);
  return rc;
}

void cr_material_free(struct cr_material *material)
{
  for(size_t i = 0; i < material->count; i++) {
    X509_free(material->certificates[i]);
  }
  free(material->certificates);
  for(size_t i = 0; i < material->key_count; i++) {
    cr_private_key_free(&material->keys[i]);
  }
  memset(material, 0, sizeof *material);
}
