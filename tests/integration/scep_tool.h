/* The wrongs that scep_tool can do to a message, by name. */
#pragma once

#include <openssl/pkcs7.h>
#include <openssl/x509.h>

struct scep_tool_bend {
    const char *name;
    void (*envelope)(PKCS7 *envelope, void *arg);
    void (*attributes)(STACK_OF(X509_ATTRIBUTE) *attributes, void *arg);
    void (*message)(PKCS7 *message, void *arg);
};

/* All hooks NULL without a name; ends the program for an unknown one. */
struct scep_tool_bend scep_tool_bend_find(const char *name);
/* The same for a PKCS#10 before it is signed. */
void (*scep_tool_csr_bend(const char *name))(X509_REQ *request);
