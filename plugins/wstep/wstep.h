/* One [MS-WSTEP] request between the files of this plugin. */
#pragma once

#include "cmc.h"
#include "signed.h"
#include "soap.h"
#include "windows.h"

#define WSTEP_TOKEN_MAX (64 * 1024) /* octets of a decoded BinarySecurityToken */
#define WSTEP_ITEMS_MAX 256
#define WSTEP_ITEM_NAME_MAX 64
#define WSTEP_DAYS_MAX 1000    /* of RenewPeriod */
#define WSTEP_TEMPLATE_MAX 128 /* octets of a template's name or OID */
#define WSTEP_PATH WINDOWS_ENROLLMENT_PATH

/* Of the plugin's configuration. */
struct wstep_settings {
    char provider_id[65]; /* of the management provider, in w7 and DMClient */
    char name[65];        /* that users see */
    char management[129]; /* path of the management service */
    int fault_status;     /* HTTP status of the device service's faults */
};

enum wstep_request_type {
    WSTEP_ISSUE,
    WSTEP_RENEW,
    WSTEP_QUERY,    /* QueryTokenStatus */
    WSTEP_RECOVERY, /* [MS-MDE2] 3.6 */
    WSTEP_KET
};

struct wstep_item {
    const char *name, *value;
};

/* RequestSecurityToken (section 3.1 of docs/protocols/wstep.md); texts are the
 * request's. */
struct wstep_rst {
    enum wstep_request_type type;
    struct ca_bytes token;  /* decoded; empty: none */
    const char *request_id; /* NULL: absent, nil or empty */
    struct wstep_item *items;
    size_t item_count;
    char transaction[65]; /* SHA-256 of the whole message */
    uint8_t digest[32];   /* the same in octets */
};

/* CA_MALFORMED, CA_LIMIT: a MessageFormat fault. */
enum ca_status wstep_rst_read(struct ca_request *req, const struct soap_request *soap,
                              struct wstep_rst *ret_rst);
/* The first value of an AdditionalContext item; NULL: none. */
const char *wstep_item(const struct wstep_rst *rst, const char *name);
/* The items as the core keeps them: `hardware` with what identifies, `report` with all
 * of them (a list where one repeats). json_decref both. */
enum ca_status wstep_facts(const struct wstep_rst *rst, json_t **ret_hardware,
                           json_t **ret_report);

/* Why nothing was issued, as the fault says it. */
struct wstep_refusal {
    enum soap_code code;
    const char *error_type; /* or NULL */
    const char *reason;     /* or NULL */
};

/* The PKCS#10 of a message, and by whom it came. */
struct wstep_pkcs10 {
    struct ca_bytes der;
    struct ca_bytes spki;       /* whole, a slice of it */
    struct ca_bytes attributes; /* the inside of their [0]; or empty */
};
/* Exactly one CertificationRequest in form. CA_MALFORMED. */
enum ca_status wstep_pkcs10_read(struct ca_bytes der, struct wstep_pkcs10 *ret_pkcs10);

/* A PKCS#10 that the key of an older certificate signed: SignedData with one SignerInfo
 * over DER, or base64 of it. */
struct wstep_renewal {
    struct wstep_pkcs10 pkcs10;
    X509 *signer; /* verified; X509_free it */
};
/* CA_MALFORMED, CA_LIMIT; CA_UNAUTHENTICATED: signer unknown or signature wrong;
 * CA_UNSUPPORTED: algorithm. SHA-1 only from who shows the same certificate in TLS. */
enum ca_status wstep_renewal_read(struct ca_request *req, struct ca_bytes token,
                                  struct wstep_renewal *ret_renewal);

/* Finds and verifies the certificate behind one SignerInfo: that of the message, else
 * of the TLS session. As wstep_renewal_read; X509_free it. */
enum ca_status wstep_signer_verify(struct ca_request *req,
                                   const struct signed_data *data,
                                   const struct signed_signer *info, X509 **ret_signer);
/* The same certificate, octet for octet? */
bool wstep_is_same(const X509 *a, const X509 *b);

