/* The script of a ceremony: decoded by one table, each act checked, then done. */
#include "ceremony_script.h"
#include "auto.h"
#include "ceremony_key.h"
#include "ceremony_rehearse.h"
#include "keycheck.h"
#include "text.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCRIPT_MAX (256 * 1024)
#define ACTS_MAX 64
#define FILE_MAX (1024 * 1024)
#define YEAR INT64_C(31536000)
#define AS_USUAL (-2)

static const char *const kind_words[] = { "root",   "issuer", "helper", "csr",
                                          "import", "cross",  "crl",    NULL };
_Static_assert(ACT_KIND_COUNT == 7, "a word for each kind of act");

static const struct field act_fields[] = {
    { FIELD(ceremony_act, act), .type = FIELD_CHOICE, .words = kind_words,
      .flags = FIELD_REQUIRED, .help = "What is done." },
    { FIELD(ceremony_act, name), .type = FIELD_TEXT, .flags = FIELD_NAME,
      .help = "The issuer it is done to." },
    { FIELD(ceremony_act, subject), .type = FIELD_TEXT, .min = 1 },
    { FIELD(ceremony_act, algorithm), .type = FIELD_TEXT, .min = 1, .max = 32 },
    { FIELD(ceremony_act, token), .type = FIELD_TEXT, .flags = FIELD_NAME },
    { FIELD(ceremony_act, parent), .type = FIELD_TEXT, .flags = FIELD_NAME },
    { FIELD(ceremony_act, role), .type = FIELD_CHOICE, .words = helper_role_words },
    { FIELD(ceremony_act, validity), .type = FIELD_DURATION, .min = 0,
      .max = 40 * YEAR },
    { FIELD(ceremony_act, path_length), .type = FIELD_INTEGER, .min = AS_USUAL,
      .max = 16, .initial = "-2" },
    { FIELD(ceremony_act, standby), .type = FIELD_BOOLEAN },
    { FIELD(ceremony_act, certificate), .type = FIELD_TEXT, .min = 1 },
    { FIELD(ceremony_act, chain), .type = FIELD_TEXT, .min = 1 },
    { FIELD(ceremony_act, out), .type = FIELD_TEXT, .min = 1 },
    { FIELD(ceremony_act, attestation), .type = FIELD_TEXT, .min = 1 },
    FIELD_END,
};

const struct field ceremony_script_fields[] = {
    { FIELD(ceremony_script, ceremony), .type = FIELD_TEXT, .flags = FIELD_REQUIRED,
      .min = 1, .max = 200, .help = "Its title." },
    { FIELD(ceremony_script, people), .type = FIELD_TEXTS, .min = 1, .max = 200,
      .help = "Who is present, and as what." },
    { FIELD(ceremony_script, acts), .type = FIELD_OBJECTS, .fields = act_fields,
      .item_size = sizeof(struct ceremony_act), .count_max = ACTS_MAX,
      .flags = FIELD_REQUIRED, .help = "What is done, in this order." },
    FIELD_END,
};

/* ---- Which members an act has ---- */

enum member {
    NAME = 1,
    SUBJECT = 2,
    ALGORITHM = 4,
    TOKEN = 8,
    PARENT = 16,
    VALIDITY = 32,
    PATH_LENGTH = 64,
    CERTIFICATE = 128,
    CHAIN = 256,
    OUT = 512,
    STANDBY = 1024,
    ATTESTATION = 2048
};
static const struct {
    unsigned required, allowed;
} act_members[ACT_KIND_COUNT] = {
    [ACT_ROOT] = { NAME | SUBJECT, ALGORITHM | TOKEN | VALIDITY | PATH_LENGTH |
                                       STANDBY | OUT | ATTESTATION },
    [ACT_ISSUER] = { NAME | SUBJECT | PARENT, ALGORITHM | TOKEN | VALIDITY |
                                                  PATH_LENGTH | STANDBY | OUT |
                                                  ATTESTATION },
    [ACT_HELPER] = { 0, NAME | SUBJECT | ALGORITHM | TOKEN | VALIDITY | OUT |
                            ATTESTATION },
    [ACT_CSR] = { NAME | SUBJECT | OUT, ALGORITHM | TOKEN | ATTESTATION },
    [ACT_IMPORT] = { NAME | CERTIFICATE, CHAIN | STANDBY },
    [ACT_CROSS] = { NAME | PARENT, VALIDITY | OUT },
    [ACT_CRL] = { NAME, OUT },
};

