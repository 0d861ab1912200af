/* The configuration file: defaults, paths, every refusal by its member, the file's own
 * rights, and that docs/config.md says what the table says. */
#include "auto.h"
#include "config.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])
#define FOLDER "/etc/sealwright"
#define TOKEN                                                                          \
    "\"name\":\"ca\",\"module\":\"hsm.so\",\"uri\":\"pkcs11:token=ca\","               \
    "\"pin_source\":\"file:pin\""

static enum ca_status
parse(const char *text, struct config *ret_config)
{
    return config_parse(text, strlen(text), FOLDER, ret_config);
}

static struct config
parse_good(const char *text)
{
    struct config config = { 0 };
    cr_assert_eq(parse(text, &config), CA_OK, "%s: %s", text, status_message());
    return config;
}

Test(config, an_empty_object_has_every_default)
{
    struct config config = parse_good("{}");
    const struct config_listener *listeners = config.listeners.items;
    cr_expect_str_eq(config.instance, "main");
    cr_expect_str_eq(config.data_directory, FOLDER);
    cr_expect_str_eq(config.store, "sqlite:" FOLDER "/store.db");
    cr_expect_str_eq(config.plugin_directory, config_plugin_directory);
    cr_expect(config_plugin_directory[0] == '/');
    cr_expect_str_eq(config.log_file, "-");
    cr_expect_str_eq(config.log_level, "info");
    cr_expect(!config.pid_file && !config.tls_certificate && !config.tls_key);
    cr_assert_eq(config.listeners.count, 2);
    cr_expect_str_eq(listeners[0].bind, "127.0.0.1");
    cr_expect(listeners[0].port == 8080 && !listeners[0].tls && !listeners[0].api);
    cr_expect_eq(listeners[0].tls_max, 13);
    cr_expect_str_eq(listeners[1].path, FOLDER "/sealwright.sock");
    cr_expect(listeners[1].api && !listeners[1].bind);
    cr_expect(config.tokens.count == 0 && config.plugins.count == 0);
    cr_expect_eq(config.limits.workers, 256);
    cr_expect_eq(config.limits.waiting, 153);
    cr_expect_eq(config.limits.header_ms, 10000);
    cr_expect_eq(config.retry_window_seconds, 600);
    cr_expect_eq(config.crl_check_seconds, 60);
    config_clear(&config);
    LEAK_CHECK();
}

Test(config, paths_are_relative_to_the_folder_of_the_file)
{
    struct config config = parse_good(
        "{\"data_directory\":\"data\",\"plugin_directory\":\"./plugins\","
        "\"log_file\":\"log\",\"pid_file\":\"/run/pid\",\"tls_certificate\":\"a.pem\","
        "\"tls_key\":\"../a.key\",\"listeners\":[{\"path\":\"./"
        "s\"}],\"tokens\":[{" TOKEN
        ",\"environment\":[\"A=./x\",\"B=x\",\"C=../x\",\"D=\",\"E=/x\"]}]}");
    const struct config_listener *listeners = config.listeners.items;
    const struct config_token *tokens = config.tokens.items;
    static const char *const variables[] = { "A=" FOLDER "/x", "B=x", "C=../x",
                                             "D=", "E=/x" };
    cr_expect_str_eq(config.data_directory, FOLDER "/data");
    cr_expect_str_eq(config.store, "sqlite:" FOLDER "/data/store.db");
    cr_expect_str_eq(config.plugin_directory, FOLDER "/plugins");
    cr_expect_str_eq(config.log_file, FOLDER "/log");
    cr_expect_str_eq(config.pid_file, "/run/pid");
    cr_expect_str_eq(config.tls_certificate, FOLDER "/a.pem");
    cr_expect_str_eq(config.tls_key, FOLDER "/../a.key");
    cr_expect_str_eq(listeners[0].path, FOLDER "/s");
    cr_expect_str_eq(tokens[0].module, FOLDER "/hsm.so");
    cr_expect_str_eq(tokens[0].pin_source, "file:" FOLDER "/pin");
    cr_expect_eq(tokens[0].permits, 12);
    for (size_t i = 0; i < COUNT(variables); i++)
        cr_expect_str_eq(((char **)tokens[0].environment.items)[i], variables[i]);
    config_clear(&config);
    LEAK_CHECK();
}

