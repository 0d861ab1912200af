/* What a session does by itself: first contact, the policy kept, the SCEP profile. */
#include "auto.h"
#include "syncml.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>

#define USER_SCOPE "./User/"
#define POLICY_TRIES 2  /* Add after Replace, or the other way */
#define REPORTED_MAX 32 /* items that report and audit name */

static void
keep(struct syncml_session *session, int failed)
{
    session->failed = session->failed || failed != 0;
}

static void
add_get(struct syncml_session *session, const char *purpose, const char *ref,
        const char *target)
{
    CA_AUTO(json_decref)
    json_t *command = json_pack("{s:s, s:s}", "kind", "get", "target", target);
    syncml_session_add(session, purpose, ref, command);
}

/* ---- First contact (windows: DevDetail and what its neighbours say) ---- */

static const char *const detail_nodes[] = {
    "./DevDetail/SwV",
    "./DevDetail/HwV",
    "./DevDetail/FwV",
    "./DevDetail/OEM",
    "./DevDetail/DevTyp",
    "./DevDetail/Ext/Microsoft/DeviceName",
    "./DevDetail/Ext/Microsoft/DNSComputerName",
    "./DevDetail/Ext/Microsoft/OSPlatform",
    "./DevDetail/Ext/Microsoft/ProcessorArchitecture",
    "./DevDetail/Ext/Microsoft/SMBIOSSerialNumber",
    "./Vendor/MSFT/DMClient/HWDevID",
    "./Vendor/MSFT/DeviceStatus/OS/Edition",
    "./Vendor/MSFT/BitLocker/Status/DeviceEncryptionStatus",
    "./Vendor/MSFT/CertificateStore/My/WSTEP/Renew/Status",
    "./Vendor/MSFT/CertificateStore/My/WSTEP/Renew/ErrorCode",
    "./Vendor/MSFT/CertificateStore/My/WSTEP/CertThumbprint",
};

void
syncml_session_ask_detail(struct syncml_session *session)
{
    size_t i = (size_t)integer_of(session->state, "detail_asked");
    for (; i < sizeof detail_nodes / sizeof detail_nodes[0] &&
           syncml_session_has_room(session, 384);
         i++) {
        const char *name = strrchr(detail_nodes[i], '/') + 1;
        if (strstr(detail_nodes[i], "/Renew/"))
            name = strstr(detail_nodes[i], "/Renew/") + 1;
        add_get(session, SYNCML_FOR_DETAIL, name, detail_nodes[i]);
    }
    keep(session, json_object_set_new(session->state, "detail_asked",
                                      json_integer((json_int_t)i)));
}

/* The data of the first result, or NULL. */
static const char *
first_data(const json_t *pending)
{
    return text_of(json_array_get(json_object_get(pending, "results"), 0), "data");
}

static void
settle_detail(struct syncml_session *session, const json_t *pending)
{
    const char *data = first_data(pending);
    if (data && strlen(data) <= 256)
        keep(session, json_object_set_new(json_object_get(session->state, "detail"),
                                          text_of(pending, "ref"), json_string(data)));
    keep(session, json_object_set_new(session->state, "has_detail", json_true()));
}

/* ---- The policy ---- */

static bool
is_of_user(const char *uri)
{
    return strncmp(uri, USER_SCOPE, sizeof USER_SCOPE - 1) == 0;
}

/* "others" and "none" are no user of ours; other clients say nothing. */
bool
syncml_session_lacks_user(const struct syncml_session *session, const char *uri)
{
    const char *login = text_of(session->state, "login");
    return login && strcmp(login, "user") != 0 && is_of_user(uri);
}

static bool
is_version_of(const struct syncml_session *session, const json_t *policy)
{
    return session->policy && policy &&
           integer_of(session->policy, "version") == integer_of(policy, "version") &&
           strcmp(text_of(session->policy, "name"), text_of(policy, "name")) == 0;
}

static const json_t *
item_at(const struct syncml_session *session, const char *ref)
{
    return json_array_get(json_object_get(session->policy, "items"),
                          (size_t)strtoull(ref, NULL, 10));
}

