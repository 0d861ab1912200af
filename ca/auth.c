/* Authentication by one table: what it does not name is refused (SECURITY A1). */
#include "auth.h"
#include "assignment.h"
#include "auth_person.h"
#include "auto.h"
#include "clock.h"
#include "grant.h"
#include "offer_count.h"
#include "refuse.h"
#include <openssl/x509v3.h>
#include <string.h>

#define POLL_RETRY 1u /* with the request: the same message again */
#define POLL_LATER 2u /* without: is it decided yet? */
#define POLL_OWN 4u   /* likewise, of whoever is authenticated */
#define ACTIVATES 8u  /* an activation password serves, too */
#define CLIENT 16u    /* the certificate logs a client in, unless it renews itself */

struct auth_row {
    const char *protocol, *message;
    enum ca_credential_kind kind;
    enum auth_rule rule;
    unsigned flags;
};

/* RFC 8894 section 3.2.1.2: 17 RenewalReq, 19 PKCSReq, 20 CertPoll, 21 GetCert,
 * 22 GetCRL. A PKCSReq that our certificate signs is a renewal too; a RenewalReq by
 * anything else is nothing. KEY alone proves no right: it only finds what the same key
 * asked for. [MS-XCEP] and [MS-WSTEP] by their operations; a login token is used up by
 * the enrolment alone. An Issue is found again by the digest of all its octets, which
 * nobody knows without the credential in them. A certificate's Issue by a profile other
 * than its own is an enrolment of its user and device, else a renewal. */
static const struct auth_row rows[] = {
    { "scep", "19", CA_CREDENTIAL_CHALLENGE, AUTH_CHALLENGE, 0 },
    { "scep", "19", CA_CREDENTIAL_CERTIFICATE, AUTH_RENEWAL, POLL_RETRY },
    { "scep", "19", CA_CREDENTIAL_KEY, AUTH_REFUSED, POLL_RETRY },
    { "scep", "17", CA_CREDENTIAL_CERTIFICATE, AUTH_RENEWAL, POLL_RETRY },
    { "scep", "20", CA_CREDENTIAL_CERTIFICATE, AUTH_REFUSED, POLL_LATER },
    { "scep", "20", CA_CREDENTIAL_KEY, AUTH_REFUSED, POLL_LATER },
    { "scep", "21", CA_CREDENTIAL_CERTIFICATE, AUTH_DEVICE, 0 },
    { "scep", "22", CA_CREDENTIAL_CERTIFICATE, AUTH_DEVICE, 0 },
    { "discovery", "login", CA_CREDENTIAL_PASSWORD, AUTH_PERSON, ACTIVATES },
    { "self", "login", CA_CREDENTIAL_PASSWORD, AUTH_PERSON, 0 },
    { "discovery", "login", CA_CREDENTIAL_PROVIDER, AUTH_PERSON, 0 },
    { "self", "login", CA_CREDENTIAL_PROVIDER, AUTH_PERSON, 0 },
    { "xcep", "GetPolicies", CA_CREDENTIAL_PASSWORD, AUTH_PERSON, ACTIVATES },
    { "xcep", "GetPolicies", CA_CREDENTIAL_LOGIN_TOKEN, AUTH_PERSON, 0 },
    { "xcep", "GetPolicies", CA_CREDENTIAL_CERTIFICATE, AUTH_DEVICE, CLIENT },
    { "wstep", "Issue", CA_CREDENTIAL_PASSWORD, AUTH_ENROLL, POLL_RETRY | ACTIVATES },
    { "wstep", "Issue", CA_CREDENTIAL_LOGIN_TOKEN, AUTH_ENROLL, POLL_RETRY },
    { "wstep", "Issue", CA_CREDENTIAL_CERTIFICATE, AUTH_ENROLL, POLL_RETRY | CLIENT },
    { "wstep", "Renew", CA_CREDENTIAL_CERTIFICATE, AUTH_RENEWAL, POLL_RETRY },
    { "wstep", "QueryTokenStatus", CA_CREDENTIAL_PASSWORD, AUTH_PERSON, POLL_OWN },
    { "wstep", "QueryTokenStatus", CA_CREDENTIAL_CERTIFICATE, AUTH_DEVICE,
      POLL_OWN | CLIENT },
    { "activation", "device", CA_CREDENTIAL_CERTIFICATE, AUTH_DEVICE, 0 },
    { "activation", "scep-profile", CA_CREDENTIAL_CERTIFICATE, AUTH_DEVICE, 0 },
    { "activation", "policy", CA_CREDENTIAL_CERTIFICATE, AUTH_DEVICE, 0 },
    { "activation", "renew", CA_CREDENTIAL_CERTIFICATE, AUTH_RENEWAL, POLL_RETRY },
};