Test(config, the_store_is_an_url_or_a_path)
{
    static const struct {
        const char *store, *folder, *url;
    } cases[] = {
        { "a.db", "/d", "sqlite:/d/a.db" },
        { "a.db", "/", "sqlite:/a.db" },
        { "/a.db", "/d", "sqlite:/a.db" },
        { "sqlite:a.db", "/d", "sqlite:/d/a.db" },
        { "sqlite:/a.db", "/d", "sqlite:/a.db" },
        { "./x:y/a.db", "/d", "sqlite:/d/x:y/a.db" },
        { "postgresql://host/ca", "/d", "postgresql://host/ca" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct config config = { 0 };
        char text[200];
        snprintf(text, sizeof text, "{\"store\":\"%s\"}", cases[i].store);
        cr_assert_eq(config_parse(text, strlen(text), cases[i].folder, &config), CA_OK);
        cr_expect_str_eq(config.store, cases[i].url);
        config_clear(&config);
    }
    LEAK_CHECK();
}

/* A configuration that stops the start, and what its message must contain. */
static const struct {
    const char *text, *message;
} wrong[] = {
    { "[]", "must be an object" },
    { "{", "ends early" },
    { "{\"instance\":\"a\",\"instance\":\"b\"}", "member twice" },
    { "{\"instnce\":\"a\"}", "instnce: unknown member" },
    { "{\"listeners\":[{\"prot\":1}]}", "listeners/0/prot: unknown member" },
    { "{\"tokens\":[{" TOKEN ",\"pin\":\"1234\"}]}", "tokens/0/pin: unknown member" },
    { "{\"limits\":{\"worker\":9}}", "limits/worker: unknown member" },
    { "{\"plugins\":[{\"name\":\"a\",\"setting\":{}}]}", "plugins/0/setting: unknown" },
    { "{\"instance\":\"A B\"}", "instance: must be a name" },
    { "{\"log_level\":\"loud\"}", "log_level: must be one of: debug" },
    { "{\"data_directory\":\"\"}", "data_directory: must have 1 to" },
    { "{\"data_directory\":\"a\\nb\"}",
      "data_directory: must be text without control" },
    { "{\"store\":7}", "store: must be a string" },
    { "{\"listeners\":[]}", "listeners: must not be empty" },
    { "{\"listeners\":{}}", "listeners: must be a list" },
    { "{\"listeners\":[{}]}", "listeners/0/port: is required without a path" },
    { "{\"listeners\":[{\"port\":0}]}", "listeners/0/port: is required" },
    { "{\"listeners\":[{\"port\":65536}]}", "listeners/0/port: must be 0 to 65535" },
    { "{\"listeners\":[{\"port\":-1}]}", "listeners/0/port: must be 0 to 65535" },
    { "{\"listeners\":[{\"port\":\"80\"}]}", "listeners/0/port: must be an integer" },
    { "{\"listeners\":[{\"port\":80,\"bind\":\"localhost\"}]}",
      "listeners/0/bind: must" },
    { "{\"listeners\":[{\"port\":80,\"bind\":\"[::1]\"}]}", "listeners/0/bind: must" },
    { "{\"listeners\":[{\"port\":80,\"path\":\"s\"}]}",
      "listeners/0/port: is not for" },
    { "{\"listeners\":[{\"bind\":\"::\",\"path\":\"s\"}]}",
      "listeners/0/bind: is not" },
    { "{\"listeners\":[{\"tls\":true,\"path\":\"s\"}],\"tls_key\":\"a\","
      "\"tls_certificate\":\"b\"}",
      "listeners/0/tls: is not for a path" },
    { "{\"listeners\":[{\"path\":"
      "\"0123456789012345678901234567890123456789012345678901234567890123456789"
      "01234567890123456789012345\"}]}",
      "listeners/0/path: has more than 107 octets" },
    { "{\"listeners\":[{\"port\":80,\"tls\":true}]}", "listeners/0/tls: needs" },
    { "{\"listeners\":[{\"port\":80,\"client_certificates\":true}]}",
      "listeners/0/client_certificates: needs tls" },
    { "{\"listeners\":[{\"port\":80,\"api\":true}]}", "listeners/0/api: needs tls or" },
    { "{\"listeners\":[{\"port\":80,\"tls_max\":11}]}",
      "listeners/0/tls_max: must be 12" },
    { "{\"listeners\":[{\"port\":80},{\"port\":80}]}",
      "listeners/1: is where listener 0" },
    { "{\"listeners\":[{\"port\":80,\"bind\":\"::1\"},{\"port\":81},{\"port\":80,"
      "\"bind\":\"0:0::1\"}]}",
      "listeners/2: is where listener 0 listens" },
    { "{\"listeners\":[{\"port\":80},{\"port\":80,\"bind\":\"::ffff:127.0.0.1\"}]}",
      "listeners/1: is where listener 0 listens" },
    { "{\"listeners\":[{\"path\":\"./s\"},{\"path\":\"" FOLDER "/s\"}]}",
      "listeners/1: is where listener 0 listens" },
    { "{\"tls_key\":\"a\"}", "tls_certificate: is required" },
    { "{\"tls_certificate\":\"a\"}", "tls_key: is required" },
    { "{\"tokens\":[{}]}", "tokens/0/name: is required" },
    { "{\"tokens\":[{\"name\":\"a\"}]}", "tokens/0/pin_source: is required" },
    { "{\"tokens\":[{" TOKEN "},{" TOKEN "}]}", "tokens/1/name: is token 0's" },
    { "{\"tokens\":[{\"name\":\"a\",\"module\":\"m\",\"uri\":\"slot:7;x\","
      "\"pin_source\":\"file:p\"}]}",
      "tokens/0/uri: must be a pkcs11: URI" },
    { "{\"tokens\":[{\"name\":\"a\",\"module\":\"m\",\"uri\":\"pkcs11:token=a?pin-"
      "value=1\","
      "\"pin_source\":\"file:p\"}]}",
      "tokens/0/uri: must be a pkcs11: URI without a query" },
    { "{\"tokens\":[{\"name\":\"a\",\"module\":\"m\",\"uri\":\"pkcs11:token=a\","
      "\"pin_source\":\"123456\"}]}",
      "tokens/0/pin_source: must be \"file:PATH\"" },
    { "{\"tokens\":[{" TOKEN ",\"permits\":0}]}",
      "tokens/0/permits: must be 1 to 256" },
    { "{\"tokens\":[{" TOKEN ",\"wait_ms\":99}]}", "tokens/0/wait_ms: must be 100 to" },
    { "{\"tokens\":[{" TOKEN ",\"environment\":[\"AB\"]}]}",
      "tokens/0/environment/0: must be NAME=VALUE" },
    { "{\"tokens\":[{" TOKEN ",\"environment\":[\"A=1\",\"=x\"]}]}",
      "tokens/0/environment/1: must be NAME=VALUE" },
    { "{\"tokens\":[{" TOKEN ",\"environment\":[\"1A=x\"]}]}",
      "environment/0: must be" },
    { "{\"tokens\":[{" TOKEN ",\"environment\":[\"a=x\"]}]}",
      "environment/0: must be" },
    { "{\"tokens\":[{" TOKEN ",\"environment\":[\"A B=x\"]}]}",
      "environment/0: must be" },
    { "{\"tokens\":[{" TOKEN ",\"environment\":[\"LD_PRELOAD=x\"]}]}",
      "dynamic linker" },
    { "{\"tokens\":[{" TOKEN ",\"environment\":[\"A=1\",\"A=2\"]}]}",
      "tokens/0/environment/1: is set to another value" },
    { "{\"tokens\":[{" TOKEN
      ",\"environment\":[\"A=1\"]},{\"name\":\"b\",\"module\":\"m\","
      "\"uri\":\"pkcs11:token=b\",\"pin_source\":\"file:p\",\"environment\":[\"A=2\"]}]"
      "}",
      "tokens/1/environment/0: is set to another value" },
    { "{\"plugins\":[{}]}", "plugins/0/name: is required" },
    { "{\"plugins\":[{\"name\":\"../a\"}]}", "plugins/0/name: must be a name" },
    { "{\"plugins\":[{\"name\":\"a.b\"}]}", "plugins/0/name: must be 1 to 32" },
    { "{\"plugins\":[{\"name\":\"a\"},{\"name\":\"a\"}]}", "plugins/1/name: is there" },
    { "{\"plugins\":[{\"name\":\"a\",\"settings\":[]}]}",
      "plugins/0/settings: must be an" },
    { "{\"limits\":{\"workers\":3}}", "limits/workers: must be 4 to 4096" },
    { "{\"limits\":{\"workers\":4097}}", "limits/workers: must be 4 to 4096" },
    { "{\"limits\":{\"workers\":8,\"waiting\":8}}", "limits/waiting: must be less" },
    { "{\"limits\":{\"burst\":0}}", "limits/burst: must be 1 to" },
    { "{\"limits\":{\"header_ms\":0}}", "limits/header_ms: must be 100 to" },
    { "{\"limits\":{\"request_ms\":3600000}}", "limits/request_ms: must be 1000 to" },
    { "{\"limits\":{\"trusted_proxies\":[\"proxy\"]}}",
      "limits/trusted_proxies/0: must" },
    { "{\"limits\":{\"trusted_proxies\":[\"::1\",\"10.0.0.0/33\"]}}",
      "limits/trusted_proxies/1: must be an address" },
    { "{\"limits\":{\"trusted_proxies\":[\"10.0.0.0/\"]}}", "trusted_proxies/0: must" },
    { "{\"limits\":{\"trusted_proxies\":[\"::/129\"]}}", "trusted_proxies/0: must" },
    { "{\"limits\":{\"trusted_proxies\":[\"10.0.0.1:443\"]}}",
      "trusted_proxies/0: must" },
    { "{\"limits\":{\"trusted_proxies\":[\"10.0.0.0/8/8\"]}}",
      "trusted_proxies/0: must" },
    { "{\"crl_check_seconds\":0}", "crl_check_seconds: must be 1 to" },
    { "{\"intent_abandon_seconds\":59}", "intent_abandon_seconds: must be 60 to" },
};

Test(config, W4_every_mistake_stops_the_start_and_names_the_member)
{
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct config config = { .crl_check_seconds = 42 };
        cr_expect_eq(parse(wrong[i].text, &config), CA_MALFORMED, "%s", wrong[i].text);
        cr_expect(strstr(status_message(), wrong[i].message), "%s: %s", wrong[i].text,
                  status_message());
        cr_expect(config.crl_check_seconds == 42 && !config.store,
                  "written on failure");
    }
    LEAK_CHECK();
}

