/* The plugin ABI: everything a protocol plugin sees of Sealwright.
 *
 * A plugin is one const struct with a table of routes, exported as the data symbol
 * `ca_plugin`. A route's handler is a codec: bytes -> request -> one core call ->
 * bytes. It holds no policy, no SQL, no socket and no issuer key. docs/plugin.md shows
 * how to write one in an hour. */
#pragma once
/* Plugins see a copy: one of the two counts. */
#ifndef SEALWRIGHT_PLUGIN_H
#define SEALWRIGHT_PLUGIN_H

#include "status.h"
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CA_PLUGIN_ABI 5

struct ca_bytes {
    const uint8_t *data;
    size_t size;
};

/* ---- The request. All of it is lent: valid until the handler returns. ---- */

struct ca_request {
    char id[17];               /* hex, in every log line and audit entry */
    const char *method;        /* "GET", "POST", ... HEAD comes as "GET" */
    const char *path;          /* normalised once, percent-decoded, starts with '/' */
    const char *rest;          /* what follows a prefix route's path: "" or "/..." */
    const char *query;         /* raw, without '?'; "" when absent */
    const char *content_type;  /* "" when absent */
    const char *authorization; /* "" when absent */
    const char *peer; /* address as text, by a trusted proxy's word if there is one */
    bool secure;      /* came over TLS (or a trusted proxy's TLS, or the unix socket) */
    bool local;       /* came over the unix socket */
    X509 *peer_certificate; /* TLS client certificate, verified to be one of ours; or
                               NULL */
    struct ca_bytes body;
};

/* A header by name without case; NULL when absent. */
CA_EXPORT const char *ca_request_header(const struct ca_request *req, const char *name);
/* A query parameter, percent-decoded ('+' is a space); NULL when absent. CA_MALFORMED
 * for a bad escape, a NUL or a doubled name. The text belongs to the request. */
CA_EXPORT enum ca_status ca_request_query(struct ca_request *req, const char *name,
                                          const char **ret_value);
/* The same without decoding: what stands between '=' and '&'. */
CA_EXPORT enum ca_status ca_request_query_raw(struct ca_request *req, const char *name,
                                              const char **ret_value, size_t *ret_size);

/* ---- The answer ---- */

/* Sets status and body (copied). The last call counts. Without one the host answers the
 * handler's status as HTTP, in words that tell the peer nothing. */
CA_EXPORT enum ca_status ca_respond(struct ca_request *req, int http_status,
                                    const char *content_type, const void *body,
                                    size_t size);
/* One more header; neither Content-Length nor Connection. CR and LF are refused. */
CA_EXPORT enum ca_status ca_respond_header(struct ca_request *req, const char *name,
                                           const char *value);
