/* Sessions of our own and the objects of a token, by direct PKCS#11 calls: libp11 has
 * none for attributes, uses and generation. */
#pragma once

#include "token_inner.h"

#define OBJECT_MATCHES_MAX 8 /* more than one is a conflict already */

/* A session outside libp11's pool; the login counts for it too. */
enum ca_status session_open(struct token *token, bool writes,
                            CK_SESSION_HANDLE *ret_session);
void session_close(struct token *token, CK_SESSION_HANDLE session);
/* Closes the idle sessions kept for decryption. */
void session_close_all(struct token *token);

/* The objects of a class with this label (NULL: any) and id (size 0: any). */
enum ca_status object_search(struct token *token, CK_SESSION_HANDLE session,
                             CK_OBJECT_CLASS class, const struct uri *uri,
                             CK_OBJECT_HANDLE ret_objects[OBJECT_MATCHES_MAX],
                             size_t *ret_count);

/* Label and id of an object into `ret_uri`. */
enum ca_status object_name(struct token *token, CK_SESSION_HANDLE session,
                           CK_OBJECT_HANDLE object, struct uri *ret_uri);

/* Modulus and public exponent of an RSA key (0 octets each for another kind), from the
 * object itself or from the public one with the same id. */
enum ca_status object_rsa(struct token *token, CK_SESSION_HANDLE session,
                          CK_OBJECT_HANDLE object, struct token_rsa *ret_rsa);

/* Does the private key hold to the template: sensitive, unextractable, local, never
 * extractable, used for exactly `uses`? CA_FORBIDDEN names what departs from it. */
enum ca_status object_check(struct token *token, CK_SESSION_HANDLE session,
                            CK_OBJECT_HANDLE object, unsigned uses);

/* "software" ... -> its bit; 0 for another word. */
unsigned waiver_parse(const char *word);

/* A template of attributes, which point at values that PKCS#11 only reads. */
#define TEMPLATE_MAX 20
struct template
{
    CK_ATTRIBUTE items[TEMPLATE_MAX];
    CK_ULONG count;
};
void template_add(struct template *template, CK_ATTRIBUTE_TYPE type, const void *value,
                  size_t size);
void template_flag(struct template *template, CK_ATTRIBUTE_TYPE type, bool value);

/* No object of any kind has the label: a label is never used twice. CA_CONFLICT. */
enum ca_status object_label_check(struct token *token, CK_SESSION_HANDLE session,
                                  const char *label);

enum flag { FLAG_FALSE, FLAG_TRUE, FLAG_UNKNOWN };
/* A Boolean attribute; UNKNOWN when the module does not tell. */
enum flag flag_read(struct token *token, CK_SESSION_HANDLE session,
                    CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);