static const struct auth_row *
row_of(const struct ca_credential *credential)
{
    if (!credential->protocol || !credential->message || !credential->endpoint)
        return NULL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].kind == credential->kind &&
            strcmp(rows[i].protocol, credential->protocol) == 0 &&
            strcmp(rows[i].message, credential->message) == 0)
            return &rows[i];
    }
    return NULL;
}

enum auth_rule
auth_rule_of(const struct ca_credential *credential)
{
    const struct auth_row *row = row_of(credential);
    return row ? row->rule : AUTH_REFUSED;
}

bool
auth_may_poll(const struct ca_credential *credential, bool with_request)
{
    const struct auth_row *row = row_of(credential);
    return row &&
           (row->flags & (with_request ? POLL_RETRY : POLL_LATER | POLL_OWN)) != 0;
}

bool
auth_polls_own(const struct ca_credential *credential)
{
    const struct auth_row *row = row_of(credential);
    return row && (row->flags & POLL_OWN) != 0;
}

bool
auth_takes_activation(const struct ca_credential *credential)
{
    const struct auth_row *row = row_of(credential);
    return row && (row->flags & ACTIVATES) != 0;
}

/* One question to the store, with what it found. */
struct question {
    const struct ca_credential *credential;
    const struct endpoint *endpoint; /* NULL: by what the identity has, if at all */
    const struct issuers *issuers;
    struct profile_cache *profiles;
    struct endpoint *found; /* by what the identity has */
    struct person person;
    enum auth_rule rule;
    const char *protocol; /* the table's text, which outlives the plugin's */
    bool renews;          /* the enrolment takes the certificate's place */
    bool verified;        /* the credential held, whatever policy says afterwards */
    X509 *peer;           /* TLS client certificate, or NULL */
    char wrong_id[OFFER_ID_SIZE];
    const char *mismatch; /* what did not fit the offer `wrong_id` */
    struct challenge challenge;
    struct grant grant;
};

static void
question_clear(struct question *question)
{
    challenge_clear(&question->challenge);
    grant_clear(&question->grant);
    endpoint_free(CA_STEAL(question->found));
    question->wrong_id[0] = '\0';
    question->mismatch = NULL;
    question->verified = false;
    question->renews = false;
}

static void
question_clear_auto(struct question *question)
{
    question_clear(question);
    person_clear(&question->person);
}

/* The endpoint of a certificate profile that the peer did not name. */
static enum ca_status
find_endpoint(struct store_tx *tx, struct question *question, const char *profile)
{
    CA_AUTO(free) char *name = NULL;
    if (asprintf(&name, "%s/%s", profile_kind_words[PROFILE_CERTIFICATE], profile) <
        0) {
        name = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an endpoint's name");
    }
    enum ca_status status =
        endpoint_load(tx, question->profiles, name, &question->found);
    question->grant.endpoint = question->found;
    return status;
}

/* Its secret is right: where it was told to come by, and who brings it, must be, too.
 */
