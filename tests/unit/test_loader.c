/* Plugins from files, and the way from a path to a handler. */
#include "auto.h"
#include "leak.h"
#include "loader.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])
#define PATH_SIZE 160

static char folder[] = "/tmp/sealwright-loader-XXXXXX";
static char names[4][40]; /* files to remove */
static size_t name_count;

static void
folder_make(void)
{
    cr_assert_not_null(mkdtemp(folder));
}

static void
folder_remove(void)
{
    char path[PATH_SIZE];
    for (size_t i = 0; i < name_count; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

TestSuite(loader, .init = folder_make, .fini = folder_remove);

static const char *
file_path(const char *name)
{
    static char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* Puts the fixture of this build into the folder as sealwright_<name>.so. */
static void
file_install(const char *fixture, const char *name)
{
    char source[256], command[600];
    snprintf(names[name_count], sizeof names[0], "sealwright_%s.so", name);
    snprintf(source, sizeof source, "%s/fixture_%s.so", FIXTURE_FOLDER, fixture);
    snprintf(command, sizeof command, "install -m 0644 %s %s", source,
             file_path(names[name_count]));
    name_count++;
    cr_assert_eq(system(command), 0, "%s", command);
}

static enum ca_status
open_one(const char *name, json_t *settings, struct loader *ret_loader)
{
    struct config_plugin plugin = { strdup(name), settings };
    struct config config = { .plugin_directory = folder, .plugins = { &plugin, 1 } };
    enum ca_status status = loader_open(&config, NULL, 0, ret_loader);
    free(plugin.name);
    return status;
}

static bool
message_has(const char *part)
{
    return strstr(status_message(), part) != NULL;
}

Test(loader, opens_a_plugin_with_its_settings_and_closes_it)
{
    struct loader loader;
    file_install("good", "fixture");
    CA_AUTO(json_decref) json_t *settings = json_pack("{s:{}}", "life");
    json_t *life = json_object_get(settings, "life");
    cr_assert_eq(open_one("fixture", settings, &loader), CA_OK, "%s", status_message());
    cr_expect_eq(loader.count, 1);
    cr_expect_str_eq(loader.items[0].plugin->name, "fixture");
    cr_expect(json_object_get(life, "opened") && !json_object_get(life, "closed"));
    loader_close(&loader);
    cr_expect_not_null(json_object_get(life, "closed"));
}

Test(loader, opens_the_skeleton)
{
    struct loader loader;
    char command[600];
    snprintf(names[name_count++], sizeof names[0], "sealwright_skeleton.so");
    snprintf(command, sizeof command, "install -m 0644 %s %s", SKELETON_FILE,
             file_path("sealwright_skeleton.so"));
    cr_assert_eq(system(command), 0);
    CA_AUTO(json_decref) json_t *settings = json_pack("{s:s}", "greeting", "Ahoy");
    cr_assert_eq(open_one("skeleton", settings, &loader), CA_OK, "%s",
                 status_message());
    cr_expect_eq(loader_check_routes(&loader), CA_OK);
    loader_close(&loader);
}

Test(loader, file_that_is_no_fitting_plugin_is_refused)
{
    static const struct {
        const char *fixture, *name;
        enum ca_status status;
        const char *message;
    } cases[] = {
        { "abi", "fixture", CA_UNSUPPORTED, "ABI 99, this daemon has 5" },
        { "symbol", "fixture", CA_UNSUPPORTED, "no symbol ca_plugin" },
        { "undefined", "fixture", CA_UNSUPPORTED, "symbol_that_nobody_has" },
        { "good", "other", CA_MALFORMED, "calls itself 'fixture', not 'other'" },
        { "head", "fixture", CA_MALFORMED, "HEAD" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct loader loader = { NULL, 77 };
        file_install(cases[i].fixture, cases[i].name);
        cr_expect_eq(open_one(cases[i].name, NULL, &loader), cases[i].status, "%s: %s",
                     cases[i].fixture, status_message());
        cr_expect(message_has(cases[i].message), "%s", status_message());
        cr_expect_eq(loader.count, 77, "%s", cases[i].fixture);
        unlink(file_path(names[--name_count]));
    }
    struct loader loader;
    cr_expect_eq(open_one("absent", NULL, &loader), CA_NOT_FOUND);
    FILE *text = fopen(file_path("sealwright_text.so"), "w");
    fputs("not ELF\n", text);
    fchmod(fileno(text), 0600);
    fclose(text);
    snprintf(names[name_count++], sizeof names[0], "sealwright_text.so");
    cr_expect_eq(open_one("text", NULL, &loader), CA_UNSUPPORTED);
    LEAK_CHECK();
}

Test(loader, name_that_leaves_the_folder_is_refused)
{
    static const char *const cases[] = { "",     "../x",
                                         "a/b",  "A",
                                         "a.so", "a b",
                                         "a-b",  "abcdefghijklmnopqrstuvwxyzabcdefg" };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct loader loader;
        cr_expect_eq(open_one(cases[i], NULL, &loader), CA_MALFORMED, "%s", cases[i]);
    }
}

Test(loader, W4_settings_that_a_plugin_refuses_stop_the_start)
{
    struct loader loader;
    file_install("good", "fixture");
    CA_AUTO(json_decref) json_t *settings = json_pack("{s:b}", "refuse", 1);
    cr_expect_eq(open_one("fixture", settings, &loader), CA_MALFORMED);
    cr_expect(message_has("plugin 'fixture': settings/refuse: it is so"), "%s",
              status_message());
}

Test(loader, file_or_folder_that_others_can_write_is_refused)
{
    static const struct {
        mode_t file, folder;
        const char *message; /* NULL: opens */
    } cases[] = {
        { 0644, 0755, NULL },        { 0600, 0700, NULL },
        { 0664, 0755, "its group" }, { 0646, 0755, "others" },
        { 0644, 0775, "its group" }, { 0644, 0757, "others" },
        { 0644, 01777, "others" },
    };
    file_install("good", "fixture");
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct loader loader;
        chmod(file_path("sealwright_fixture.so"), cases[i].file);
        chmod(folder, cases[i].folder);
        enum ca_status status = open_one("fixture", NULL, &loader);
        cr_expect_eq(status, cases[i].message ? CA_FORBIDDEN : CA_OK, "case %zu", i);
        if (status == CA_OK)
            loader_close(&loader);
        else
            cr_expect(message_has(cases[i].message) && message_has(folder), "%s",
                      status_message());
    }
    chmod(folder, 0700);
}

Test(loader, what_is_no_file_is_refused_and_not_waited_for)
{
    struct loader loader;
    snprintf(names[name_count++], sizeof names[0], "sealwright_fixture.so");
    cr_assert_eq(mkfifo(file_path("sealwright_fixture.so"), 0600), 0);
    cr_expect_eq(open_one("fixture", NULL, &loader), CA_MALFORMED);
    cr_expect(message_has("no regular file"), "%s", status_message());
}

Test(loader, link_is_judged_by_what_it_leads_to)
{
    struct loader loader;
    char open_folder[] = "/tmp/sealwright-loader-open-XXXXXX", target[PATH_SIZE],
         command[400];
    cr_assert_not_null(mkdtemp(open_folder));
    snprintf(target, sizeof target, "%s/elsewhere.so", open_folder);
    snprintf(command, sizeof command, "install -m 0644 %s/fixture_good.so %s",
             FIXTURE_FOLDER, target);
    cr_assert_eq(system(command), 0);
    chmod(open_folder, 0777);
    snprintf(names[name_count++], sizeof names[0], "sealwright_fixture.so");
    cr_assert_eq(symlink(target, file_path("sealwright_fixture.so")), 0);
    cr_expect_eq(open_one("fixture", NULL, &loader), CA_FORBIDDEN);
    cr_expect(message_has(open_folder), "%s", status_message());
    unlink(target);
    rmdir(open_folder);
}

/* ---- Routes ---- */

static enum ca_status
handle(void *state, struct ca_request *req)
{
    (void)state, (void)req;
    return CA_OK;
}

#define ROUTE(method, path, flags)                                                     \
    {                                                                                  \
        method, path, 0, flags, handle                                                 \
    }
#define ROUTES_END                                                                     \
    {                                                                                  \
        NULL, NULL, 0, 0, NULL                                                         \
    }

static const struct ca_route scep_routes[] = {
    ROUTE("GET", "/scep/", CA_ROUTE_PREFIX),
    ROUTE("POST", "/scep", CA_ROUTE_PREFIX),
    ROUTE("GET", "/scep/special", 0),
    ROUTE("GET", "/certsrv/mscep/mscep.dll", CA_ROUTE_ANY_CASE),
    ROUTES_END,
};
static const struct ca_route api_routes[] = {
    ROUTE("GET", "/api/v1/users", CA_ROUTE_API),
    ROUTE("POST", "/api/v1/users", CA_ROUTE_API),
    ROUTE("GET", "/api/v1/users", CA_ROUTE_API | CA_ROUTE_PREFIX),
    ROUTE("DELETE", "/api/v1/users", CA_ROUTE_API | CA_ROUTE_PREFIX),
    ROUTES_END,
};
static const struct ca_plugin scep = { CA_PLUGIN_ABI, "scep", scep_routes, NULL, NULL };
static const struct ca_plugin api = { CA_PLUGIN_ABI, "api", api_routes, NULL, NULL };

Test(loader, route_is_the_most_special_one)
{
    static const struct {
        const char *method, *path, *route, *rest; /* route NULL: none */
        enum ca_status status;
        const char *allow;
    } cases[] = {
        { "GET", "/scep", "/scep/", "", CA_OK, "" },
        { "GET", "/scep/", "/scep/", "/", CA_OK, "" },
        { "GET", "/scep/default", "/scep/", "/default", CA_OK, "" },
        { "GET", "/scep/special", "/scep/special", "", CA_OK, "" },
        { "GET", "/scep/special/x", "/scep/", "/special/x", CA_OK, "" },
        { "POST", "/scep/default", "/scep", "/default", CA_OK, "" },
        { "GET", "/scepter", NULL, NULL, CA_NOT_FOUND, "" },
        { "GET", "/SCEP", NULL, NULL, CA_NOT_FOUND, "" },
        { "GET", "/", NULL, NULL, CA_NOT_FOUND, "" },
        { "GET", "", NULL, NULL, CA_NOT_FOUND, "" },
        { "GET", "/CertSrv/MSCEP/mscep.DLL", "/certsrv/mscep/mscep.dll", "", CA_OK,
          "" },
        { "GET", "/certsrv/mscep/mscep.dll/", NULL, NULL, CA_NOT_FOUND, "" },
        { "PUT", "/scep/special", NULL, NULL, CA_UNSUPPORTED, "GET, HEAD, POST" },
        { "POST", "/scep/special", "/scep", "/special", CA_OK, "GET, HEAD" },
        { "GET", "/api/v1/users", "/api/v1/users", "", CA_OK, "POST, DELETE" },
        { "DELETE", "/api/v1/users/x", "/api/v1/users", "/x", CA_OK, "GET, HEAD" },
        { "PATCH", "/api/v1/users/x", NULL, NULL, CA_UNSUPPORTED, "GET, HEAD, DELETE" },
        { "get", "/api/v1/users/x", NULL, NULL, CA_UNSUPPORTED, "GET, HEAD, DELETE" },
    };
    struct loaded items[] = { { &scep, NULL, NULL }, { &api, NULL, NULL } };
    struct loader loader = { items, 2 };
    cr_assert_eq(loader_check_routes(&loader), CA_OK, "%s", status_message());
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct loaded *loaded = NULL;
        const struct ca_route *route = NULL;
        const char *rest = NULL;
        char allow[64];
        cr_expect_eq(loader_route(&loader, cases[i].method, cases[i].path, &loaded,
                                  &route, &rest, allow, sizeof allow),
                     cases[i].status, "%s %s", cases[i].method, cases[i].path);
        cr_expect_eq(route != NULL, cases[i].route != NULL);
        if (cases[i].status != CA_OK)
            cr_expect_str_eq(allow, cases[i].allow, "%s", cases[i].path);
        if (!route || !cases[i].route)
            continue;
        cr_expect_str_eq(route->path, cases[i].route, "%s", cases[i].path);
        cr_expect_str_eq(rest, cases[i].rest, "%s", cases[i].path);
        cr_expect_str_eq(route->method, cases[i].method);
    }
    const struct loaded *loaded;
    const struct ca_route *route;
    const char *rest;
    char allow[64];
    loader_route(&loader, "GET", "/api/v1/users", &loaded, &route, &rest, allow, 64);
    cr_expect_eq(route->flags & CA_ROUTE_PREFIX, 0, "exact before prefix");
    cr_expect_eq(loaded->plugin, &api);
}

Test(loader, A1_routes_that_could_answer_the_same_request_clash)
{
    static const struct {
        struct ca_route a, b;
        bool clash;
    } cases[] = {
        { ROUTE("GET", "/a", 0), ROUTE("GET", "/a", 0), true },
        { ROUTE("GET", "/a", 0), ROUTE("POST", "/a", 0), false },
        { ROUTE("GET", "/a", 0), ROUTE("GET", "/b", 0), false },
        { ROUTE("GET", "/a", 0), ROUTE("GET", "/A", 0), false },
        { ROUTE("GET", "/a", CA_ROUTE_ANY_CASE), ROUTE("GET", "/A", 0), true },
        { ROUTE("GET", "/a", CA_ROUTE_PREFIX), ROUTE("GET", "/a/b", 0), true },
        { ROUTE("GET", "/a/b", 0), ROUTE("GET", "/a", CA_ROUTE_PREFIX), true },
        { ROUTE("GET", "/a", CA_ROUTE_PREFIX), ROUTE("GET", "/ab", 0), false },
        { ROUTE("GET", "/a/", CA_ROUTE_PREFIX), ROUTE("GET", "/a", 0), true },
        { ROUTE("GET", "/a/", 0), ROUTE("GET", "/a", 0), false },
        { ROUTE("GET", "/a", CA_ROUTE_PREFIX), ROUTE("GET", "/a/b", CA_ROUTE_PREFIX),
          true },
        { ROUTE("GET", "/", CA_ROUTE_PREFIX), ROUTE("GET", "/x/y", 0), true },
        { ROUTE("GET", "/a", CA_ROUTE_API), ROUTE("GET", "/a", 0), true },
        { ROUTE("GET", "/A/x", CA_ROUTE_ANY_CASE), ROUTE("GET", "/a", CA_ROUTE_PREFIX),
          true },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ca_route first[] = { cases[i].a, ROUTES_END };
        struct ca_route second[] = { cases[i].b, ROUTES_END };
        struct ca_plugin one = { CA_PLUGIN_ABI, "one", first, NULL, NULL };
        struct ca_plugin two = { CA_PLUGIN_ABI, "two", second, NULL, NULL };
        struct loaded items[] = { { &one, NULL, NULL }, { &two, NULL, NULL } };
        struct loader loader = { items, 2 };
        cr_expect_eq(loader_check_routes(&loader), cases[i].clash ? CA_CONFLICT : CA_OK,
                     "case %zu", i);
        if (cases[i].clash)
            cr_expect(message_has("'one'") && message_has("'two'"), "%s",
                      status_message());
    }
}

Test(loader, same_route_twice_in_one_plugin_is_a_mistake)
{
    struct ca_route twice[] = { ROUTE("GET", "/a", 0), ROUTE("GET", "/a", 0),
                                ROUTES_END };
    struct ca_plugin plugin = { CA_PLUGIN_ABI, "one", twice, NULL, NULL };
    struct loaded item = { &plugin, NULL, NULL };
    struct loader loader = { &item, 1 };
    cr_expect_eq(loader_check_routes(&loader), CA_CONFLICT);
    twice[1].flags = CA_ROUTE_PREFIX;
    cr_expect_eq(loader_check_routes(&loader), CA_OK,
                 "exact before prefix is a choice");
}

Test(loader, built_in_plugins_come_first_and_names_are_unique)
{
    const struct ca_plugin *const built_in[] = { &api, &scep };
    struct config config = { .plugin_directory = folder };
    struct loader loader;
    cr_assert_eq(loader_open(&config, built_in, 2, &loader), CA_OK);
    cr_expect_eq(loader.count, 2);
    cr_expect_eq(loader.items[0].plugin, &api);
    cr_expect_null(loader.items[0].handle);
    loader_close(&loader);
    const struct ca_plugin *const doubled[] = { &api, &api };
    cr_expect_eq(loader_open(&config, doubled, 2, &loader), CA_CONFLICT);
    LEAK_CHECK();
}
