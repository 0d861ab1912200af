/* Records that other records need, and visitors that gather what a list gave. */
#pragma once

#include "auto.h"
#include "profile.h"
#include "scratch_tx.h"
#include "user.h"

#define CR_OK(call) cr_assert_eq((call), CA_OK, "%s: %s", #call, status_message())
#define CR_STATUS(call, status)                                                        \
    do {                                                                               \
        enum ca_status status_ = (call);                                               \
        cr_assert_eq(status_, status, "%s: %s (%s)", #call, ca_status_name(status_),   \
                     status_message());                                                \
    } while (0)

/* A record decoded from JSON text by its table; the test's own texts are good. */
static inline void
record_from(const struct field *fields, const char *text, void *ret_record)
{
    CA_AUTO(json_decref) json_t *json = json_loads(text, 0, NULL);
    cr_assert_not_null(json, "%s", text);
    CR_OK(field_decode(fields, json, ret_record, NULL));
}

static inline void __attribute__((unused))
user_make(struct store_tx *tx, const char *name)
{
    char text[128];
    struct user user = { 0 };
    snprintf(text, sizeof text, "{\"name\": \"%s\"}", name);
    record_from(user_fields, text, &user);
    CR_OK(user_insert(tx, &user));
    user_clear(&user);
}

/* A certificate profile "NAME", and a scep profile "NAME" that issues by it. */
static inline void __attribute__((unused))
profiles_make(struct store_tx *tx, const char *name)
{
    char text[256];
    struct profile certificate = { 0 }, scep = { .kind = PROFILE_SCEP };
    snprintf(text, sizeof text,
             "{\"name\": \"%s\", \"settings\": {\"issuer\": \"issuing\"}}", name);
    record_from(profile_fields(PROFILE_CERTIFICATE), text, &certificate);
    CR_OK(profile_insert(tx, &certificate));
    snprintf(text, sizeof text,
             "{\"name\": \"%s\", \"settings\": {\"certificate\": \"%s\"}}", name, name);
    record_from(profile_fields(PROFILE_SCEP), text, &scep);
    CR_OK(profile_insert(tx, &scep));
    profile_clear(&certificate);
    profile_clear(&scep);
}

/* What a list visited, as "a b c ". */
struct gathered {
    char text[4096];
    size_t size;
};

static inline void
gather(struct gathered *gathered, const char *word)
{
    int length = snprintf(gathered->text + gathered->size,
                          sizeof gathered->text - gathered->size, "%s ", word);
    gathered->size += (size_t)length;
    cr_assert_lt(gathered->size, sizeof gathered->text);
}

/* For records whose first member is the char * of their key. */
static inline enum ca_status __attribute__((unused))
gather_key(const void *record, void *arg)
{
    gather(arg, *(char *const *)record);
    return CA_OK;
}

/* For visitors of plain texts. */
static inline enum ca_status __attribute__((unused))
gather_text(const void *record, void *arg)
{
    gather(arg, record);
    return CA_OK;
}