static enum ca_status
judge_offer(struct store_tx *tx, struct question *question, const struct offer *offer)
{
    const struct ca_credential *credential = question->credential;
    CA_AUTO(offer_clear) struct offer of_path = { 0 };
    question->mismatch = "path";
    enum ca_status status =
        offer_of_path(tx, credential->endpoint,
                      credential->path_token ? credential->path_token : "", &of_path);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    if (status != CA_OK || strcmp(of_path.id, offer->id) != 0)
        return ca_fail(CA_UNAUTHENTICATED, "%s is not for this path", offer->id);
    question->mismatch = "device";
    if (question->peer)
        status = auth_offer_peer(tx, question->issuers, question->peer, offer);
    if (status != CA_OK)
        return status;
    question->mismatch = NULL;
    if (question->endpoint->protocol->profile.stamp.version != offer->profile_version)
        return ca_fail(CA_UNAUTHENTICATED, "%s is of an earlier version of scep/%s",
                       offer->id, offer->profile);
    return CA_OK;
}

static enum ca_status
ask_offer(struct store_tx *tx, struct question *question)
{
    const struct ca_credential *credential = question->credential;
    CA_AUTO(offer_clear) struct offer offer = { 0 };
    enum ca_status status =
        offer_of_secret(tx, credential->secret, credential->secret_size, &offer);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_UNAUTHENTICATED, "no open offer has this secret");
    if (status != CA_OK)
        return status;
    question->verified = true;
    status = judge_offer(tx, question, &offer);
    if (status == CA_UNAUTHENTICATED && question->mismatch)
        snprintf(question->wrong_id, sizeof question->wrong_id, "%s", offer.id);
    return status == CA_OK ? grant_of_offer(tx, &offer, &question->grant) : status;
}

static enum ca_status
ask_challenge(struct store_tx *tx, struct question *question)
{
    const struct ca_credential *credential = question->credential;
    if (!credential->secret)
        return ca_fail(CA_UNAUTHENTICATED, "no challenge");
    if (credential->secret_size == OFFER_TOKEN_SIZE - 1)
        return ask_offer(tx, question);
    enum ca_status status = challenge_verify(
        tx, credential->secret, credential->secret_size, credential->endpoint,
        &question->challenge, question->wrong_id);
    if (status != CA_OK)
        return status;
    question->verified = true;
    return grant_of_challenge(tx, &question->challenge, &question->grant);
}

/* ECSPEKE-ACT-1 section 12: the policy goes to the certificate that the device works
 * with, everything else to that of its activation, which alone is issued over this
 * protocol; a report may come with either. */
static enum ca_status
check_purpose(const struct ca_credential *credential, const struct certificate *held)
{
    if (strcmp(credential->protocol, "activation") != 0 ||
        strcmp(credential->message, "device") == 0)
        return CA_OK;
    bool is_activation = held->protocol && strcmp(held->protocol, "activation") == 0;
    bool wants_other = strcmp(credential->message, "policy") == 0;
    if (is_activation != wants_other)
        return CA_OK;
    return ca_fail(CA_FORBIDDEN, "certificate %s is not for '%s'", held->serial,
                   credential->message);
}

/* RFC 5280 section 4.2.1.12: a certificate for other purposes alone is no log-in, so
 * that a server's key does not bring a certificate of its owner. */
static enum ca_status
check_client(const struct ca_credential *credential)
{
    const struct auth_row *row = row_of(credential);
    int critical = 0;
    bool is_client = false;
    if (!row || !(row->flags & CLIENT))
        return CA_OK;
    EXTENDED_KEY_USAGE *purposes =
        X509_get_ext_d2i(credential->certificate, NID_ext_key_usage, &critical, NULL);
    if (!purposes && critical == -1) /* no such extension: for any purpose */
        return CA_OK;
    for (int i = 0; i < sk_ASN1_OBJECT_num(purposes); i++) {
        int purpose = OBJ_obj2nid(sk_ASN1_OBJECT_value(purposes, i));
        is_client = is_client || purpose == NID_client_auth ||
                    purpose == NID_anyExtendedKeyUsage;
    }
    EXTENDED_KEY_USAGE_free(purposes);
    return is_client ? CA_OK
                     : ca_fail(CA_FORBIDDEN, "the certificate is not for log-ins");
}

