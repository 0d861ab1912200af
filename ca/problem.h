/* The problems that the admin API answers with (RFC 9457): one word and title for each
 * HTTP status, in the API and in the host before it. */
#pragma once

#define PROBLEM_TYPE "urn:sealwright:problem:" /* before the word */

struct problem {
    int http_status;
    const char *word, *title; /* nothing in them that JSON escapes */
};

/* Never NULL: a status without a problem of its own is an error on our side. */
const struct problem *problem_find(int http_status);