static unsigned
members_of(const struct ceremony_act *act)
{
    return (act->name ? NAME : 0u) | (act->subject ? SUBJECT : 0u) |
           (act->algorithm ? ALGORITHM : 0u) | (act->token ? TOKEN : 0u) |
           (act->parent ? PARENT : 0u) | (act->validity ? VALIDITY : 0u) |
           (act->path_length != AS_USUAL ? PATH_LENGTH : 0u) |
           (act->certificate ? CERTIFICATE : 0u) | (act->chain ? CHAIN : 0u) |
           (act->out ? OUT : 0u) | (act->standby ? STANDBY : 0u) |
           (act->attestation ? ATTESTATION : 0u);
}

static const char *
member_name(unsigned members)
{
    static const char *const names[] = { "name",        "subject",     "algorithm",
                                         "token",       "parent",      "validity",
                                         "path_length", "certificate", "chain",
                                         "out",         "standby",     "attestation" };
    unsigned bit = 0;
    while (!(members & 1u << bit))
        bit++;
    return names[bit];
}

/* A RA or OCSP helper serves an issuer by a certificate, the others have none. */
static enum ca_status
act_check(const struct ceremony_act *act, size_t index)
{
    unsigned has = members_of(act), required = act_members[act->act].required;
    unsigned allowed = required | act_members[act->act].allowed;
    if (act->act == ACT_HELPER) {
        bool is_certified = act->role == HELPER_RA || act->role == HELPER_OCSP;
        required |= is_certified ? NAME | SUBJECT : 0u;
        allowed &= is_certified ? ~0u : ~(unsigned)(NAME | SUBJECT | VALIDITY);
    }
    if (required & ~has)
        return ca_fail(CA_MALFORMED, "act %zu (%s) needs '%s'", index + 1,
                       kind_words[act->act], member_name(required & ~has));
    if (has & ~allowed)
        return ca_fail(CA_MALFORMED, "act %zu (%s) takes no '%s'", index + 1,
                       kind_words[act->act], member_name(has & ~allowed));
    return CA_OK;
}

/* What is usual where the script does not say. */
static enum ca_status
act_complete(struct ceremony_act *act)
{
    static const int64_t validity[ACT_KIND_COUNT] = {
        [ACT_ROOT] = 20 * YEAR, [ACT_ISSUER] = 10 * YEAR, [ACT_CROSS] = 10 * YEAR
    };
    if (act->validity == 0)
        act->validity = act->act != ACT_HELPER   ? validity[act->act]
                        : act->role == HELPER_RA ? 5 * YEAR
                                                 : YEAR;
    if (act->path_length == AS_USUAL)
        act->path_length = act->act == ACT_ISSUER ? 0 : -1;
    bool decrypts =
        act->act == ACT_HELPER && ceremony_helper_uses(act->role) & TOKEN_USE_DECRYPT;
    if (!act->algorithm)
        act->algorithm = strdup(act->act == ACT_ROOT ? "p-384"
                                : decrypts           ? "rsa-2048"
                                                     : "p-256");
    return act->algorithm ? CA_OK : ca_fail(CA_INTERNAL, "no memory for an act");
}

enum ca_status
ceremony_script_decode(const char *text, size_t size,
                       struct ceremony_script *ret_script)
{
    CA_AUTO(json_decref) json_t *json = NULL;
    struct ceremony_script script = { 0 };
    enum ca_status status = field_parse(text, size, SCRIPT_MAX, &json);
    if (status == CA_OK)
        status = field_decode(ceremony_script_fields, json, &script, NULL);
    struct ceremony_act *acts = script.acts.items;
    if (status == CA_OK && script.acts.count == 0)
        status = ca_fail(CA_MALFORMED, "the script has no acts");
    for (size_t i = 0; status == CA_OK && i < script.acts.count; i++) {
        status = act_check(&acts[i], i);
        if (status == CA_OK)
            status = act_complete(&acts[i]);
    }
    if (status == CA_OK)
        *ret_script = script;
    else
        field_clear(ceremony_script_fields, &script);
    return status;
}

/* ---- Files ---- */

static char *
path_of(const struct ceremony_stage *stage, const char *name)
{
    char *path = NULL;
    if (name[0] == '/')
        return strdup(name);
    return asprintf(&path, "%s/%s", stage->folder, name) < 0 ? NULL : path;
}