/* The endpoint that the peer named, else by the user's own certificate profile. */
static enum ca_status
find_own_endpoint(struct store_tx *tx, struct question *question, const char *user)
{
    CA_AUTO(free) char *profile = NULL;
    if (question->grant.endpoint)
        return CA_OK;
    enum ca_status status = assignment_effective(
        tx, user, profile_kind_words[PROFILE_CERTIFICATE], &profile, NULL);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_FORBIDDEN, "user '%s' has no certificate profile", user);
    return status == CA_OK ? find_endpoint(tx, question, profile) : status;
}

/* A certificate of another profile for the same device. One that the device holds
 * already is renewed with itself, in its window (SECURITY A4): two profiles must not
 * help each other around it. */
static enum ca_status
ask_another(struct store_tx *tx, struct grant *grant, int64_t now)
{
    const char *profile = endpoint_profile_name(grant->endpoint);
    enum ca_status status =
        certificate_check_first(tx, grant->device.id, profile, "", now);
    grant->is_first = true;
    /* Nothing of the certificate goes over but user and device. */
    free(CA_STEAL(grant->replaces));
    json_decref(CA_STEAL(grant->names));
    return status;
}

static enum ca_status
ask_certificate(struct store_tx *tx, struct question *question)
{
    struct certificate record = { 0 };
    enum ca_status status = auth_find_certificate(
        tx, question->issuers, question->credential->certificate, &record);
    if (status != CA_OK)
        return status;
    question->verified = true;
    status = grant_of_certificate(tx, &record, &question->grant);
    if (status == CA_OK)
        status = check_purpose(question->credential, &question->grant.renewed);
    const char *profile = question->grant.renewed.profile;
    if (status == CA_OK && question->rule == AUTH_RENEWAL && !question->grant.endpoint)
        status = find_endpoint(tx, question, profile ? profile : "");
    if (status == CA_OK && question->rule == AUTH_ENROLL)
        status = find_own_endpoint(tx, question, question->grant.user.name);
    if (status != CA_OK)
        return status;
    int64_t now = clock_now();
    question->renews =
        question->rule == AUTH_RENEWAL ||
        (question->rule == AUTH_ENROLL && profile &&
         strcmp(profile, endpoint_profile_name(question->grant.endpoint)) == 0);
    if (question->renews)
        return grant_check_renewal(&question->grant, question->issuers, now);
    status = check_client(question->credential);
    if (status != CA_OK)
        return status;
    const struct certificate *held = &question->grant.renewed;
    if (now < held->not_before || now > held->not_after)
        return ca_fail(CA_FORBIDDEN, "certificate %s is not valid now", held->serial);
    return question->rule == AUTH_ENROLL ? ask_another(tx, &question->grant, now)
                                         : CA_OK;
}

/* A login token is one more question to the same store; but where the peer names an
 * endpoint it must be right before that is looked for, and a password always is. */
static bool
is_asked_together(const struct ca_credential *credential)
{
    return credential->kind == CA_CREDENTIAL_LOGIN_TOKEN &&
           credential->endpoint[0] == '\0';
}

/* The user was verified before, or is here; what is left is what the user may have. */
static enum ca_status
ask_person(struct store_tx *tx, struct question *question)
{
    struct person *person = &question->person;
    enum ca_status status = is_asked_together(question->credential)
                                ? auth_login_token(tx, question->credential, person)
                                : CA_OK;
    if (status != CA_OK)
        return status;
    question->verified = person->verified;
    status = grant_of_person(tx, person->user, person->onetime, &question->grant);
    if (status == CA_OK && person->made &&
        person->made != question->grant.user.stamp.created) {
        question->verified = false;
        return ca_fail(CA_UNAUTHENTICATED, "login token of an earlier user '%s'",
                       person->user);
    }
    if (status != CA_OK || question->rule != AUTH_ENROLL)
        return status;
    return find_own_endpoint(tx, question, person->user);
}