Test(config, all_mistakes_are_in_the_message)
{
    struct config config = { 0 };
    cr_assert_eq(parse("{\"a\":1,\"listeners\":[{\"prot\":1,\"tls\":3}]}", &config),
                 CA_MALFORMED);
    cr_expect_str_eq(status_message(),
                     "a: unknown member; listeners/0/prot: unknown "
                     "member; listeners/0/tls: must be true or false");
    cr_assert_eq(parse("{\"listeners\":[{\"port\":1,\"api\":true},{}]}", &config),
                 CA_MALFORMED);
    cr_expect_str_eq(status_message(),
                     "listeners/0/api: needs tls or a path; listeners/1/port: is "
                     "required without a path");
    LEAK_CHECK();
}

Test(config, I5_no_secret_by_environment)
{
    static const struct {
        const char *name;
        bool is_refused;
    } cases[] = {
        { "PIN", true },          { "HSM_PIN", true },        { "USERPIN", true },
        { "PIN_1", true },        { "PIN1", true },           { "SO_PIN", true },
        { "HSM_PASSWORD", true }, { "DB_PASSWD", true },      { "MY_SECRET", true },
        { "PASSPHRASE", true },   { "SOFTHSM2_CONF", false }, { "PINNED", false },
        { "SPINNING", false },    { "MAPPING_FILE", false },  { "OPENSC_CONF", false },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct config config = { 0 };
        char text[300];
        snprintf(text, sizeof text,
                 "{\"tokens\":[{" TOKEN ",\"environment\":[\"%s=1\"]}]}",
                 cases[i].name);
        enum ca_status status = parse(text, &config);
        cr_expect_eq(status, cases[i].is_refused ? CA_MALFORMED : CA_OK, "%s",
                     cases[i].name);
        if (cases[i].is_refused)
            cr_expect(strstr(status_message(),
                             "tokens/0/environment/0: sounds like a secret"));
        config_clear(&config);
    }
    LEAK_CHECK();
}

