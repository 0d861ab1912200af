/* A ceremony by script: acts from a reviewed JSON file, rehearsed or done, with a
 * transcript of what went in and what came out. */
#pragma once

#include "ceremony.h"
#include "field.h"

enum ceremony_kind {
    ACT_ROOT,
    ACT_ISSUER,
    ACT_HELPER,
    ACT_CSR,
    ACT_IMPORT,
    ACT_CROSS,
    ACT_CRL,
    ACT_KIND_COUNT
};

/* One act; which members belong to which is checked by ceremony_script_decode. */
struct ceremony_act {
    int act;    /* enum ceremony_kind */
    char *name; /* issuer; of a cross-certificate: whom it certifies */
    char *subject, *algorithm, *token;
    char *parent;        /* who certifies: of an issuer, of a cross-certificate */
    int role;            /* enum helper_role */
    int64_t validity;    /* seconds; 0: as is usual */
    int64_t path_length; /* negative: no limit */
    bool standby;
    char *certificate, *chain; /* files to take */
    char *out;                 /* file for what was made, or NULL */
    char *attestation;         /* file with the vendor's proof of the key, or NULL */
};

struct ceremony_script {
    char *ceremony;           /* its title */
    struct field_list people; /* char *: who is present, and as what */
    struct field_list acts;   /* struct ceremony_act */
};
extern const struct field ceremony_script_fields[];

/* Parses and checks the text; paths in it stay as they are. CA_MALFORMED. */
enum ca_status ceremony_script_decode(const char *text, size_t size,
                                      struct ceremony_script *ret_script);

/* What the script needs of its surroundings. */
struct ceremony_stage {
    const struct ceremony *ceremony;
    const char *folder; /* relative paths of the script are in it */
    bool rehearses;     /* nothing is made, signed or recorded */
    /* Builds the CRL of an issuer whose key is here; its DER to OPENSSL_free, or NULL.
     */
    enum ca_status (*crl)(void *arg, const char *issuer,
                          struct ceremony_made *ret_made);
    void *arg;
};

/* Does the acts in order and stops at the first that fails; `ret_acts` (new reference)
 * then holds those before it and that one with its error. A rehearsal checks every act
 * against the store and the acts before it, and builds what would be signed with keys
 * of its own. */
enum ca_status ceremony_script_run(const struct ceremony_stage *stage,
                                   const struct ceremony_script *script,
                                   json_t **ret_acts);

/* ---- The record ---- */

/* Signs the transcript's octets with the audit key and appends it to the audit:
 * "ceremony.run" with digests and signature. CA_NOT_FOUND without an audit key. */
enum ca_status ceremony_record_append(const struct ceremony *ceremony,
                                      const char *transcript, size_t size,
                                      const char *title, const char *outcome);

/* Holds a transcript against the audit: the entry with its digest, its leaf's hash, its
 * signature by an audit key of the store, and the certificates of its acts against the
 * inventory. CA_NOT_FOUND, CA_CONFLICT with what does not agree. */
enum ca_status ceremony_record_verify(struct store *store, struct token_set *tokens,
                                      const char *transcript, size_t size);