/* Is what the device has what it is to have? Values are compared as their format reads
 * them, for devices write "True" and put blanks round texts. */
static bool
is_equal(const json_t *item, const char *found)
{
    const char *wanted = text_of(item, "data"), *format = text_of(item, "format");
    wanted = wanted ? wanted : "";
    size_t a = strlen(wanted), b = strlen(found);
    while (a > 0 && isspace((unsigned char)*wanted))
        wanted++, a--;
    while (b > 0 && isspace((unsigned char)*found))
        found++, b--;
    while (a > 0 && isspace((unsigned char)wanted[a - 1]))
        a--;
    while (b > 0 && isspace((unsigned char)found[b - 1]))
        b--;
    if (a != b)
        return false;
    return format && strcmp(format, "bool") == 0 ? strncasecmp(wanted, found, a) == 0
                                                 : memcmp(wanted, found, a) == 0;
}

static void
policy_settled(struct syncml_session *session)
{
    json_t *policy = json_object_get(session->state, "policy");
    keep(session, json_object_set_new(policy, "settled",
                                      json_integer(integer_of(policy, "settled") + 1)));
}

static void
policy_fix(struct syncml_session *session, const char *ref, const char *verb,
           int64_t tries)
{
    json_t *fix = json_object_get(json_object_get(session->state, "policy"), "fix");
    keep(session,
         json_array_append_new(fix, json_pack("{s:s, s:s, s:I}", "ref", ref, "verb",
                                              verb, "tries", (json_int_t)tries)));
}

/* By an earlier session: the version was brought, and this node did not fail. */
static bool
was_set(const json_t *policy, const char *uri)
{
    const json_t *before = json_object_get(policy, "before");
    bool was_there =
        !is_of_user(uri) || !json_is_true(json_object_get(before, "without_user"));
    return integer_of(before, "version") == integer_of(policy, "version") &&
           was_there && !json_object_get(json_object_get(before, "failed"), uri);
}

static void
settle_policy(struct syncml_session *session, const json_t *pending)
{
    const char *ref = text_of(pending, "ref"), *found = first_data(pending);
    const json_t *item = item_at(session, ref);
    json_t *policy = json_object_get(session->state, "policy");
    int64_t code = integer_of(pending, "code");
    if (!item || !is_version_of(session, policy))
        return; /* changed meanwhile: the next session looks again */
    const char *verb = text_of(item, "verb"), *format = text_of(item, "format");
    bool gone = strcmp(verb, "delete") == 0;
    bool is_there = code >= 200 && code < 300;
    bool bare = format && (strcmp(format, "node") == 0 || strcmp(format, "null") == 0);
    if (is_there && gone)
        policy_fix(session, ref, "delete", 0);
    else if (is_there && (bare || (found && is_equal(item, found))))
        policy_settled(session);
    else if (is_there)
        policy_fix(session, ref, "replace", 0);
    else if (code == 404 && gone)
        policy_settled(session);
    else if (code == 404)
        policy_fix(session, ref, "add", 0);
    else if (was_set(policy, text_of(item, "uri")))
        policy_settled(session); /* and cannot be read */
    else
        policy_fix(session, ref, verb, 0);
}

static void
settle_mend(struct syncml_session *session, const json_t *pending)
{
    CA_AUTO(free) char *ref = strdup(text_of(pending, "ref"));
    char *parts = ref, *index = strsep(&parts, " "), *verb = strsep(&parts, " ");
    int64_t tries = parts ? strtoll(parts, NULL, 10) : 0;
    json_t *policy = json_object_get(session->state, "policy");
    const json_t *item = index ? item_at(session, index) : NULL;
    int64_t code = integer_of(pending, "code");
    if (!item || !verb || !is_version_of(session, policy))
        return;
    const char *uri = text_of(item, "uri");
    bool is_done =
        (code >= 200 && code < 300) || (code == 404 && strcmp(verb, "delete") == 0);
    bool again =
        tries + 1 < POLICY_TRIES && ((code == 404 && strcmp(verb, "replace") == 0) ||
                                     (code == 418 && strcmp(verb, "add") == 0));
    if (again) {
        policy_fix(session, index, strcmp(verb, "add") == 0 ? "replace" : "add",
                   tries + 1);
        return;
    }
    json_t *mended = json_object_get(policy, "mended");
    json_t *failed = json_object_get(policy, "failed");
    if (is_done && json_array_size(mended) < REPORTED_MAX)
        keep(session, json_array_append_new(mended, json_string(uri)));
    if (!is_done && json_object_size(failed) < REPORTED_MAX)
        keep(session, json_object_set_new(failed, uri, json_integer(code)));
    policy_settled(session);
}