/* A debug line with the request's id. Never secrets, keys, bodies. */
CA_EXPORT void ca_log(struct ca_request *req, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Seconds since 1970: the clock of everything that is signed and checked. */
CA_EXPORT int64_t ca_now(const struct ca_request *req);
/* Memory of the request: zeroed, wiped and freed after the answer. NULL: no memory. */
CA_EXPORT void *ca_request_alloc(struct ca_request *req, size_t size);

/* ---- Who is asking ---- */

enum ca_credential_kind {
    CA_CREDENTIAL_NONE,
    CA_CREDENTIAL_CHALLENGE,   /* `secret`: one-time secret of the endpoint's profile */
    CA_CREDENTIAL_CERTIFICATE, /* `certificate`: ours; the plugin has verified a
                                  signature made with its key over this very message */
    CA_CREDENTIAL_KEY, /* `certificate`: any, even self-signed; likewise verified */
    CA_CREDENTIAL_PASSWORD,    /* `user`, as a person types it, and `secret` */
    CA_CREDENTIAL_LOGIN_TOKEN, /* `secret`: of ca_login_token_issue */
    CA_CREDENTIAL_PROVIDER, /* this request itself: a browser that comes back from the
                               OpenID provider (ca_provider_begin) */
    CA_CREDENTIAL_KIND_COUNT
};

struct ca_credential {
    enum ca_credential_kind kind;
    const char *protocol; /* "scep" */
    const char *message;  /* the protocol's own message type: "19" */
    /* Profile of the protocol's kind (scep, else certificate) that is asked for; "":
     * the user's own certificate profile, or none where a message needs none. */
    const char *endpoint;
    const char *user;
    const char *secret; /* the core wipes nothing of the plugin's */
    size_t secret_size;
    X509 *certificate;
    /* What follows the endpoint's name in the path, where the secret is good under one
     * path alone (ca_scep_path); else NULL. */
    const char *path_token;
};

/* Establishes who asks, by the one table of (protocol, message, kind of credential);
 * what the table does not name is refused. The identity stays inside the request.
 * CA_UNAUTHENTICATED, CA_FORBIDDEN (disabled, outside the renewal window),
 * CA_UNAVAILABLE. Every refusal is audited by the core. */
CA_EXPORT enum ca_status ca_authenticate(struct ca_request *req,
                                         const struct ca_credential *credential);

/* A token for the user whom ca_authenticate found by password: good for one enrolment
 * over "wstep" within `seconds`, and for "xcep" before it; only the enrolment uses it
 * up. The core keeps its hash alone. The text (base64url) belongs to the request.
 * CA_UNAUTHENTICATED without such a user. */
CA_EXPORT enum ca_status ca_login_token_issue(struct ca_request *req, int64_t seconds,
                                              const char **ret_text);

/* ---- Log-in at an OpenID provider ---- */

/* Where the browser comes back to, below base_url, by the protocol that sent it. */
#define CA_PROVIDER_PATH_DISCOVERY "/enrollments/windows/oidc"
#define CA_PROVIDER_PATH_SELF "/self/oidc"
#define CA_PROVIDER_CONTEXT_MAX 256

/* What people know the provider by; NULL: the configuration has none. */
CA_EXPORT const char *ca_provider_name(struct ca_request *req);
/* Answers with the way to the provider. `context` (letters, digits and "-._~/:%") comes
 * back with the browser, which keeps it in a cookie. CA_UNSUPPORTED: there is none;
 * CA_UNAVAILABLE: it does not answer; CA_MALFORMED: the context. */
CA_EXPORT enum ca_status ca_provider_begin(struct ca_request *req, const char *protocol,
                                           const char *context);
/* The context of a browser that comes back; nothing else of it is believed yet: that is
 * ca_authenticate's. CA_UNAUTHENTICATED: it was not sent from here. */
CA_EXPORT enum ca_status ca_provider_context(struct ca_request *req,
                                             const char *protocol,
                                             const char **ret_context);

/* ---- Certificates ---- */

struct ca_enrolment {
    struct ca_bytes pkcs10;  /* DER */
    const char *transaction; /* the protocol's transaction id; NULL: none */
    X509 *signer; /* who signed the message; its key is part of the id; or NULL */
    struct ca_bytes signer_key; /* in its place: the key as SubjectPublicKeyInfo, that of
                                   the signer's certificate or, where none signed, the
                                   requested one; or empty */
    unsigned flags;             /* CA_ENROL_... */
};
#define CA_ENROL_KEY_ALONE 1u /* the request's subject and extensions mean nothing */
#define CA_ENROL_NEW_KEY 2u   /* a key that any device holds already is CA_FORBIDDEN */
#define CA_ENROL_AT_ONCE                                                               \
    4u /* the peer cannot wait: CA_CONFLICT where the profile wants                    \
          approvals */
#define CA_ENROL_KEY_PROVED                                                              \
    8u                        /* the requested key has signed the message, which the     \
                                 plugin has verified: the PKCS#10's own signature is not \
                                 looked at */
#define CA_ENROL_KEY_SHA1 16u /* with it: over SHA-1, which the profile has to take */
#define CA_ENROL_KEY_ONCE                                                              \
    64u /* the key's certificate of this profile, if there is one,                     \
           is within its renewal window: else CA_FORBIDDEN */
#define CA_ENROL_TEMPLATE                                                              \
    32u /* the certificate says its template (its profile, 1.3.6.1.                    \
           4.1.311.21.7) and the SID (1.3.6.1.4.1.311.25.2) that                       \
           the user's record has */

struct ca_issued {
    struct ca_bytes der; /* the certificate, the request's; NULL while pending. Parse it
                            only when you must: OpenSSL 3 takes 0.2 ms for that */
    const char *serial;  /* hex */
    int64_t retry_after; /* seconds, while pending */
    const char *profile; /* certificate profile it was issued by: "default" */
    const char *user, *device; /* whose it is: a name, an id; NULL: nobody's */
};

/* The outcome of an earlier request with this transaction id and signer key at the
 * endpoint that `credential` names (kind CERTIFICATE or KEY). With `pkcs10` it is a
 * retry: only the same bytes within the retry window count, and an intent that a crash
 * left behind is signed now. Without it is a poll. CA_OK, CA_PENDING, CA_NOT_FOUND
 * (also for another's), CA_FORBIDDEN (was refused). Needs no ca_authenticate, except
 * for a poll whose message does not prove the key: it is about requests of the
 * authenticated user alone. The key is the credential's certificate's, else `signer_key`. */
CA_EXPORT enum ca_status ca_poll(struct ca_request *req,
                                 const struct ca_credential *credential,
                                 const struct ca_enrolment *enrolment,
                                 struct ca_issued *ret_issued);

/* Policy, serial, intent, signature, record, audit; by the identity that
 * ca_authenticate established. CA_OK; CA_PENDING: waits for approval, an answer, not an
 * error; else nothing was issued. */
CA_EXPORT enum ca_status ca_enroll(struct ca_request *req,
                                   const struct ca_enrolment *enrolment,
                                   struct ca_issued *ret_issued);

/* What a device says of itself: claims, none of them proved. */
struct ca_device_facts {
    const char *kind;       /* "windows" */
    const char *alias;      /* what it calls itself, or NULL: it is not managed */
    const char *secret;     /* of its management account, 32 characters; or NULL */
    const char *nonce;      /* 16 octets in base64; with the secret */
    const json_t *hardware; /* an object of texts, or NULL; borrowed like the next */
    const json_t *report;   /* an object, or NULL */
};
/* Keeps these facts with the device that the following ca_enroll gives a certificate:
 * members replace those of the same name, and the device is managed under its alias
 * (ca_manage_open) from then on. Where the identity names no device yet, it is the same
 * user's own that goes by this alias, or a new one. CA_UNAUTHENTICATED; CA_FORBIDDEN:
 * that device is disabled, or another user's that is in use; CA_MALFORMED, CA_LIMIT. */
CA_EXPORT enum ca_status ca_device_report(struct ca_request *req,
                                          const struct ca_device_facts *facts);

/* A text of what this device (of a ca_issued) said last; NULL: it did not. The text
 * belongs to the request. CA_NOT_FOUND: no such device. */
CA_EXPORT enum ca_status ca_device_reported(struct ca_request *req, const char *device,
                                            const char *member, const char **ret_text);

/* A certificate of the authenticated device by issuer name (DER) and serial (hex);
 * CA_NOT_FOUND also for another's. */
CA_EXPORT enum ca_status ca_lookup(struct ca_request *req, struct ca_bytes issuer_name,
                                   const char *serial, struct ca_issued *ret_issued);

/* Records a refusal that the plugin found itself (a bad encoding after a verified
 * signature), so that it is audited like every other: `reason` is a word of the
 * protocol. Noise before any verified signature is counted, not listed. */
CA_EXPORT void ca_refused(struct ca_request *req, const char *protocol,
                          const char *endpoint, const char *reason, bool verified);

/* ---- Profiles, chains, CRLs. Everything returned belongs to the request. ---- */

/* The settings of the profile of a kind, as the API shows them; borrowed. */
CA_EXPORT enum ca_status ca_profile_settings(struct ca_request *req, const char *kind,
                                             const char *name, json_t **ret_settings);

/* A certificate profile that the identity may enrol by. Borrowed. */
struct ca_profile {
    const char *name;
    const char *description; /* "" when it has none */
    const json_t *settings;  /* as the API shows them */
    int64_t changed;         /* seconds since 1970 */
    bool is_own;             /* what an enrolment that names none goes by */
};
typedef enum ca_status (*ca_profile_visit)(void *arg, const struct ca_profile *profile);

/* Visits the certificate profiles that the authenticated user (or the user of the
 * authenticated device) may enrol by over a protocol ("wstep"): the user's own first,
 * the others by name. A visit that is not CA_OK ends it. CA_UNAUTHENTICATED. */
CA_EXPORT enum ca_status ca_profiles(struct ca_request *req, const char *protocol,
                                     ca_profile_visit visit, void *arg);

/* A certificate profile as a template of Windows. */
#define CA_TEMPLATE_OID_SIZE 96  /* characters of its OID, with NUL */
#define CA_TEMPLATE_REVISION 100 /* its major version */
/* Microsoft's arc for templates, four arcs of the organisation (its base_url) and two
 * of the profile's name, each below 2^28: the same for every instance and every time.
 */
CA_EXPORT void ca_template_oid(const char *base_url, const char *profile,
                               char ret_oid[CA_TEMPLATE_OID_SIZE]);
/* The name of the certificate profile whose template has this OID; it belongs to the
 * request. It says nothing of who may enrol by it. CA_NOT_FOUND. */
CA_EXPORT enum ca_status ca_template_profile(struct ca_request *req, const char *oid,
                                             const char **ret_name);

/* The organisation's names; borrowed. Links come from here, never from Host. */
struct ca_organisation {
    const char *name;
    const char *base_url;            /* "https://...", without a slash at the end */
    const char *plain_url;           /* "http://..."; "" when it has none */
    const char *const *mail_domains; /* ended by NULL */
};
CA_EXPORT enum ca_status ca_organisation(struct ca_request *req,
                                         struct ca_organisation *ret_organisation);

struct ca_chain {
    X509 *issuer;
    X509 *const *certificates; /* issuer first, root last */
    size_t count;
};
/* The chain of the issuer behind an endpoint ("scep/default"); `next` asks for the
 * standby issuer: CA_NOT_FOUND when there is none. */
CA_EXPORT enum ca_status ca_chain(struct ca_request *req, const char *endpoint,
                                  bool next, struct ca_chain *ret_chain);
/* The issuer's current CRL, DER. */
CA_EXPORT enum ca_status ca_crl(struct ca_request *req, const char *endpoint,
                                struct ca_bytes *ret_der);

/* ---- Helper keys: by role, never an issuer's ---- */

enum ca_key_role { CA_KEY_RA, CA_KEY_OCSP, CA_KEY_SEALING };

struct ca_key; /* a helper key, as long as the request */

/* The helper keys of an endpoint's issuer: index 0 the current one, then the previous
 * ones of the overlap; with `next` those of the standby issuer. CA_NOT_FOUND. */
CA_EXPORT enum ca_status ca_key_get(struct ca_request *req, const char *endpoint,
                                    enum ca_key_role role, bool next, size_t index,
                                    struct ca_key **ret_key);
/* Its certificate; borrowed. */
CA_EXPORT X509 *ca_key_certificate(struct ca_key *key);
/* A proxy for OpenSSL calls that insist on an EVP_PKEY (CMS signing); borrowed. The
 * private half stays in the token. */
CA_EXPORT EVP_PKEY *ca_key_pkey(struct ca_key *key);
/* Decrypts a content key without an oracle: `key_size` octets come out in any case,
 * random ones when the ciphertext is bad. CA_UNAVAILABLE when the token is away. */
CA_EXPORT enum ca_status ca_key_decrypt(struct ca_request *req, struct ca_key *key,
                                        bool oaep, struct ca_bytes encrypted,
                                        uint8_t *ret_key, size_t key_size);

/* ---- Public keys. OpenSSL 3.0 takes longer to decode one than to use it. ---- */

/* The key of a SubjectPublicKeyInfo (DER); belongs to the request, which decodes the
 * same octets once. NULL: no key that OpenSSL takes. */
CA_EXPORT EVP_PKEY *ca_public_key(struct ca_request *req, struct ca_bytes spki);
/* A certificate without its key, for reading: X509_get0_pubkey gives NULL, and it takes
 * no part in X509_verify or a chain. NULL: not exactly one certificate. X509_free it.
 */
CA_EXPORT X509 *ca_certificate_decode(struct ca_bytes der);

/* ---- Protocol state with expiry, shared by all instances ---- */

CA_EXPORT enum ca_status ca_state_put(struct ca_request *req, const char *space,
                                      const char *key, struct ca_bytes value,
                                      int64_t seconds);
CA_EXPORT enum ca_status ca_state_get(struct ca_request *req, const char *space,
                                      const char *key, struct ca_bytes *ret_value,
                                      int64_t *ret_version);
CA_EXPORT enum ca_status ca_state_take(struct ca_request *req, const char *space,
                                       const char *key, struct ca_bytes *ret_value);
CA_EXPORT enum ca_status ca_state_swap(struct ca_request *req, const char *space,
                                       const char *key, int64_t version,
                                       struct ca_bytes value, int64_t seconds);

/* ---- Devices under management (OMA-DM). What follows ca_manage_open is about the
 * device that it found; CA_UNAUTHENTICATED without one. JSON belongs to the request.
 * ---- */

struct ca_management {
    const char *protocol;      /* "syncml" */
    const char *peer_id;       /* what the device calls itself */
    X509 *certificate;         /* TLS client certificate, or NULL */
    const char *name, *secret; /* in plain (syncml:auth-basic), or NULL */
    const char *digest;        /* B64(MD5(B64(MD5(name:secret)):nonce)), or NULL */
    const char *session;       /* the protocol's name of the session */
    bool resume; /* without a credential: an earlier message of the session
                    from the same address has brought the secret */
};
struct ca_managed {
    const char *device, *user; /* id; owner's name or NULL */
    bool by_secret;            /* this message brought it */
    const char *nonce;         /* the next one, after a digest; else NULL */
    const json_t *report;      /* what the device last said of itself */
};
/* The device whose session this is, by one of the credentials. CA_UNAUTHENTICATED alike
 * for an unknown device and a wrong or missing credential; CA_FORBIDDEN: the
 * certificate is another device's, or device or owner are disabled or unenrolled.
 * A session's state lies in the plugin's space "session", under "<device> <id>"; its
 * JSON has a member "shown" {"id", "over", "started", "updated", "messages", "waiting"},
 * which the API lists. The oldest of a device's many give way. */
CA_EXPORT enum ca_status ca_manage_open(struct ca_request *req,
                                        const struct ca_management *management,
                                        struct ca_managed *ret_managed);
/* The nonce (base64) that a digest has to be over; some text for an unknown device. */
CA_EXPORT enum ca_status ca_manage_nonce(struct ca_request *req, const char *peer_id,
                                         const char **ret_nonce);

/* Sets one member of the device's report to an object. CA_LIMIT. */
CA_EXPORT enum ca_status ca_manage_report(struct ca_request *req, const char *member,
                                          const json_t *value);
/* The user has ended the enrolment at the device: it is unenrolled, its certificates
 * are revoked. */
CA_EXPORT enum ca_status ca_manage_unenrolled(struct ca_request *req);

/* Takes up to `limit` queued commands for this session: an array of objects as the API
 * shows them. The session answers each once, within minutes. */
CA_EXPORT enum ca_status ca_manage_claim(struct ca_request *req, const char *session,
                                         int64_t limit, json_t **ret_commands);
/* Answers: an array of {"id", "failed", "result"}. Those that are not the session's
 * (any more) are passed over. */
CA_EXPORT enum ca_status ca_manage_finish(struct ca_request *req, const char *session,
                                          const json_t *answers);
/* The session is over: what it has without an answer waits again. */
CA_EXPORT enum ca_status ca_manage_release(struct ca_request *req, const char *session);

/* The effective policy profile of the owner: {"name", "version", "items"}, and "kept",
 * the nodes (texts) of ca_manage_policy_kept. Without a profile, while there are such
 * nodes, the name is "" and there are no items. CA_NOT_FOUND: neither. */
CA_EXPORT enum ca_status ca_manage_policy(struct ca_request *req, json_t **ret_policy);
/* The nodes that the device has by its policy, an array of texts in the place of the
 * one before: what a later policy no longer names is to be taken away again. CA_LIMIT.
 */
CA_EXPORT enum ca_status ca_manage_policy_kept(struct ca_request *req,
                                               const json_t *nodes);
/* Something of the policy was not as it should be and was set again: audited. */
CA_EXPORT enum ca_status ca_manage_mended(struct ca_request *req, const json_t *detail);

/* What a device needs to enrol by SCEP. */
struct ca_scep_offer {
    const char *id; /* of the one-time secret; a name for this installation */
    const char *url, *challenge;
    const char *subject;    /* X.500 string, values quoted */
    const char *purposes;   /* OIDs joined by '+' */
    const char *thumbprint; /* upper-case hex SHA-1 of the root */
    struct ca_bytes root;   /* DER */
    int64_t key_usage, key_bits;
};
/* The effective scep profile of the owner, when the device has no certificate of it
 * that lasts, by our own record of what was issued. CA_NOT_FOUND: nothing to do;
 * CA_PENDING: an offer is under way; CA_UNSUPPORTED: the profile is not for such a
 * device. */
CA_EXPORT enum ca_status ca_manage_scep(struct ca_request *req,
                                        struct ca_scep_offer *ret_offer);
/* The device could not take the offer: its secret is withdrawn. */
CA_EXPORT enum ca_status ca_manage_scep_failed(struct ca_request *req, const char *id);

/* ---- The plugin ---- */

typedef enum ca_status (*ca_handler)(void *state, struct ca_request *req);

#define CA_ROUTE_PREFIX 1u   /* the path and everything below it */
#define CA_ROUTE_ANY_CASE 2u /* letters match without case */
#define CA_ROUTE_TLS_ONLY 4u /* refused on plain HTTP */
#define CA_ROUTE_API 8u      /* only where a listener serves the admin API */
#define CA_ROUTE_OVERSIZE                                                              \
    16u /* a body above max_body is the handler's to refuse: it                        \
           comes without octets, its `size` above max_body */

struct ca_route {
    const char *method; /* "GET", "POST", ...; a path's other methods get 405 */
    const char *path;   /* "/scep/": exact, or prefix by its flags */
    size_t max_body;
    unsigned flags;
    ca_handler handle;
};

struct ca_plugin {
    int abi; /* CA_PLUGIN_ABI */
    const char *name;
    const struct ca_route *routes; /* ended by a NULL method */
    /* Both may be NULL. `settings` is the configuration's object for this plugin,
     * borrowed; unknown members refuse. */
    enum ca_status (*init)(const json_t *settings, void **ret_state);
    void (*fini)(void *state);
};

#endif
