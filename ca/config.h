/* The configuration file: what differs from machine to machine. JSON by one field
 * table (config_fields); what instances must agree on is in the store. */
#pragma once

#include "field.h"

struct config_listener {
    char *bind;   /* numeric address, default 127.0.0.1; NULL with `path` */
    int64_t port; /* 1..65535; 0 with `path` */
    char *path;   /* unix socket, mode 0600, instead of bind and port */
    bool tls;
    bool client_certificates; /* ask for one (never demand) */
    bool metrics;             /* /metrics without a role here */
    bool api;                 /* serve /api/v1 here (tls or unix socket only) */
    int64_t tls_max;          /* 12 or 13 */
};

struct config_token {
    char *name, *module, *uri, *pin_source;
    int64_t permits, wait_ms;
    int64_t stuck_ms;        /* a call that takes longer is stuck */
    bool exit_when_stuck;    /* end the process then, for the supervisor */
    bool required;           /* no start while it is latched or not there */
    struct field_list waive; /* char * */
    /* For the module alone, never secrets. "NAME=VALUE" each, set before it is loaded;
     * a VALUE that starts with "./" is relative to the file's folder. */
    struct field_list environment; /* char * */
    char *arguments;               /* pReserved of C_Initialize, or NULL */
};

struct config_plugin {
    char *name;       /* file sealwright_<name>.so in `plugin_directory` */
    json_t *settings; /* object handed to the plugin's init */
};

struct config_limits {
    int64_t workers; /* threads, one a connection */
    int64_t waiting; /* of them, at most so many in token, store, long poll;
                        never 0 once loaded */
    int64_t connections_per_source;
    int64_t requests_per_second; /* per source, on unauthenticated paths */
    int64_t burst;
    int64_t header_ms, body_ms, idle_ms, request_ms;
    struct field_list trusted_proxies; /* char *: addresses or prefixes */
};

/* Activation by password. */
struct config_activation {
    int kek;     /* enum vault_mode */
    char *token; /* where its keys are made; NULL: the first */
    int method;  /* enum vault_method */
    int64_t hellos_per_source, hellos_per_name; /* a minute */
    int64_t hellos_per_second;                  /* in all */
    int64_t open_per_source, failures_per_name; /* sessions; enrolments a day */
    int64_t sessions;                           /* in all */
    bool reveal_unknown;
};

enum config_mail_security { MAIL_STARTTLS, MAIL_TLS, MAIL_NONE };

/* The mail server; no mails without one. */
struct config_mail {
    char *server; /* host name; NULL: none */
    int64_t port;
    int security;          /* enum config_mail_security */
    char *ca_file;         /* PEM of the roots to trust; NULL: the system's */
    char *user;            /* login name, or NULL: no authentication */
    char *password_source; /* "file:PATH" */
    char *from, *from_name;
    char *hello; /* our name in EHLO, or NULL: the host's */
    int64_t connect_ms, send_ms;
};

enum config_security { SECURITY_STARTTLS, SECURITY_TLS, SECURITY_NONE };

/* LDAP attributes by what they are here; "": not taken from the directory. */
struct config_directory_attributes {
    char *name, *id, *email, *display_name, *work_space, *upn;
    json_t *more; /* object: user attribute -> LDAP attribute */
};

enum config_directory_groups_source { GROUPS_NONE, GROUPS_MEMBER_OF, GROUPS_SEARCH };

struct config_directory_groups {
    int source;          /* enum config_directory_groups_source */
    char *base, *filter; /* for a search; base NULL: the directory's */
    char *member;        /* attribute of a group: DNs of users */
    char *member_of;     /* attribute of a user: DNs of groups */
    json_t *map;         /* object: DN -> group here; empty: each by its name */
};

/* Where users come from besides the API. */
struct config_directory {
    char *server; /* host name; NULL: no directory */
    int64_t port;
    int security;  /* enum config_security */
    char *ca_file; /* PEM of the roots to trust */
    char *bind_dn;
    char *password_source; /* "file:PATH" of its password */
    char *base, *filter;
    char *disabled_filter; /* entries that are disabled; NULL: none is */
    struct config_directory_attributes attributes;
    struct config_directory_groups groups;
    bool login;         /* its users log in with its passwords */
    int64_t interval;   /* seconds between syncs; 0: only when asked for */
    int64_t timeout_ms; /* of a connection, and of each answer */
    int64_t page_size, users_max;
    int64_t disable_max_percent; /* more than these at once: the sync is refused */
};

