/* The frame of the admin API: route tables, who may call, bodies in, answers out.
 *
 * A resource is one file with a table of struct api_route and one entry in api.c. The
 * same table routes, authorises, validates and describes the call (openapi.json). */
#pragma once

#include "audit.h"
#include "exchange.h"
#include "plugin.h"
#include "record.h"

#define API_ROOT "/api/v1"
#define API_PARAMETERS_MAX 4
#define API_QUERY_MAX 16
#define API_BODY_MAX (1024 * 1024)

extern const struct ca_plugin api_plugin;        /* /api/v1 */
extern const struct ca_plugin api_public_plugin; /* health, metrics, CRLs, issuers */

struct token_set;
struct text_buffer;
/* The tokens' part of /metrics (public_tokens.c). */
void api_tokens_metrics(struct token_set *tokens, struct text_buffer *buffer);

/* Who may call: bits of enum admin_role. */
#define API_ADMINISTRATOR (1u << ROLE_ADMINISTRATOR)
#define API_OPERATOR (1u << ROLE_OPERATOR)
#define API_APPROVER (1u << ROLE_APPROVER)
#define API_AUDITOR (1u << ROLE_AUDITOR)
#define API_ANY (API_ADMINISTRATOR | API_OPERATOR | API_APPROVER | API_AUDITOR)

#define API_IF_MATCH 1u /* 428 without If-Match */
#define API_REPEAT 2u   /* honours Idempotency-Key */
#define API_CHANGE 4u   /* changes something: takes ?dry_run=true */
#define API_LIST 8u     /* answers {"items", "next"}: takes ?limit= and ?after= */

struct api_call;
struct api_kind;
/* One step of a call, in the store's transaction: loads, checks, saves, sets the answer
 * and appends its audit entry. May run twice. `arg` of a route's step is NULL, or the
 * struct api_list of a list. */
typedef enum ca_status (*api_step)(struct store_tx *tx, struct api_call *call,
                                   void *arg);
typedef enum ca_status (*api_handler)(struct api_call *call);

struct api_query {
    const char *name, *help; /* ended by a NULL name */
};

struct api_route {
    const char *method;
    const char *path; /* below API_ROOT: "/users/{name}" */
    unsigned roles, flags;
    api_step step; /* all of the call, in one transaction; NULL: see `handle` */
    const char *summary;
    const struct field *(*input)(void);  /* the body's table, or NULL: no body */
    const struct field *(*output)(void); /* the answer's (a list's item), or NULL */
    const struct api_query *query;       /* beyond those of the flags, or NULL */
    int success;                         /* HTTP status when it went well */
    int tag;                             /* the resource's own, e.g. a profile kind */
    const char *cursor;                  /* of a list: the item's member in ?after= */
    api_handler handle; /* instead of a step: work beside its transactions */
};

struct api_resource {
    const char *name;
    const struct api_route *routes; /* ended by a NULL method */
    const struct api_kind *kinds;   /* of its records with a key, by the route's tag */
};
extern const struct api_resource *const api_resources[]; /* ended by NULL */
/* One a file; in the order of docs/api.md. */
extern const struct api_resource api_organisation, api_issuers, api_profiles, api_users,
    api_passwords, api_invitations, api_mails, api_groups, api_assignments,
    api_challenges, api_activations, api_devices, api_device_commands,
    api_device_sessions, api_certificates, api_requests, api_audits, api_admins,
    api_tokens, api_instances, api_directory, api_user_import, api_description;

/* One call under way. All of it belongs to the request. */
struct api_call {
    struct exchange *exchange;
    const struct api_resource *resource;
    const struct api_route *route;
    const char *parameters[API_PARAMETERS_MAX]; /* of the path, decoded, in order */
    struct {
        const char *name, *value;
    } query[API_QUERY_MAX];
    size_t query_count;
    json_t *body;     /* NULL without one */
    int64_t if_match; /* version, 0: none or "*" */
    bool dry_run;
    const char *repeat_key; /* Idempotency-Key or NULL */
    struct field_errors errors;
    struct {
        int status; /* 0: the route's success */
        json_t *body;
        int64_t version; /* ETag when above 0 */
        char *location;
        bool is_done; /* the handler answered by ca_respond itself */
    } answer;
};

struct store *api_store(const struct api_call *call);
/* The value of a query parameter or NULL. */
const char *api_query_text(const struct api_call *call, const char *name);
/* An RFC 3339 time of the query, 0 when absent; CA_MALFORMED with a problem. */
enum ca_status api_query_time(struct api_call *call, const char *name,
                              int64_t *ret_seconds);

/* Decodes the body by a table into a zeroed record (cleared by the caller with
 * field_clear); the problems are in call->errors. */