Test(config, what_differs_is_taken)
{
    static const char *const cases[] = {
        "{\"listeners\":[{\"port\":80},{\"port\":81},{\"port\":80,\"bind\":\"::1\"}]}",
        "{\"listeners\":[{\"path\":\"a\"},{\"path\":\"b\"}]}",
        "{\"listeners\":[{\"path\":\"a\",\"port\":0,\"api\":true}]}",
        "{\"tls_key\":\"a\",\"tls_certificate\":\"b\",\"listeners\":[{\"port\":443,"
        "\"bind\":\"::\",\"tls\":true,\"api\":true,\"client_certificates\":true,"
        "\"tls_max\":12}]}",
        "{\"limits\":{\"trusted_proxies\":[\"10.0.0.1\",\"10.0.0.0/8\",\"0.0.0.0/0\","
        "\"::1\",\"2001:db8::/32\",\"::ffff:10.0.0.1/128\"],\"workers\":4,"
        "\"waiting\":3,\"requests_per_second\":0}}",
        "{\"tokens\":[{" TOKEN ",\"environment\":[\"A=1\"]},{\"name\":\"b\",\"module\":"
        "\"m\",\"uri\":\"pkcs11:token=b\",\"pin_source\":\"file:///p\","
        "\"environment\":[\"A=1\",\"AB=2\"],\"waive\":[\"software\"],"
        "\"arguments\":\"configdir='x'\"}]}",
        "{\"plugins\":[{\"name\":\"scep\",\"settings\":{\"x\":1}},{\"name\":\"b\"}]}",
        "{\"limits\":null,\"listeners\":null,\"store\":null}",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct config config = parse_good(cases[i]);
        config_clear(&config);
    }
    LEAK_CHECK();
}

