/* One-time SCEP secrets, bound to a user, a profile, a device and names. */
#include "challenge.h"
#include "auto.h"
#include "clock.h"
#include "digest.h"
#include "query.h"
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define CHALLENGE_ID_SIZE 8
#define CHALLENGE_SECRET_SIZE 16 /* 128 bits: SECURITY A3 */
#define CHALLENGE_LIFETIME_MAX ((int64_t)90 * 86400)
#define CHALLENGE_SAN_MAX 32

static const char *const state_words[] = { "open",   "claimed", "used", "withdrawn",
                                           "locked", "expired", NULL };

static bool
check_san(const void *member, char *ret_reason, size_t size)
{
    static const char *const types[] = { "dns:", "email:", "ip:", "uri:" };
    const struct field_list *san = member;
    char *const *texts = san->items;
    for (size_t i = 0; i < san->count; i++) {
        bool is_good = false;
        for (size_t k = 0; k < sizeof types / sizeof types[0]; k++)
            is_good = is_good || (strncmp(texts[i], types[k], strlen(types[k])) == 0 &&
                                  texts[i][strlen(types[k])] != '\0');
        if (is_good)
            continue;
        snprintf(ret_reason, size,
                 "must hold names such as \"dns:a.example.com\" (dns, email, ip, uri)");
        return false;
    }
    return true;
}