static void
policy_begin(struct syncml_session *session, const json_t *before)
{
    keep(session,
         json_object_set_new(
             session->state, "policy",
             json_pack("{s:O, s:O, s:O*, s:i, s:i, s:[], s:[], s:{}}", "name",
                       json_object_get(session->policy, "name"), "version",
                       json_object_get(session->policy, "version"), "before", before,
                       "asked", 0, "settled", 0, "fix", "mended", "failed")));
}

/* No message of the device takes it: said, and done with. */
static void
policy_too_large(struct syncml_session *session, const json_t *item)
{
    json_t *policy = json_object_get(session->state, "policy");
    json_t *failed = json_object_get(policy, "failed");
    if (json_object_size(failed) < REPORTED_MAX)
        keep(session,
             json_object_set_new(failed, text_of(item, "uri"), json_integer(413)));
    policy_settled(session);
}

static void
policy_mend(struct syncml_session *session, json_t *fix)
{
    while (json_array_size(fix) > 0) {
        const json_t *entry = json_array_get(fix, 0);
        const char *verb = text_of(entry, "verb"), *ref = text_of(entry, "ref");
        const json_t *item = item_at(session, ref);
        bool gone = strcmp(verb, "delete") == 0;
        bool has_room = syncml_session_has_room(session, syncml_command_size(item));
        if (!has_room && json_array_size(session->commands) > 0)
            return;
        if (!has_room) {
            policy_too_large(session, item);
            json_array_remove(fix, 0);
            continue;
        }
        char mend[64];
        snprintf(mend, sizeof mend, "%s %s %lld", ref, verb,
                 (long long)integer_of(entry, "tries"));
        CA_AUTO(json_decref)
        json_t *command = json_pack("{s:s, s:O}", "kind", verb, "target",
                                    json_object_get(item, "uri"));
        for (size_t i = 0; !gone && i < 3; i++) {
            static const char *const members[] = { "data", "format", "type" };
            json_t *value = json_object_get(item, members[i]);
            if (json_is_string(value))
                keep(session, json_object_set(command, members[i], value));
        }
        syncml_session_add(session, SYNCML_FOR_MEND, mend, command);
        json_array_remove(fix, 0);
    }
}

void
syncml_session_policy(struct syncml_session *session, const json_t *before)
{
    json_t *policy = json_object_get(session->state, "policy");
    if (!session->policy)
        return;
    if (!policy) {
        policy_begin(session, before);
        policy = json_object_get(session->state, "policy");
    }
    if (!is_version_of(session, policy))
        return;
    policy_mend(session, json_object_get(policy, "fix"));
    size_t asked = (size_t)integer_of(policy, "asked");
    const json_t *items = json_object_get(session->policy, "items");
    for (; asked < json_array_size(items); asked++) {
        const json_t *item = json_array_get(items, asked);
        size_t size = 256 + syncml_escaped_size(text_of(item, "uri"));
        if (syncml_session_lacks_user(session, text_of(item, "uri"))) {
            keep(session, json_object_set_new(policy, "without_user", json_true()));
            policy_settled(session); /* the next session looks again */
            continue;
        }
        if (!syncml_session_has_room(session, size)) {
            if (json_array_size(session->commands) > 0)
                break;
            policy_too_large(session, item);
            continue;
        }
        char ref[24];
        snprintf(ref, sizeof ref, "%zu", asked);
        add_get(session, SYNCML_FOR_POLICY, ref, text_of(item, "uri"));
    }
    keep(session,
         json_object_set_new(policy, "asked", json_integer((json_int_t)asked)));
}