/* A folder of this test, and a file of `mode` in it; free() the path. */
static char *
write_file(const char *text, size_t size, mode_t mode)
{
    char folder[] = "/tmp/sealwright-config-XXXXXX", *path = NULL;
    cr_assert(mkdtemp(folder));
    cr_assert(asprintf(&path, "%s/sealwright.json", folder) > 0);
    FILE *file = fopen(path, "w");
    cr_assert(file && fwrite(text, 1, size, file) == size && fclose(file) == 0);
    cr_assert_eq(chmod(path, mode), 0);
    return path;
}

static void
remove_file(char *path)
{
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    free(path);
}

Test(config, a_file_is_read_with_its_folder_and_named_in_messages)
{
    struct config config = { 0 };
    char wanted[200], *path = write_file("{}", 2, 0600);
    cr_assert_eq(config_load(path, &config), CA_OK, "%s", status_message());
    snprintf(wanted, sizeof wanted, "sqlite:%.*s/store.db",
             (int)(strrchr(path, '/') - path), path);
    cr_expect_str_eq(config.store, wanted);
    config_clear(&config);
    remove_file(path);

    path = write_file("{\"x\":1}", 7, 0644);
    cr_expect_eq(config_load(path, &config), CA_MALFORMED);
    snprintf(wanted, sizeof wanted, "%s: x: unknown member", path);
    cr_expect_str_eq(status_message(), wanted);
    remove_file(path);
    LEAK_CHECK();
}

Test(config, a_file_that_others_can_write_is_refused)
{
    static const mode_t modes[] = { 0660, 0606, 0666, 0620 };
    for (size_t i = 0; i < COUNT(modes); i++) {
        struct config config = { 0 };
        char *path = write_file("{}", 2, modes[i]);
        cr_expect_eq(config_load(path, &config), CA_FORBIDDEN, "%o", modes[i]);
        cr_expect(strstr(status_message(), "can be written by"));
        remove_file(path);
    }
    LEAK_CHECK();
}

Test(config, another_users_file_is_refused)
{
    struct config config = { 0 };
    char *path = write_file("{}", 2, 0644);
    if (geteuid() == 0) { /* only root can give a file away */
        cr_assert_eq(chown(path, 12345, 0), 0);
        cr_expect_eq(config_load(path, &config), CA_FORBIDDEN);
        cr_expect(strstr(status_message(), "user 12345"));
    }
    remove_file(path);
    LEAK_CHECK();
}

Test(config, what_is_no_readable_file_is_refused)
{
    struct config config = { 0 };
    cr_expect_eq(config_load("/nowhere/sealwright.json", &config), CA_NOT_FOUND);
    cr_expect(strstr(status_message(), "/nowhere/sealwright.json"));
    cr_expect_eq(config_load("/tmp", &config), CA_FORBIDDEN);
    cr_expect_eq(config_load("/dev/null", &config), CA_FORBIDDEN);
    char *path = write_file("{}", 2, 0600);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(config_load(path, &config), CA_FORBIDDEN, "and does not wait");
    remove_file(path);
    LEAK_CHECK();
}

Test(config, R8_the_file_has_a_limit)
{
    struct config config = { 0 };
    size_t size = CONFIG_SIZE_MAX;
    CA_AUTO(free) char *text = malloc(size + 1);
    memset(text, ' ', size + 1);
    memcpy(text, "{}", 2);
    char *path = write_file(text, size, 0600);
    cr_expect_eq(config_load(path, &config), CA_OK);
    config_clear(&config);
    remove_file(path);
    path = write_file(text, size + 1, 0600);
    cr_expect_eq(config_load(path, &config), CA_LIMIT);
    remove_file(path);
    LEAK_CHECK();
}