const struct field challenge_fields[] = {
    { FIELD(challenge, id), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Names the challenge; it is its first 16 digits." },
    { FIELD(challenge, user), .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NAME,
      .help = "The user whose device it enrols." },
    { FIELD(challenge, profile), .type = FIELD_TEXT,
      .flags = FIELD_REQUIRED | FIELD_NAME,
      .help = "The scep profile at whose endpoint alone it holds." },
    { FIELD(challenge, device), .type = FIELD_TEXT, .max = 36,
      .help = "Id of the device it enrols; null: a new one." },
    { FIELD(challenge, subject), .type = FIELD_TEXT, .min = 1, .max = 1024,
      .help = "Subject the request must carry (\"CN=router 7,O=Example\")." },
    { FIELD(challenge, san), .type = FIELD_TEXTS, .count_max = CHALLENGE_SAN_MAX,
      .initial = "[]", .check = check_san,
      .help = "All names the request may carry (\"dns:r7.example.com\")." },
    { FIELD(challenge, expires), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "From then on it is worth nothing." },
    { FIELD(challenge, expires_in), .type = FIELD_DURATION, .flags = FIELD_SECRET,
      .min = 1, .max = CHALLENGE_LIFETIME_MAX, .initial = "\"P1D\"",
      .help = "How long it may be used, from now." },
    { FIELD(challenge, state), .type = FIELD_CHOICE, .words = state_words,
      .flags = FIELD_READ_ONLY,
      .help = "Claimed while its certificate is being made or waits for approval." },
    { FIELD(challenge, serial), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "Serial of the certificate it was used for." },
    { FIELD(challenge, tries), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY,
      .help = "Wrong secrets that were tried with its id; five lock it." },
    { FIELD(challenge, created_by), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .help = "The administrator who made it, and may not approve its request." },
    RECORD_STAMP_FIELDS(challenge),
    FIELD_END,
};

#define CHALLENGE_COLUMNS                                                              \
    "id, user_name, profile, device_id, subject, san, expires, state, serial, tries, " \
    "created_by, created, updated, version"

/* What a text is compared with; the record comes first. */
struct stored_challenge {
    struct challenge challenge;
    uint8_t secret_sha256[SHA256_DIGEST_LENGTH];
};

#define CHALLENGE_RECORD_COLUMNS                                                       \
    RECORD_COLUMN(challenge, TEXT, id), RECORD_COLUMN(challenge, TEXT, user),          \
        RECORD_COLUMN(challenge, TEXT, profile),                                       \
        RECORD_COLUMN(challenge, TEXT, device),                                        \
        RECORD_COLUMN(challenge, TEXT, subject), RECORD_COLUMN(challenge, TEXTS, san), \
        RECORD_COLUMN(challenge, INTEGER, expires),                                    \
        RECORD_COLUMN(challenge, CHOICE, state),                                       \
        RECORD_COLUMN(challenge, TEXT, serial),                                        \
        RECORD_COLUMN(challenge, INTEGER, tries),                                      \
        RECORD_COLUMN(challenge, TEXT, created_by), RECORD_STAMP_COLUMNS(challenge)

static const struct record_column challenge_columns[] = {
    CHALLENGE_RECORD_COLUMNS,
    { .type = RECORD_COLUMN_END },
};

static const struct record_select challenge_select = {
    challenge_columns, sizeof(struct challenge),
    "SELECT " CHALLENGE_COLUMNS " FROM challenge WHERE id = $1"
};

static const struct record_column stored_columns[] = {
    CHALLENGE_RECORD_COLUMNS,
    RECORD_COLUMN_OCTETS(stored_challenge, secret_sha256),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select stored_select = {
    stored_columns, sizeof(struct stored_challenge),
    "SELECT " CHALLENGE_COLUMNS ", secret_sha256 FROM challenge WHERE id = $1"
};

static void
expire(struct challenge *challenge)
{
    if (challenge->state == CHALLENGE_OPEN && challenge->expires <= clock_now())
        challenge->state = CHALLENGE_EXPIRED;
}

/* What of the binding does not hold; all of it was part of the INSERT's condition. */
static enum ca_status
binding_refuse(struct store_tx *tx, const struct challenge *challenge)
{
    int64_t user_state = -1, profiles = 0, device_rows = 0;
    enum ca_status status = store_run(tx, "SELECT state FROM users WHERE name = $1",
                                      STORE_VALUES(store_text(challenge->user)),
                                      row_take_integer, &user_state, NULL);
    if (status == CA_OK)
        status = store_run(
            tx, "SELECT 1 FROM profile WHERE kind = 'scep' AND name = $1",
            STORE_VALUES(store_text(challenge->profile)), NULL, NULL, &profiles);
    if (status == CA_OK && challenge->device)
        status = store_run(tx, "SELECT 1 FROM device WHERE id = $1",
                           STORE_VALUES(store_text(challenge->device)), NULL, NULL,
                           &device_rows);
    if (status != CA_OK)
        return status;
    if (user_state < 0)
        return ca_fail(CA_NOT_FOUND, "no user '%s'", challenge->user);
    if (profiles == 0)
        return ca_fail(CA_NOT_FOUND, "no profile 'scep/%s'", challenge->profile);
    if (challenge->device && device_rows == 0)
        return ca_fail(CA_NOT_FOUND, "no device '%s'", challenge->device);
    if (user_state != 0)
        return ca_fail(CA_FORBIDDEN, "user '%s' is disabled", challenge->user);
    return ca_fail(CA_FORBIDDEN, "device '%s' is not an enabled one of user '%s'",
                   challenge->device ? challenge->device : "", challenge->user);
}

static enum ca_status
challenge_store(struct store_tx *tx, struct challenge *challenge, const char *id,
                const uint8_t sha256[32])
{
    int64_t rows = 0, now = clock_now();
    int64_t expires =
        challenge->expires ? challenge->expires : now + challenge->expires_in;
    CA_AUTO(free) char *san = record_texts_format(&challenge->san);
    CA_AUTO(free) char *copy = strdup(id);
    if (!san || !copy)
        return ca_fail(CA_INTERNAL, "no memory for a challenge");
    enum ca_status status = store_run(
        tx,
        "INSERT INTO challenge (" CHALLENGE_COLUMNS ", secret_sha256) "
        "SELECT $1, u.name, p.name, $4, $5, $6, $7, 0, NULL, 0, $10, $8, $8, 1, $9 "
        "FROM users u, profile p WHERE u.name = $2 AND u.state = 0 "
        "AND p.kind = 'scep' AND p.name = $3 AND (CAST($4 AS TEXT) IS NULL OR EXISTS "
        "(SELECT 1 FROM device WHERE id = $4 AND owner = $2 AND state <= 1)) "
        "RETURNING created, updated, version",
        STORE_VALUES(store_text(id), store_text(challenge->user),
                     store_text(challenge->profile), store_text(challenge->device),
                     store_text(challenge->subject), store_text(san),
                     store_integer(expires), store_integer(now),
                     store_blob(sha256, SHA256_DIGEST_LENGTH),
                     store_text(challenge->created_by)),
        row_take_stamp, &challenge->stamp, &rows);
    if (status != CA_OK)
        return status;
    if (rows == 0)
        return binding_refuse(tx, challenge);
    free(challenge->id);
    challenge->id = CA_STEAL(copy);
    challenge->expires = expires;
    challenge->state = CHALLENGE_OPEN;
    return CA_OK;
}

static void
upper_hex(const uint8_t *octets, size_t size, char *ret_text)
{
    hex_format(octets, size, ret_text);
    for (char *c = ret_text; *c; c++)
        if (*c >= 'a' && *c <= 'f')
            *c = (char)(*c - 'a' + 'A');
}

enum ca_status
challenge_insert(struct store_tx *tx, struct challenge *challenge,
                 char ret_text[CHALLENGE_TEXT_SIZE])
{
    uint8_t drawn[CHALLENGE_ID_SIZE + CHALLENGE_SECRET_SIZE];
    uint8_t sha256[SHA256_DIGEST_LENGTH];
    char id[2 * CHALLENGE_ID_SIZE + 1];
    enum ca_status status = random_bytes(drawn, sizeof drawn);
    if (status != CA_OK)
        return status;
    SHA256(drawn + CHALLENGE_ID_SIZE, CHALLENGE_SECRET_SIZE, sha256);
    hex_format(drawn, CHALLENGE_ID_SIZE, id);
    status = challenge_store(tx, challenge, id, sha256);
    if (status == CA_OK)
        upper_hex(drawn, sizeof drawn, ret_text);
    OPENSSL_cleanse(drawn, sizeof drawn);
    return status;
}

enum ca_status
challenge_load(struct store_tx *tx, const char *id, struct challenge *ret_challenge)
{
    enum ca_status status =
        record_load(tx, &challenge_select, STORE_VALUES(store_text(id)), ret_challenge);
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_NOT_FOUND, "no challenge '%s'", id);
    if (status == CA_OK)
        expire(ret_challenge);
    return status;
}

struct challenge_visit {
    record_visit visit;
    void *arg;
};

static enum ca_status
challenge_visit_now(const void *record, void *arg)
{
    const struct challenge_visit *list = arg;
    struct challenge challenge = *(const struct challenge *)record;
    expire(&challenge);
    return list->visit(&challenge, list->arg);
}

enum ca_status
challenge_list(struct store_tx *tx, const char *user, const char *state,
               const struct record_page *page, record_visit visit, void *arg)
{
    struct query query;
    struct challenge_visit list = { visit, arg };
    int index = 0;
    query_begin(&query, "SELECT " CHALLENGE_COLUMNS " FROM challenge");
    query_where_text(&query, "user_name = ?", user);
    if (state) {
        enum ca_status status =
            word_parse(state_words, "state of a challenge", state, &index);
        if (status != CA_OK)
            return status;
    }
    if (state && index == CHALLENGE_EXPIRED)
        query_where(&query, "state = 0 AND expires <= ?", store_integer(clock_now()));
    else if (state && index == CHALLENGE_OPEN)
        query_where(&query, "state = 0 AND expires > ?", store_integer(clock_now()));
    else if (state)
        query_where(&query, "state = ?", store_integer(index));
    query_page(&query, "id", page);
    return query_list(&query, tx, &challenge_select, challenge_visit_now, &list);
}

/* Splits a text into its id and the SHA-256 of its secret. */
static bool
text_split(const char *text, size_t length, char ret_id[17], uint8_t ret_sha256[32])
{
    char copy[CHALLENGE_TEXT_SIZE] = "";
    uint8_t octets[CHALLENGE_ID_SIZE + CHALLENGE_SECRET_SIZE];
    if (length != CHALLENGE_TEXT_SIZE - 1)
        return false;
    memcpy(copy, text, length);
    bool is_good = strspn(copy, "0123456789ABCDEF") == length &&
                   hex_parse(copy, octets, sizeof octets);
    if (is_good) {
        hex_format(octets, CHALLENGE_ID_SIZE, ret_id);
        digest_sha256(octets + CHALLENGE_ID_SIZE, CHALLENGE_SECRET_SIZE, ret_sha256);
    }
    OPENSSL_cleanse(copy, sizeof copy);
    OPENSSL_cleanse(octets, sizeof octets);
    return is_good;
}

static enum ca_status
stored_judge(const struct challenge *challenge, const char *profile)
{
    if (challenge->state != CHALLENGE_OPEN)
        return ca_fail(CA_UNAUTHENTICATED, "challenge '%s' is %s", challenge->id,
                       state_words[challenge->state]);
    if (strcmp(challenge->profile, profile) != 0)
        return ca_fail(CA_UNAUTHENTICATED, "challenge '%s' is for 'scep/%s'",
                       challenge->id, challenge->profile);
    return CA_OK;
}

enum ca_status
challenge_verify(struct store_tx *tx, const char *text, size_t length,
                 const char *profile, struct challenge *ret_challenge,
                 char ret_wrong_id[17])
{
    struct stored_challenge stored = { 0 };
    uint8_t sha256[SHA256_DIGEST_LENGTH];
    char id[17] = "";
    if (ret_wrong_id)
        ret_wrong_id[0] = '\0';
    if (!text_split(text, length, id, sha256))
        return ca_fail(CA_UNAUTHENTICATED, "not the text of a challenge");
    enum ca_status status =
        record_load(tx, &stored_select, STORE_VALUES(store_text(id)), &stored);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    /* Compared for an unknown id as well: the time says nothing about ids. */
    bool is_secret = CRYPTO_memcmp(sha256, stored.secret_sha256, sizeof sha256) == 0;
    if (status == CA_NOT_FOUND)
        return ca_fail(CA_UNAUTHENTICATED, "no challenge '%s'", id);
    expire(&stored.challenge);
    if (is_secret) {
        status = stored_judge(&stored.challenge, profile);
    } else {
        if (ret_wrong_id)
            memcpy(ret_wrong_id, id, sizeof id);
        status = ca_fail(CA_UNAUTHENTICATED, "wrong secret for challenge '%s'", id);
    }
    if (status == CA_OK)
        *ret_challenge = stored.challenge;
    else
        challenge_clear(&stored.challenge);
    return status;
}

/* One conditional change of state; CA_CONFLICT when the condition did not hold. */
static enum ca_status
change(struct store_tx *tx, const char *sql, const struct store_value *values, size_t n,
       const char *message)
{
    int64_t rows = 0;
    enum ca_status status = store_run(tx, sql, values, n, NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT, "challenge '%s' is not %s",
                       (const char *)values[0].data, message);
    return status;
}

enum ca_status
challenge_withdraw(struct store_tx *tx, const char *id)
{
    struct challenge challenge = { 0 };
    enum ca_status status = challenge_load(tx, id, &challenge);
    challenge_clear(&challenge);
    if (status != CA_OK)
        return status;
    return change(tx,
                  "UPDATE challenge SET state = 3, updated = $2, version = version + 1 "
                  "WHERE id = $1 AND state = 0",
                  STORE_VALUES(store_text(id), store_integer(clock_now())), "open");
}

enum ca_status
challenge_count_try(struct store_tx *tx, const char *id)
{
    return store_run(tx,
                     "UPDATE challenge SET tries = tries + 1, "
                     "state = CASE WHEN tries + 1 >= $2 THEN 4 ELSE state END, "
                     "updated = $3, version = version + 1 WHERE id = $1 AND state = 0",
                     STORE_VALUES(store_text(id), store_integer(CHALLENGE_TRIES),
                                  store_integer(clock_now())),
                     NULL, NULL, NULL);
}

enum ca_status
challenge_claim(struct store_tx *tx, const char *id, const char *serial)
{
    return change(
        tx,
        "UPDATE challenge SET state = 1, serial = $2, updated = $3, "
        "version = version + 1 WHERE id = $1 AND state = 0 AND expires > $3",
        STORE_VALUES(store_text(id), store_text(serial), store_integer(clock_now())),
        "open");
}

enum ca_status
challenge_finish(struct store_tx *tx, const char *id, const char *serial)
{
    return change(
        tx,
        "UPDATE challenge SET state = 2, updated = $3, version = version + 1 "
        "WHERE id = $1 AND state = 1 AND serial = $2",
        STORE_VALUES(store_text(id), store_text(serial), store_integer(clock_now())),
        "claimed for this certificate");
}

enum ca_status
challenge_release(struct store_tx *tx, const char *id, const char *serial)
{
    return change(
        tx,
        "UPDATE challenge SET state = 0, serial = NULL, updated = $3, "
        "version = version + 1 "
        "WHERE id = $1 AND state = 1 AND serial = $2",
        STORE_VALUES(store_text(id), store_text(serial), store_integer(clock_now())),
        "claimed for this certificate");
}

enum ca_status
challenge_hand_over(struct store_tx *tx, const char *id, const char *from,
                    const char *to)
{
    return change(tx,
                  "UPDATE challenge SET serial = $3, updated = $4, "
                  "version = version + 1 "
                  "WHERE id = $1 AND state = 1 AND serial = $2",
                  STORE_VALUES(store_text(id), store_text(from), store_text(to),
                               store_integer(clock_now())),
                  "claimed for this request");
}

void
challenge_clear(struct challenge *challenge)
{
    field_clear(challenge_fields, challenge);
}
