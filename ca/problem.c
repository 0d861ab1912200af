/* The problems of the admin API. */
#include "problem.h"
#include <stddef.h>

static const struct problem problems[] = {
    { 400, "malformed", "The request is not what this resource takes" },
    { 401, "unauthenticated", "A valid credential is needed" },
    { 403, "forbidden", "This administrator may not do this" },
    { 404, "not-found", "There is no such resource" },
    { 405, "method-not-allowed", "The resource does not take this method" },
    { 408, "too-slow", "The request did not arrive in time" },
    { 409, "conflict", "The present state does not allow this" },
    { 412, "precondition-failed", "The record has changed since it was read" },
    { 413, "too-large", "The request is too large" },
    { 414, "too-large", "The request is too large" },
    { 415, "unsupported-media-type", "The body's type is not taken" },
    { 422, "key-reused", "The Idempotency-Key was used with another request" },
    { 428, "precondition-required", "If-Match is required" },
    { 429, "limit", "Too many requests" },
    { 431, "too-large", "The request is too large" },
    { 503, "unavailable", "Not possible now, the same request may pass later" },
};
static const struct problem ours = { 500, "internal", "An error on our side" };

const struct problem *
problem_find(int http_status)
{
    for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++) {
        if (problems[i].http_status == http_status)
            return &problems[i];
    }
    return &ours;
}