/* The document, whole; free() it. */
static char *
read_document(void)
{
    CA_AUTO(fclose) FILE *file = fopen(TEST_SOURCE "/docs/config.md", "r");
    CA_AUTO(free) char *text = calloc(1, 100000);
    cr_assert(file, TEST_SOURCE "/docs/config.md: %s", strerror(errno));
    size_t size = fread(text, 1, 99999, file);
    cr_assert(size > 0 && size < 99999);
    return CA_STEAL(text);
}

/* The row of one member as docs/config.md has it. */
static void
format_row(const struct field *field, const char *prefix, char *ret_row, size_t size)
{
    static const char *const types[] = {
        [FIELD_TEXT] = "text",
        [FIELD_INTEGER] = "integer",
        [FIELD_BOOLEAN] = "true or false",
        [FIELD_DURATION] = "duration",
        [FIELD_TIME] = "time",
        [FIELD_CHOICE] = "word",
        [FIELD_CHOICES] = "words",
        [FIELD_TEXTS] = "list of texts",
        [FIELD_OBJECT] = "object",
        [FIELD_OBJECTS] = "list of objects",
        [FIELD_JSON] = "object",
    };
    static const char *const zeros[] = {
        [FIELD_INTEGER] = "`0`",  [FIELD_BOOLEAN] = "`false`", [FIELD_TEXTS] = "`[]`",
        [FIELD_OBJECTS] = "`[]`", [FIELD_JSON] = NULL,
    };
    char bounds[60] = "", initial[200];
    if (field->type == FIELD_INTEGER && field->max > field->min)
        snprintf(bounds, sizeof bounds, " (%lld to %lld)", (long long)field->min,
                 (long long)field->max);
    const char *zero = zeros[field->type] ? zeros[field->type] : "–";
    if (field->initial)
        snprintf(initial, sizeof initial, "`%s`", field->initial);
    else
        snprintf(initial, sizeof initial, "%s",
                 field->flags & FIELD_REQUIRED ? "required" : zero);
    snprintf(ret_row, size, "\n| `%s%s` | %s%s | %s | %s |\n", prefix, field->name,
             types[field->type], bounds, initial, field->help);
}

static size_t
expect_rows(const char *document, const struct field *fields, const char *prefix)
{
    size_t count = 0;
    for (const struct field *field = fields; field->name; field++) {
        char row[600], inner[100];
        cr_expect(field->help && *field->help, "%s%s has no help", prefix, field->name);
        format_row(field, prefix, row, sizeof row);
        cr_expect(strstr(document, row), "docs/config.md lacks the row%s", row);
        count++;
        if (!field->fields)
            continue;
        snprintf(inner, sizeof inner, "%s%s%s", prefix, field->name,
                 field->type == FIELD_OBJECTS ? "[]." : ".");
        count += expect_rows(document, field->fields, inner);
    }
    return count;
}

Test(config, docs_name_every_member_and_no_other)
{
    CA_AUTO(free) char *document = read_document();
    size_t wanted = expect_rows(document, config_fields, ""), rows = 0;
    for (const char *at = document; (at = strstr(at, "\n| `")) != NULL; at++)
        rows++;
    cr_expect_eq(rows, wanted, "%zu rows for %zu members", rows, wanted);
    LEAK_CHECK();
}

Test(config, docs_examples_are_taken)
{
    CA_AUTO(free) char *document = read_document();
    int examples = 0;
    for (char *at = document; (at = strstr(at, "```json\n")) != NULL; examples++) {
        at += strlen("```json\n");
        char *end = strstr(at, "```");
        cr_assert(end);
        struct config config = { 0 };
        cr_expect_eq(config_parse(at, (size_t)(end - at), FOLDER, &config), CA_OK, "%s",
                     status_message());
        config_clear(&config);
        at = end + 3;
    }
    cr_expect_eq(examples, 2);
    LEAK_CHECK();
}

Test(config, the_schema_has_every_member)
{
    CA_AUTO(json_decref) json_t *schema = config_schema();
    json_t *properties = json_object_get(schema, "properties");
    size_t count = 0;
    for (const struct field *field = config_fields; field->name; field++, count++)
        cr_expect(json_object_get(properties, field->name), "%s", field->name);
    cr_expect_eq(json_object_size(properties), count);
    LEAK_CHECK();
}