static enum ca_status
file_read(const struct ceremony_stage *stage, const char *name, char **ret_text,
          json_t *record)
{
    CA_AUTO(free) char *path = path_of(stage, name);
    CA_AUTO(fclose) FILE *file = path ? fopen(path, "re") : NULL;
    CA_AUTO(free) char *text = malloc(FILE_MAX + 1);
    char sha256[65];
    if (!file || !text)
        return ca_fail(CA_NOT_FOUND, "%s: %s", name, strerror(errno));
    size_t size = fread(text, 1, FILE_MAX + 1, file);
    if (ferror(file) || size > FILE_MAX)
        return ca_fail(CA_LIMIT, "%s: cannot be read, or too long", name);
    text[size] = '\0';
    enum ca_status status = ceremony_sha256(text, size, sha256);
    if (status != CA_OK)
        return status;
    json_t *inputs = json_object_get(record, "inputs");
    if (!inputs) {
        inputs = json_object();
        json_object_set_new(record, "inputs", inputs);
    }
    json_object_set_new(inputs, name, json_string(sha256));
    *ret_text = CA_STEAL(text);
    return CA_OK;
}

/* PEM, never over another file. */
static enum ca_status
file_write(const struct ceremony_stage *stage, const struct ceremony_act *act,
           const struct ceremony_made *made)
{
    const char *label = act->act == ACT_CSR   ? "CERTIFICATE REQUEST"
                        : act->act == ACT_CRL ? "X509 CRL"
                                              : "CERTIFICATE";
    CA_AUTO(free) char *path = path_of(stage, act->out);
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (!path || !bio ||
        PEM_write_bio(bio, label, "", made->der, (long)made->size) <= 0)
        return ca_fail_openssl(CA_INTERNAL, "no PEM for %s", act->out);
    long size = BIO_get_mem_data(bio, &text);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file < 0)
        return ca_fail(CA_CONFLICT, "%s: %s", act->out, strerror(errno));
    bool holds = fchmod(file, 0644) == 0 && write(file, text, (size_t)size) == size &&
                 fsync(file) == 0;
    close(file);
    return holds ? CA_OK : ca_fail(CA_UNAVAILABLE, "%s: %s", act->out, strerror(errno));
}

static enum ca_status
out_is_free(const struct ceremony_stage *stage, const struct ceremony_act *act)
{
    CA_AUTO(free) char *path = act->out ? path_of(stage, act->out) : NULL;
    if (path && access(path, F_OK) == 0)
        return ca_fail(CA_CONFLICT, "%s exists", act->out);
    return CA_OK;
}

/* ---- Acts ---- */

static enum ca_status
act_import(const struct ceremony_stage *stage, const struct ceremony_act *act,
           json_t *record, struct ceremony_made *made)
{
    CA_AUTO(free) char *certificate = NULL;
    CA_AUTO(free) char *chain = NULL;
    enum ca_status status = file_read(stage, act->certificate, &certificate, record);
    if (status == CA_OK && act->chain)
        status = file_read(stage, act->chain, &chain, record);
    if (status != CA_OK)
        return status;
    return ceremony_import(
        stage->ceremony,
        &(struct ceremony_import){
            .name = act->name,
            .certificate = certificate,
            .chain = chain,
            .state = act->standby ? AUTHORITY_STANDBY : AUTHORITY_ACTIVE,
            .only_check = stage->rehearses,
        },
        made);
}

static enum ca_status
act_do(const struct ceremony_stage *stage, const struct ceremony_act *act,
       json_t *record, struct ceremony_made *made)
{
    struct ceremony ceremony = *stage->ceremony;
    if (act->token)
        ceremony.token = act->token;
    const struct ceremony_issuer issuer = { act->name,
                                            act->subject,
                                            act->algorithm,
                                            act->parent,
                                            act->validity,
                                            (int)act->path_length,
                                            act->standby ? AUTHORITY_STANDBY
                                                         : AUTHORITY_ACTIVE };
    const struct ceremony_helper helper = { act->role, act->name, act->subject,
                                            act->algorithm, act->validity };
    const struct ceremony_request request = { act->name, act->subject, act->algorithm };
    const struct ceremony_cross cross = { act->name, act->parent, act->validity };
    switch ((enum ceremony_kind)act->act) {
    case ACT_ROOT:
    case ACT_ISSUER: return ceremony_make_issuer(&ceremony, &issuer, made);
    case ACT_HELPER: return ceremony_make_helper(&ceremony, &helper, made);
    case ACT_CSR: return ceremony_request(&ceremony, &request, made);
    case ACT_IMPORT: return act_import(stage, act, record, made);
    case ACT_CROSS: return ceremony_cross(&ceremony, &cross, made);
    case ACT_CRL: return stage->crl(stage->arg, act->name, made);
    case ACT_KIND_COUNT:
    default: return ca_fail(CA_INTERNAL, "act %d", act->act);
    }
}

