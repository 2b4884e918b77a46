/* s3.c - the operations of S3 that a journal and its locks need (REST-XML, 2006-03-01; aws-reference 9).
 *
 * A table, how its answers are shaped, and where a bucket is: in the host's name, or, where that cannot be, first in the
 * path. Owns no memory. */
#include "operation.h"

#include <string.h>

/* Repeating a conditional write is safe; whether a 412 after a lost answer was our own doing, its owner reads back. */
static const struct cr_param get_object[] = {
  { .name = "Bucket", .place = CR_NOT_SENT, .required = true },
  { .name = "Key", .place = CR_IN_PATH, .required = true },
  { .name = "IfMatch", .place = CR_IN_HEADER, .wire = "If-Match" },
  { .name = "ExpectedBucketOwner", .place = CR_IN_HEADER, .wire = "x-amz-expected-bucket-owner" },
  { .name = NULL },
};

static const struct cr_param put_object[] = {
  { .name = "Bucket", .place = CR_NOT_SENT, .required = true },
  { .name = "Key", .place = CR_IN_PATH, .required = true },
  { .name = "Body", .place = CR_IN_BODY_TEXT },
  { .name = "ContentType", .place = CR_IN_HEADER, .wire = "Content-Type" },
  { .name = "IfMatch", .place = CR_IN_HEADER, .wire = "If-Match" },
  { .name = "IfNoneMatch", .place = CR_IN_HEADER, .wire = "If-None-Match" },
  { .name = "ExpectedBucketOwner", .place = CR_IN_HEADER, .wire = "x-amz-expected-bucket-owner" },
  { .name = NULL },
};

static const struct cr_param delete_object[] = {
  { .name = "Bucket", .place = CR_NOT_SENT, .required = true },
  { .name = "Key", .place = CR_IN_PATH, .required = true },
  { .name = "IfMatch", .place = CR_IN_HEADER, .wire = "If-Match" },
  { .name = "ExpectedBucketOwner", .place = CR_IN_HEADER, .wire = "x-amz-expected-bucket-owner" },
  { .name = NULL },
};

static const struct cr_param list_objects[] = {
  { .name = "Bucket", .place = CR_NOT_SENT, .required = true },
  { .name = "Prefix", .place = CR_IN_QUERY, .wire = "prefix" },
  { .name = "StartAfter", .place = CR_IN_QUERY, .wire = "start-after" },
  { .name = "ContinuationToken", .place = CR_IN_QUERY, .wire = "continuation-token" },
  { .name = "MaxKeys", .place = CR_IN_QUERY, .wire = "max-keys" },
  { .name = "ExpectedBucketOwner", .place = CR_IN_HEADER, .wire = "x-amz-expected-bucket-owner" },
  { .name = NULL },
};

/* Sorted. */
static const struct cr_shape shapes[] = {
  { "IsTruncated", CR_SHAPE_BOOL },
  { "KeyCount", CR_SHAPE_NUMBER },
  { "MaxKeys", CR_SHAPE_NUMBER },
  { "Size", CR_SHAPE_NUMBER },
};

static void shape(struct cr_node *root)
{
  cr_shape_by_name(root, shapes, sizeof shapes / sizeof shapes[0]);
}

static int plain_bytes(struct cr_tree *tree, struct cr_node *params, struct cr_error *err)
{
  if(cr_get(params, "ContentType")) {
    return 0;
  }
  return cr_add_text(tree, params, "ContentType", "application/octet-stream") ? 0 : cr_fail_memory(err);
}

#define S3 .service = CR_S3, .protocol = CR_REST_XML, .idempotent = true, .with_date = true
const struct cr_operation cr_s3_operations[] = {
  { S3, .name = "GetObject", .method = "GET", .path = "/{Key+}", .params = get_object, .bytes = true, .with_etag = true,
    .with_body = true, .quiet = true },
  { S3, .name = "PutObject", .method = "PUT", .path = "/{Key+}", .params = put_object, .with_etag = true, .quiet = true,
    .prepare = plain_bytes },
  { S3, .name = "DeleteObject", .method = "DELETE", .path = "/{Key+}", .params = delete_object, .quiet = true },
  { S3, .name = "ListObjectsV2", .method = "GET", .path = "/?list-type=2", .params = list_objects, .shape = shape,
    .repeated = "Contents" },
  { .name = NULL },
};

/* A bucket's name by AWS's rules: 3 to 63 of a-z 0-9 - and ., beginning and ending with a letter or digit. */
static bool is_bucket(const char *name, size_t len)
{
  if(len < 3 || len > 63 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") != len || strstr(name, "..")) {
    return false;
  }
  return !strchr("-.", name[0]) && !strchr("-.", name[len - 1]);
}

static bool ends_with(const char *text, size_t len, const char *end)
{
  size_t tail = strlen(end);
  return len >= tail && memcmp(text + len - tail, end, tail) == 0;
}

/* AWS's own hosts take the bucket as a label. A name with dots does not fit its certificate, and anybody else's host
 * (an address, a stand-in) has no such names: the bucket then goes first in the path, which AWS takes as well. */
int cr_s3_locate(struct cr_buf *url, const char *endpoint, const char *bucket, struct cr_error *err)
{
  const char *host = strstr(endpoint, "://");
  size_t len;

  if(!bucket || !is_bucket(bucket, strlen(bucket))) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                   "Bucket: \"%.80s\" is no bucket's name (3 to 63 of a-z, 0-9, - and .)", bucket ? bucket : "");
  }
  host = host ? host + 3 : endpoint;
  len = strcspn(host, ":/");
  if(!strchr(bucket, '.') && !host[len] &&
     (ends_with(host, len, ".amazonaws.com") || ends_with(host, len, ".amazonaws.com.cn"))) {
    cr_buf_add(url, endpoint, (size_t)(host - endpoint));
    cr_buf_adds(url, bucket);
    cr_buf_addc(url, '.');
    cr_buf_adds(url, host);
  } else {
    cr_buf_adds(url, endpoint);
    cr_buf_addc(url, '/');
    cr_buf_adds(url, bucket);
  }
  return 0;
}