static enum ca_status
question_ask(struct store_tx *tx, void *arg)
{
    struct question *question = arg;
    enum ca_status status = CA_OK;
    question_clear(question);
    question->grant.endpoint = question->endpoint;
    switch (question->rule) {
    case AUTH_CHALLENGE: status = ask_challenge(tx, question); break;
    case AUTH_RENEWAL:
    case AUTH_DEVICE: status = ask_certificate(tx, question); break;
    case AUTH_PERSON:
    case AUTH_ENROLL:
        status = question->credential->kind == CA_CREDENTIAL_CERTIFICATE
                     ? ask_certificate(tx, question)
                     : ask_person(tx, question);
        break;
    case AUTH_REFUSED: status = ca_fail(CA_FORBIDDEN, "nothing to ask"); break;
    }
    if (status != CA_OK)
        return status;
    if (!question->grant.endpoint)
        return grant_is_active(&question->grant);
    /* The certificate profile of an activation is assigned to nobody: the activation
     * profile names it. */
    if (strcmp(question->protocol, "activation") != 0)
        return grant_may(tx, &question->grant, question->credential->protocol);
    status = grant_is_active(&question->grant);
    return status == CA_OK
               ? grant_check_protocol(question->grant.endpoint, question->protocol)
               : status;
}

static enum ca_status
try_count(struct store_tx *tx, void *arg)
{
    return challenge_count_try(tx, arg);
}

/* A wrong secret under a known id uses up one of its tries. That this cannot be written
 * must not tell the peer anything, but neither may it try on. */
static enum ca_status
count_wrong_try(struct exchange *exchange, struct question *question,
                enum ca_status status)
{
    if (status != CA_UNAUTHENTICATED || !question->wrong_id[0])
        return status;
    if (question->mismatch)
        return offer_count(exchange, question->wrong_id, question->mismatch, status);
    char message[512];
    snprintf(message, sizeof message, "%s", status_message());
    enum ca_status counted =
        store_write(exchange->service->store, try_count, question->wrong_id);
    if (counted == CA_UNAVAILABLE || counted == CA_INTERNAL)
        return counted;
    return ca_fail(status, "%s", message);
}

static void
endpoint_release(void *endpoint)
{
    endpoint_free(endpoint);
}

static void
grant_release(void *grant)
{
    grant_clear(grant);
    free(grant);
}

static char *
copy(const char *text, bool *failed)
{
    char *copied = text ? strdup(text) : NULL;
    *failed = *failed || (text && !copied);
    return copied;
}

static enum identity_kind
identity_of(enum auth_rule rule)
{
    switch (rule) {
    case AUTH_CHALLENGE: return IDENTITY_CHALLENGE;
    case AUTH_RENEWAL: return IDENTITY_RENEWAL;
    case AUTH_DEVICE: return IDENTITY_DEVICE;
    case AUTH_PERSON:
    case AUTH_ENROLL: return IDENTITY_USER;
    case AUTH_REFUSED: break;
    }
    return IDENTITY_NONE;
}

/* What the identity says of who asks; the kind last, when all of it is there. */
static enum ca_status
identity_set(struct exchange *exchange, struct question *question)
{
    struct identity *identity = &exchange->identity;
    struct grant *grant = calloc(1, sizeof *grant);
    if (!grant)
        return ca_fail(CA_INTERNAL, "no memory for an identity");
    *grant = question->grant;
    question->grant = (struct grant){ 0 };
    enum ca_status status = exchange_keep(exchange, grant, grant_release);
    if (status == CA_OK && question->found) {
        exchange->endpoint = question->found;
        status = exchange_keep(exchange, CA_STEAL(question->found), endpoint_release);
    }
    if (status != CA_OK)
        return status;
    bool failed = false;
    identity->protocol = question->protocol;
    if (grant->endpoint) {
        identity->endpoint = copy(grant->endpoint->name, &failed);
        identity->certificate_profile =
            copy(endpoint_profile_name(grant->endpoint), &failed);
    }
    identity->user = copy(grant->user.name, &failed);
    identity->device = copy(grant->device.id, &failed);
    identity->serial = copy(grant->replaces, &failed);
    identity->challenge = question->challenge;
    question->challenge = (struct challenge){ 0 };
    memcpy(identity->password, question->person.password, sizeof identity->password);
    identity->grant = grant;
    if (failed)
        return ca_fail(CA_INTERNAL, "no memory for an identity");
    identity->kind = question->renews ? IDENTITY_RENEWAL : identity_of(question->rule);
    return CA_OK;
}