enum ca_status api_decode(struct api_call *call, const struct field *fields,
                          void *ret_record);

/* ---- Answers ---- */

/* The record as JSON, its version as ETag. */
enum ca_status api_answer_record(struct api_call *call, const struct field *fields,
                                 const void *record, const struct record_stamp *stamp);
/* Takes over `body`. */
enum ca_status api_answer_json(struct api_call *call, json_t *body);
/* "/users/alice" below API_ROOT becomes the Location. */
void api_answer_location(struct api_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- Changes ---- */

/* Runs the step durably: with dry_run it is undone, with an Idempotency-Key its answer
 * is kept in the same transaction. */
enum ca_status api_write(struct api_call *call, api_step step, void *arg);
/* Runs the step over one snapshot. */
enum ca_status api_read(struct api_call *call, api_step step, void *arg);
/* Appends what this call did. `detail` is taken over; may be NULL. `object` is made of
 * format and arguments ("user:%s"). */
enum ca_status api_audit(struct store_tx *tx, const struct api_call *call,
                         const char *action, json_t *detail, const char *object, ...)
    __attribute__((format(printf, 5, 6)));
/* Holds the record's version against If-Match: CA_CONFLICT (412) when it is another. */
enum ca_status api_check_version(struct api_call *call, int64_t version);

/* ---- Records with a key: the same five calls for each ---- */

struct api_kind {
    const char *noun; /* "user": in the audit's actions and objects */
    const char *of;   /* "scep/": before the key in objects; or NULL */
    const char *path; /* "/users" */
    const struct field *(*fields)(void);
    size_t size;                     /* of the struct */
    size_t key_offset, stamp_offset; /* char *, struct record_stamp */
    enum ca_status (*load)(struct store_tx *tx, const char *key, void *ret_record);
    enum ca_status (*insert)(struct store_tx *tx, void *record);
    enum ca_status (*update)(struct store_tx *tx, void *record);
    enum ca_status (*remove)(struct store_tx *tx, const char *key, int64_t version);
    /* What the table cannot check, problems into call->errors; or NULL. */
    enum ca_status (*check)(struct api_call *call, const void *record);
    /* What else the change brings about, in its transaction; `before` is NULL for a
     * new record; or NULL. */
    enum ca_status (*changed)(struct store_tx *tx, struct api_call *call,
                              const void *before, const void *after);
};
/* The steps of such routes. The kind is the resource's own, by the route's tag; the
 * key is the path's last parameter. PATCH is RFC 7396. */
enum ca_status api_kind_create(struct store_tx *tx, struct api_call *call, void *arg);
enum ca_status api_kind_get(struct store_tx *tx, struct api_call *call, void *arg);
enum ca_status api_kind_put(struct store_tx *tx, struct api_call *call, void *arg);
enum ca_status api_kind_patch(struct store_tx *tx, struct api_call *call, void *arg);
enum ca_status api_kind_delete(struct store_tx *tx, struct api_call *call, void *arg);
/* The last parameter of the path. */
const char *api_key(const struct api_call *call);

/* ---- Lists ---- */

struct api_list {
    struct api_call *call;
    struct record_page page;
    json_t *items;
    int64_t limit;
    bool has_more;
};
/* A route of API_LIST: reads ?limit and ?after, runs its step (arg: the struct
 * api_list) over one snapshot, which lists with list->page and api_list_visit, and sets
 * the answer and the Link header (RFC 8288). CA_MALFORMED. */
enum ca_status api_list_run(struct api_call *call);
/* The record_visit of every list; arg is the struct api_list. */
enum ca_status api_list_visit(const void *record, void *arg);

/* ---- Inside the frame ---- */

/* Answers a status as application/problem+json (RFC 9457). */
enum ca_status api_problem(struct api_call *call, enum ca_status status);
/* As api_problem with a status that no enum ca_status stands for (412, 422, 428). */
enum ca_status api_problem_http(struct api_call *call, int http_status,
                                const char *detail);
/* An earlier answer to this Idempotency-Key: replays it and sets `ret_found`; another
 * body with the key is 422. */
enum ca_status api_repeat_find(struct api_call *call, bool *ret_found);
/* Inside the change's transaction: CA_CONFLICT when another call with this key was
 * first, so that the change itself is not tried. */
enum ca_status api_repeat_check(struct store_tx *tx, const struct api_call *call);
enum ca_status api_repeat_save(struct store_tx *tx, struct api_call *call);
/* The OpenAPI 3.1 description of all resources (new reference); NULL: memory. */
json_t *api_openapi(void);
/* The query parameters that API_LIST or API_CHANGE brings. */
const struct api_query *api_query_list(unsigned flag);
/* Query, If-Match, Idempotency-Key and body of a call, by its route. */
enum ca_status api_call_parse(struct api_call *call);