/* ---- The transcript ---- */

/* Serial and key digest of a certificate, for `ceremony verify` and for people. */
static enum ca_status
certificate_tell(json_t *record, const struct ceremony_made *made)
{
    const uint8_t *at = made->der;
    CA_AUTO(X509_free) X509 *certificate = d2i_X509(NULL, &at, (long)made->size);
    const ASN1_INTEGER *serial =
        certificate ? X509_get0_serialNumber(certificate) : NULL;
    CA_AUTO(free) char *hex = serial ? malloc(2 * (size_t)serial->length + 1) : NULL;
    char spki[65];
    uint8_t digest[32];
    if (!hex || keycheck_digest(X509_get_X509_PUBKEY(certificate), digest) != CA_OK)
        return ca_fail_openssl(CA_INTERNAL, "what was made is no certificate");
    hex_format(serial->data, (size_t)serial->length, hex);
    hex_format(digest, sizeof digest, spki);
    json_object_set_new(record, "serial", json_string(hex));
    json_object_set_new(record, "spki_sha256", json_string(spki));
    return CA_OK;
}

static enum ca_status
made_tell(const struct ceremony_act *act, const struct ceremony_made *made,
          json_t *record)
{
    char sha256[65];
    enum ca_status status = CA_OK;
    if (made->key)
        json_object_set_new(record, "key", json_string(made->key));
    if (!made->der)
        return CA_OK;
    status = ceremony_sha256(made->der, made->size, sha256);
    if (status != CA_OK)
        return status;
    json_object_set_new(record, "sha256", json_string(sha256));
    /* An imported certificate is another CA's: not in our inventory. */
    bool is_ours = act->act != ACT_CSR && act->act != ACT_CRL && act->act != ACT_IMPORT;
    return is_ours ? certificate_tell(record, made) : CA_OK;
}

static enum ca_status
act_run(const struct ceremony_stage *stage, const struct ceremony_act *act,
        struct rehearsal *rehearsal, json_t *record)
{
    CA_AUTO(ceremony_made_clear) struct ceremony_made made = { 0 };
    CA_AUTO(free) char *attestation = NULL;
    enum ca_status status = out_is_free(stage, act);
    if (status == CA_OK && act->attestation)
        status = file_read(stage, act->attestation, &attestation, record);
    if (status != CA_OK)
        return status;
    if (stage->rehearses) {
        if (act->act == ACT_IMPORT && !rehearsal_knows(rehearsal, act->name))
            return act_import(stage, act, record, &made);
        return rehearsal_act(rehearsal, act, record);
    }
    status = act_do(stage, act, record, &made);
    if (status == CA_OK)
        status = made_tell(act, &made, record);
    if (status == CA_OK && act->out)
        status = file_write(stage, act, &made);
    return status;
}

enum ca_status
ceremony_script_run(const struct ceremony_stage *stage,
                    const struct ceremony_script *script, json_t **ret_acts)
{
    const struct ceremony_act *acts = script->acts.items;
    struct rehearsal rehearsal = { .ceremony = stage->ceremony };
    json_t *list = json_array();
    enum ca_status status = CA_OK;
    for (size_t i = 0; status == CA_OK && i < script->acts.count; i++) {
        json_t *record = field_encode(act_fields, &acts[i]);
        if (!record)
            return ca_fail(CA_INTERNAL, "no memory for a transcript");
        json_array_append_new(list, record);
        status = act_run(stage, &acts[i], &rehearsal, record);
        json_object_set_new(record, "outcome",
                            json_string(status == CA_OK ? "ok" : status_message()));
        if (status != CA_OK) {
            CA_AUTO(free) char *reason = strdup(status_message());
            status = ca_fail(status, "act %zu (%s): %s", i + 1, kind_words[acts[i].act],
                             reason ? reason : "");
        }
    }
    rehearsal_clear(&rehearsal);
    *ret_acts = list;
    return status;
}