/* What a webhook may be told. */
enum config_event {
    EVENT_POLICY_CHANGED = 1,
    EVENT_DEVICE_ACTIVATED = 2,
    EVENT_CERTIFICATE_ISSUED = 4,
    EVENT_CERTIFICATE_REVOKED = 8
};
extern const char *const config_event_words[];

/* Somebody who wants to know. */
struct config_webhook {
    char *name, *url;
    char *secret_source; /* "file:PATH" of the key that signs */
    char *ca_file;       /* PEM of the roots to trust; NULL: the system's */
    unsigned events;     /* of enum config_event */
};

/* The OpenID provider whose users log in. */
struct config_oidc {
    char *issuer; /* URL; NULL: none */
    char *name;   /* what people know it by */
    char *client_id;
    char *secret_source;      /* "file:PATH" of the client's secret; NULL: none */
    char *claim;              /* that names the user here */
    struct field_list scopes; /* char *, besides "openid" */
    char *ca_file;
    int64_t timeout_ms;
};

struct config {
    char *instance;     /* name of this daemon in its domain */
    char *instance_url; /* where devices reach it; NULL: the organisation's base_url */
    int64_t instance_capacity; /* its share of the devices, 0: none */
    char *data_directory;      /* default: the file's own folder */
    char *store;               /* URL */
    char *plugin_directory;
    char *log_file, *log_level, *pid_file;
    char *tls_certificate, *tls_key; /* PEM files */
    char *key_blocklist;             /* SHA-256 of SPKIs, or openssl-blacklist's form */
    struct field_list listeners;     /* struct config_listener */
    struct field_list tokens;        /* struct config_token */
    struct field_list plugins;       /* struct config_plugin */
    struct config_limits limits;
    struct config_activation activation;
    struct config_mail mail;
    struct config_directory directory;
    struct field_list webhooks; /* struct config_webhook */
    struct config_oidc oidc;
    int64_t intent_abandon_seconds; /* a job abandons an unsigned intent after this */
    int64_t retry_window_seconds;   /* the same message gets the same certificate */
    int64_t pending_expire_seconds;
    int64_t crl_check_seconds;
};

extern const struct field config_fields[];

/* The folder of plugins when the file names none: where `meson install` puts them. */
extern const char config_plugin_directory[];

#define CONFIG_SIZE_MAX (1 << 20) /* octets of the file */

/* Reads and checks a file; paths in it are relative to its folder and come out
 * absolute. CA_MALFORMED names the members ("FILE: listeners/0/prot: unknown member;
 * ..."); CA_FORBIDDEN: not a regular file, another's than root's or ours, or one that
 * group or others can write (it names the code that runs); CA_NOT_FOUND,
 * CA_UNAVAILABLE: it cannot be read; CA_LIMIT: over CONFIG_SIZE_MAX. */
enum ca_status config_load(const char *path, struct config *ret_config);
void config_clear(struct config *config);

/* Same from text, as if it were a file in `folder` (absolute). */
enum ca_status config_parse(const char *text, size_t size, const char *folder,
                            struct config *ret_config);

/* What the table cannot see: members that want or exclude each other, twice the same
 * address, name or variable. For a config with its defaults filled in. */
void config_check(const struct config *config, struct field_errors *errors);

/* The directory's part (config_directory.c). */
extern const struct field config_directory_fields[];
void config_check_directory(const struct config_directory *directory,
                            struct field_errors *errors);

/* Whom we call by HTTP (config_web.c). */
extern const struct field config_webhook_fields[];
extern const struct field config_oidc_fields[];
#define CONFIG_WEBHOOKS_MAX 16
void config_check_web(const struct config *config, struct field_errors *errors);
/* https, or http to this machine; without user and fragment. */
bool config_url_is_good(const char *url);

/* JSON Schema of the file (new reference). */
json_t *config_schema(void);