bool
syncml_session_policy_is_done(const struct syncml_session *session)
{
    const json_t *policy = json_object_get(session->state, "policy");
    return is_version_of(session, policy) &&
           (size_t)integer_of(policy, "settled") >=
               json_array_size(json_object_get(session->policy, "items"));
}

/* ---- The SCEP profile ---- */

#define SCEP_ROOT "./Device/Vendor/MSFT/ClientCertificateInstall/SCEP/"

static void
scep_member(struct syncml_session *session, json_t *members, const char *id,
            const char *node, const char *format, const char *data)
{
    CA_AUTO(json_decref)
    json_t *target = *node ? json_sprintf(SCEP_ROOT "%s/Install/%s", id, node)
                           : json_sprintf(SCEP_ROOT "%s", id);
    const char *kind = format ? "add" : "exec";
    keep(session,
         json_array_append_new(members, json_pack("{s:s, s:O, s:s*, s:s*}", "kind",
                                                  kind, "target", target, "format",
                                                  format, "data", data)));
}

void
syncml_session_offer_scep(struct syncml_session *session,
                          const struct ca_scep_offer *offer, const char *root_base64)
{
    char usage[24], bits[24];
    CA_AUTO(json_decref)
    json_t *target = json_sprintf("./Device/Vendor/MSFT/RootCATrustedCertificates/"
                                  "Root/%s/EncodedCertificate",
                                  offer->thumbprint);
    CA_AUTO(json_decref)
    json_t *root = json_pack("{s:s, s:O, s:s, s:s}", "kind", "add", "target", target,
                             "format", "b64", "data", root_base64);
    CA_AUTO(json_decref) json_t *members = json_array();
    const char *id = offer->id;
    snprintf(usage, sizeof usage, "%lld", (long long)offer->key_usage);
    snprintf(bits, sizeof bits, "%lld", (long long)offer->key_bits);
    scep_member(session, members, id, "", "node", NULL);
    scep_member(session, members, id, "ServerURL", "chr", offer->url);
    scep_member(session, members, id, "Challenge", "chr", offer->challenge);
    scep_member(session, members, id, "EKUMapping", "chr", offer->purposes);
    scep_member(session, members, id, "KeyUsage", "int", usage);
    scep_member(session, members, id, "SubjectName", "chr", offer->subject);
    scep_member(session, members, id, "KeyLength", "int", bits);
    scep_member(session, members, id, "HashAlgorithm", "chr", "SHA-2");
    scep_member(session, members, id, "CAThumbprint", "chr", offer->thumbprint);
    scep_member(session, members, id, "RetryDelay", "int", "1");
    scep_member(session, members, id, "RetryCount", "int", "10");
    scep_member(session, members, id, "Enroll", NULL, NULL);
    CA_AUTO(json_decref)
    json_t *atomic = json_pack("{s:s, s:O}", "kind", "atomic", "members", members);
    syncml_session_add(session, SYNCML_FOR_ROOT, id, root);
    syncml_session_add(session, SYNCML_FOR_SCEP, id, atomic);
}

/* A 200 says that the device has the profile, not that it has a certificate: that is
 * for the record of what was issued to say. */
static void
settle_scep(struct syncml_session *session, const json_t *pending)
{
    int64_t code = integer_of(pending, "code");
    bool failed = code < 200 || code >= 300;
    keep(session,
         json_object_set_new(session->state, "scep",
                             json_pack("{s:O, s:I, s:b}", "offer",
                                       json_object_get(pending, "ref"), "status",
                                       (json_int_t)code, "failed", failed)));
}

void
syncml_work_settle(struct syncml_session *session, const json_t *pending)
{
    const char *purpose = text_of(pending, "for");
    if (strcmp(purpose, SYNCML_FOR_DETAIL) == 0)
        settle_detail(session, pending);
    else if (strcmp(purpose, SYNCML_FOR_POLICY) == 0)
        settle_policy(session, pending);
    else if (strcmp(purpose, SYNCML_FOR_MEND) == 0)
        settle_mend(session, pending);
    else if (strcmp(purpose, SYNCML_FOR_SCEP) == 0)
        settle_scep(session, pending);
}
