/* New RA and OCSP certificates before the present ones end. */
#include "audit.h"
#include "ceremony.h"
#include "ceremony_key.h"
#include "clock.h"
#include "names.h"
#include <string.h>

#define RA_VALIDITY (5 * INT64_C(31536000))
#define OCSP_VALIDITY INT64_C(31536000)
#define OVERLAP_MIN 86400

/* The current helper of one role of one issuer. */
struct current {
    const char *issuer;
    int role;
    X509 *certificate; /* NULL: there is none */
};

static enum ca_status
visit_helper(const void *record, void *arg)
{
    const struct helper *helper = record;
    struct current *current = arg;
    const uint8_t *at = helper->certificate;
    if (!helper->current || helper->role != current->role || !helper->issuer || !at ||
        strcmp(helper->issuer, current->issuer) != 0)
        return CA_OK;
    X509_free(current->certificate);
    current->certificate = d2i_X509(NULL, &at, (long)helper->certificate_size);
    return current->certificate
               ? CA_OK
               : ca_fail_openssl(CA_INTERNAL, "helper '%s' has a broken certificate",
                                 helper->name);
}

static enum ca_status
current_step(struct store_tx *tx, void *arg)
{
    return helper_list(tx, visit_helper, arg);
}

/* "rsa-2048" or "p-256" as keygen.h writes it; the role's default for another key. */
static const char *
algorithm_of(const X509 *certificate, int role)
{
    const EVP_PKEY *key = certificate ? X509_get0_pubkey(certificate) : NULL;
    int bits = key ? EVP_PKEY_get_bits(key) : 0;
    if (key && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA)
        return bits > 3072 ? "rsa-4096" : bits > 2048 ? "rsa-3072" : "rsa-2048";
    if (key && role == HELPER_OCSP)
        return bits > 256 ? "p-384" : "p-256";
    return role == HELPER_RA ? "rsa-2048" : "p-256";
}

/* When it ends, and how long it was to live. */
static enum ca_status
times_of(const X509 *certificate, int64_t *ret_end, int64_t *ret_life)
{
    int64_t begin = 0;
    enum ca_status status = tbs_time_of(X509_get0_notBefore(certificate), &begin);
    if (status == CA_OK)
        status = tbs_time_of(X509_get0_notAfter(certificate), ret_end);
    if (status == CA_OK)
        *ret_life = *ret_end - begin;
    return status;
}

static char *
subject_of(const struct current *current)
{
    char *subject = NULL;
    if (current->certificate)
        return names_format_subject(X509_get_subject_name(current->certificate));
    if (asprintf(&subject, "CN=%s %s", current->issuer,
                 current->role == HELPER_RA ? "SCEP RA" : "OCSP") < 0)
        return NULL;
    return subject;
}

static enum ca_status
helper_renew(const struct ceremony *ceremony, const struct current *current,
             int64_t window, size_t *made)
{
    int64_t end = 0, life = 0;
    int64_t validity = current->role == HELPER_RA ? RA_VALIDITY : OCSP_VALIDITY;
    enum ca_status status = CA_OK;
    if (current->certificate)
        status = times_of(current->certificate, &end, &life);
    if (status != CA_OK)
        return status;
    if (window >= 0 && end - clock_now() > window)
        return CA_OK;
    CA_AUTO(free) char *subject = subject_of(current);
    if (!subject)
        return ca_fail(CA_INTERNAL, "no memory for a subject");
    status = ceremony_create_helper(
        ceremony, &(struct ceremony_helper){
                      .role = current->role,
                      .issuer = current->issuer,
                      .subject = subject,
                      .algorithm = algorithm_of(current->certificate, current->role),
                      .validity = life > OVERLAP_MIN ? life : validity,
                  });
    *made += status == CA_OK;
    return status;
}

enum ca_status
ceremony_renew_helpers(const struct ceremony *ceremony,
                       const struct ceremony_renewal *wanted, size_t *ret_made)
{
    static const int roles[] = { HELPER_RA, HELPER_OCSP };
    enum ca_status status = CA_OK;
    size_t made = 0;
    for (size_t i = 0; status == CA_OK && i < sizeof roles / sizeof roles[0]; i++) {
        struct current current = { .issuer = wanted->issuer, .role = roles[i] };
        if (!wanted->roles[roles[i]])
            continue;
        status = store_read(ceremony->store, current_step, &current);
        if (status == CA_OK)
            status = helper_renew(ceremony, &current, wanted->window, &made);
        X509_free(current.certificate);
    }
    *ret_made = made;
    return status;
}