/* What a token of CES holds, told by its ASN.1: a PKCS#10, one that an older
 * certificate signs, or a CMC request. */
struct wstep_content {
    struct wstep_pkcs10 pkcs10;
    X509 *signer;           /* the older certificate, verified; or NULL */
    unsigned flags;         /* CA_ENROL_KEY_PROVED, CA_ENROL_KEY_SHA1 */
    struct cmc_request cmc; /* part 1 and nothing else where it is no CMC */
};
/* The statuses of wstep_renewal_read. wstep_content_clear it. */
enum ca_status wstep_content_read(struct ca_request *req, struct ca_bytes token,
                                  struct wstep_content *ret_content);
static inline void __attribute__((unused))
wstep_content_clear_auto(struct wstep_content *content)
{
    X509_free(content->signer);
    content->signer = NULL;
}

/* The template that the request names, as OID or by name; both empty: none. */
struct wstep_template {
    char oid[WSTEP_TEMPLATE_MAX + 1], name[WSTEP_TEMPLATE_MAX + 1];
};
/* CA_MALFORMED: attributes that are none, a name that is no text, two templates. */
enum ca_status wstep_template_read(const struct wstep_content *content,
                                   struct wstep_template *ret_template);

/* The enrolment service for clients of the domain kind (CES). As wstep_device. */
struct wstep_service {
    const char *path;
    bool takes_password, takes_certificate;
};
enum ca_status wstep_ces(struct ca_request *req, const struct wstep_service *service,
                         const struct soap_request *soap,
                         struct wstep_refusal *refusal);

/* What CES answers ([MS-WSTEP] 3.1.4.1.3.4): issued, or waiting where `der` is empty.
 */
struct wstep_answer {
    const struct ca_issued *issued;
    const struct wstep_content *content; /* what was asked */
    const char *path;                    /* of the service */
    uint32_t id;                         /* RequestID, positive */
};
enum ca_status wstep_answer_send(struct ca_request *req,
                                 const struct soap_request *soap,
                                 const struct wstep_answer *answer);
/* The inside of a fault's Detail; `refusal` is what it is for. */
void wstep_fault_detail(struct xml_writer *writer, const void *refusal);

/* What the core says of a request whose sender it knows: the request is at fault, where
 * nothing else is. */
enum soap_code wstep_request_code(enum ca_status status);

/* The device service: Issue and Renew of [MS-MDE2]. CA_OK: answered; else `refusal`
 * says what the fault is, and what it came to is in the audit. */
enum ca_status wstep_device(struct ca_request *req,
                            const struct wstep_settings *settings,
                            const struct soap_request *soap,
                            struct wstep_refusal *refusal);

/* The secrets of the management account, which both sides may use beside mutual TLS:
 * a function of the whole message, so that a retry gets the same, and nobody who has
 * not seen the credential in it can tell them. The server's own are told and forgotten.
 */
struct wstep_account {
    const char *secret, *nonce; /* client to server; the core keeps them */
    const char *server_secret, *server_nonce; /* server to client */
};
enum ca_status wstep_account_make(struct ca_request *req, const struct wstep_rst *rst,
                                  struct wstep_account *ret_account);

/* ---- wap-provisioningdoc ([MS-MDE2] 2.2.9) ---- */

struct wstep_document {
    const struct wstep_settings *settings;
    const struct ca_issued *issued;
    const struct ca_chain *chain;
    const char *base_url;    /* of the organisation, without a slash at its end */
    bool is_device;          /* My/System, not My/User */
    const char *device_name; /* or NULL */
    int64_t renewal_days;    /* how long before its end it may be renewed */
    const struct wstep_account *account; /* of an enrolment */
};
/* The document of an enrolment; of a renewal (3.4), which has the certificate alone. */
enum ca_status wstep_document_write(struct ca_request *req,
                                    const struct wstep_document *document,
                                    struct ca_bytes *ret_octets);
enum ca_status wstep_document_renew(struct ca_request *req,
                                    const struct wstep_document *document,
                                    struct ca_bytes *ret_octets);