/* The endpoint that the peer named, or NULL where it named none. A protocol without a
 * kind of profiles of its own issues by certificate profiles. */
static enum ca_status
named_endpoint(struct exchange *exchange, const struct ca_credential *credential,
               const struct endpoint **ret_endpoint)
{
    bool is_scep = strcmp(credential->protocol, "scep") == 0;
    CA_AUTO(free) char *name = NULL;
    if (!is_scep && credential->endpoint[0] == '\0') {
        *ret_endpoint = NULL;
        return CA_OK;
    }
    if (asprintf(&name, "%s/%s",
                 profile_kind_words[is_scep ? PROFILE_SCEP : PROFILE_CERTIFICATE],
                 credential->endpoint) < 0) {
        name = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an endpoint's name");
    }
    return endpoint_of(exchange, name, ret_endpoint);
}

static enum ca_status
authenticate(struct exchange *exchange, const struct ca_credential *credential,
             struct question *question)
{
    const struct auth_row *row = row_of(credential);
    if (!row || row->rule == AUTH_REFUSED)
        return ca_fail(CA_FORBIDDEN,
                       "%s message '%.16s' has no use for this credential",
                       credential->protocol ? credential->protocol : "unknown",
                       credential->message ? credential->message : "");
    bool is_person = credential->kind == CA_CREDENTIAL_PASSWORD ||
                     credential->kind == CA_CREDENTIAL_LOGIN_TOKEN ||
                     credential->kind == CA_CREDENTIAL_PROVIDER;
    enum ca_status status = CA_OK;
    /* First, so that nobody else learns which profiles there are. */
    if (is_person && !is_asked_together(credential))
        status = auth_person(exchange, credential, &question->person);
    question->verified = question->person.verified;
    if (status == CA_OK)
        status = named_endpoint(exchange, credential, &question->endpoint);
    if (status != CA_OK)
        return status;
    question->rule = row->rule;
    question->protocol = row->protocol;
    question->credential = credential;
    question->peer = exchange->request.peer_certificate;
    question->profiles = exchange->service->profiles;
    question->issuers = exchange_issuers(exchange);
    status = store_read(exchange->service->store, question_ask, question);
    status = count_wrong_try(exchange, question, status);
    if (status == CA_OK && question->grant.replaces && auth_is_settling(row->protocol))
        status =
            auth_settle_replaced(exchange, row->protocol, &question->grant.renewed);
    return status == CA_OK ? identity_set(exchange, question) : status;
}

enum ca_status
ca_authenticate(struct ca_request *req, const struct ca_credential *credential)
{
    struct exchange *exchange = exchange_of(req);
    identity_clear(&exchange->identity);
    CA_AUTO(question_clear) struct question question = { 0 };
    enum ca_status status = authenticate(exchange, credential, &question);
    if (status == CA_OK)
        return CA_OK;
    struct refusal_place place = { .protocol = credential->protocol,
                                   .endpoint = credential->endpoint,
                                   .verified = question.verified };
    CA_AUTO(free) char *actor = NULL;
    const char *user = question.grant.user.name;
    if (!user && question.verified)
        user = question.person.user;
    if (user && asprintf(&actor, "user:%s", user) < 0)
        actor = NULL;
    place.actor = actor;
    identity_clear(&exchange->identity);
    return refuse(exchange, status, &place);
}
