/* The command's HTTP by libcurl: where the daemon is, who calls, limits, refusals. */
#include "cli_http.h"
#include "cli_table.h"
#include "clock.h"
#include "config.h"
#include "fetch.h"
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* A page of devices, each with all that it may say of itself. */
#define ANSWER_MAX (64 * 1024 * 1024)
#define VALUES_MAX 500000 /* in JSON: each costs up to 240 octets here */
#define CONNECT_SECONDS 10L
#define CALL_SECONDS 120L
#define TOKEN_MAX 512
#define URL_TEXT_MAX 4096
#define SOCKET_BASE "http://localhost"

struct cli_client {
    CURL *curl;
    char *base;   /* without a slash at its end */
    char *socket; /* NULL with --url */
    char *token;  /* NULL: none is sent */
    char *ca_file;
    char reason[CURL_ERROR_SIZE];
};

static bool fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool
fail(const char *format, ...)
{
    va_list args;
    fputs("sealwright: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return false;
}

static char *
path_in_data(const struct command_context *context, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", context->data, name) < 0 ? NULL : path;
}

/* ---- Where ---- */

char *
cli_socket_path(const struct command_context *context)
{
    CA_AUTO(free)
    char *path = context->config ? strdup(context->config)
                                 : path_in_data(context, "sealwright.json");
    struct config config = { 0 };
    if (!path)
        return NULL;
    /* The daemon may run with an earlier file: the default place is worth a try unless
     * the file was named. */
    if (config_load(path, &config) != CA_OK) {
        if (!context->config)
            return path_in_data(context, "sealwright.sock");
        fail("%s", status_message());
        return NULL;
    }
    char *found = NULL;
    bool is_named = false;
    const struct config_listener *listeners = config.listeners.items;
    for (size_t i = 0; i < config.listeners.count && !is_named; i++) {
        is_named = listeners[i].path && listeners[i].api;
        if (is_named)
            found = strdup(listeners[i].path);
    }
    config_clear(&config);
    if (!is_named)
        fail("%s names no unix socket with the API: use --url", path);
    return found;
}

/* A token never leaves over plain HTTP. */
static bool
base_set(struct cli_client *client, const struct command_context *context)
{
    if (!context->url) {
        client->socket = cli_socket_path(context);
        client->base = strdup(SOCKET_BASE);
        return client->socket && client->base;
    }
    if (strncasecmp(context->url, "https://", 8) != 0 || context->url[8] == '\0' ||
        strpbrk(context->url, "?#@ "))
        return fail("--url wants an address like https://ca.example.com:8443");
    client->base = strdup(context->url);
    for (size_t end = client->base ? strlen(client->base) : 0;
         end > 0 && client->base[end - 1] == '/'; end--)
        client->base[end - 1] = '\0';
    client->ca_file =
        context->ca_file ? strdup(context->ca_file) : path_in_data(context, "root.pem");
    if (!client->base || !client->ca_file)
        return fail("no memory");
    if (access(client->ca_file, R_OK) != 0)
        return fail("%s: %s; name the issuers to trust with --cacert", client->ca_file,
                    strerror(errno));
    return true;
}

/* ---- Who ---- */

/* The first line of the file; nothing that would end or add a header. */
static bool
token_read(struct cli_client *client, const struct command_context *context)
{
    CA_AUTO(free)
    char *path = context->token_file ? strdup(context->token_file)
                                     : path_in_data(context, "admin.token");
    if (!path)
        return fail("no memory");
    CA_AUTO(fclose) FILE *file = fopen(path, "re");
    if (!file)
        return fail("the administrator's token, %s: %s; name it with --token-file",
                    path, strerror(errno));
    setvbuf(file, NULL, _IONBF, 0); /* no copy stays in a buffer of the library */
    client->token = calloc(1, TOKEN_MAX + 1);
    if (!client->token)
        return fail("no memory");
    size_t size = fread(client->token, 1, TOKEN_MAX, file);
    while (size > 0 && strchr(" \t\r\n", client->token[size - 1]))
        client->token[--size] = '\0';
    if (size == 0 || size == TOKEN_MAX || strlen(client->token) != size)
        return fail("%s does not hold a token", path);
    for (const char *at = client->token; *at; at++) {
        if (*at <= ' ' || *at > '~')
            return fail("%s does not hold a token alone", path);
    }
    return true;
}

/* ---- The connection ---- */

/* Holds for every call of the client. */
static bool
client_configure(struct cli_client *client)
{
    CURL *curl = client->curl;
    bool holds =
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->reason) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, CALL_SECONDS) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_USERAGENT, "sealwright/" SEALWRIGHT_VERSION) ==
            CURLE_OK;
    if (!holds)
        return false;
    if (client->socket)
        return curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket) ==
                   CURLE_OK &&
               curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
               curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http") == CURLE_OK;
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2) ==
               CURLE_OK &&
           fetch_trust(curl, client->ca_file);
}

bool
cli_client_open(const struct command_context *context, bool needs_token,
                struct cli_client **ret_client)
{
    /* SECURITY I5: what is in memory here stays out of a core file. */
    const struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    struct cli_client *client = calloc(1, sizeof *client);
    if (!client)
        return fail("no memory");
    bool is_open =
        base_set(client, context) && (!needs_token || token_read(client, context));
    if (is_open) {
        client->curl =
            curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
        is_open = client->curl && client_configure(client)
                      ? true
                      : fail("the HTTP library does not start");
    }
    if (!is_open) {
        cli_client_close(client);
        return false;
    }
    *ret_client = client;
    return true;
}

void
cli_client_close(struct cli_client *client)
{
    if (!client)
        return;
    if (client->curl) {
        curl_easy_cleanup(client->curl);
        curl_global_cleanup();
    }
    free(client->base);
    free(client->socket);
    free(client->ca_file);
    secret_free(client->token);
    free(client);
}

/* ---- One call ---- */

static bool header_add(struct curl_slist **headers, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool
header_add(struct curl_slist **headers, const char *format, ...)
{
    CA_AUTO(secret_free) char *text = NULL;
    va_list args;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0) {
        text = NULL;
        return false;
    }
    return fetch_header_add(headers, text);
}

static void
headers_free(struct curl_slist *headers)
{
    for (struct curl_slist *at = headers; at; at = at->next)
        OPENSSL_cleanse(at->data, strlen(at->data));
    curl_slist_free_all(headers);
}

static bool
headers_make(const struct cli_client *client, const struct cli_request *request,
             struct curl_slist **headers)
{
    char key[37];
    const char *accept = request->accept ? request->accept : "application/json";
    /* The library's own Content-Type and Expect are taken back. */
    bool holds = header_add(headers, "Accept: %s", accept) &&
                 header_add(headers, "Expect:") &&
                 header_add(headers, request->body ? "Content-Type: application/json"
                                                   : "Content-Type:");
    if (holds && client->token)
        holds = header_add(headers, "Authorization: Bearer %s", client->token);
    if (holds && request->if_match)
        holds = header_add(headers, "If-Match: %s", request->if_match);
    if (holds && request->is_once)
        holds = random_uuid(key) == CA_OK &&
                header_add(headers, "Idempotency-Key: %s", key);
    return holds;
}

static bool
request_set(struct cli_client *client, const struct cli_request *request,
            const char *url, const char *body)
{
    CURL *curl = client->curl;
    bool has_body = body || strcmp(request->method, "POST") == 0;
    if (curl_easy_setopt(curl, CURLOPT_URL, url) != CURLE_OK)
        return false;
    if (!has_body && curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L) != CURLE_OK)
        return false;
    if (has_body) {
        const char *data = body ? body : "";
        if (curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(data)) !=
                CURLE_OK ||
            curl_easy_setopt(curl, CURLOPT_POSTFIELDS, data) != CURLE_OK)
            return false;
    }
    return curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK;
}

/* The connection broke: nobody knows whether the daemon acted. */
static bool
is_broken(CURLcode code)
{
    return code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR ||
           code == CURLE_SEND_ERROR || code == CURLE_PARTIAL_FILE;
}

static CURLcode
perform(struct cli_client *client, bool may_repeat, struct cli_answer *answer)
{
    struct fetch_body body = { &answer->data, ANSWER_MAX };
    CURLcode code = CURLE_OK;
    if (!fetch_body_into(client->curl, &body))
        return CURLE_OUT_OF_MEMORY;
    for (int tries = may_repeat ? 2 : 1; tries > 0; tries--) {
        text_buffer_clear(&answer->data);
        client->reason[0] = '\0';
        code = curl_easy_perform(client->curl);
        if (!is_broken(code))
            break;
    }
    return code;
}

static bool
unreachable(const struct cli_client *client, CURLcode code)
{
    CA_AUTO(text_buffer_clear) struct text_buffer reason = { 0 };
    const char *told = client->reason[0] ? client->reason : curl_easy_strerror(code);
    long error = 0;
    cli_escape(&reason, told, strlen(told)); /* it may quote the other end */
    curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &error);
    if (client->socket && code == CURLE_COULDNT_CONNECT)
        return fail("no daemon answers at %s%s%s; is `sealwright serve` running?",
                    client->socket, error ? ": " : "",
                    error ? strerror((int)error) : "");
    if (code == CURLE_WRITE_ERROR)
        return fail("the answer has more than %d octets", ANSWER_MAX);
    return fail("%s: %s", client->socket ? client->socket : client->base,
                reason.failed || !reason.data ? "no answer" : reason.data);
}

/* At least as many as the text has values: what ends one or opens a next. */
static size_t
values_of(const char *text, size_t size)
{
    size_t count = 1;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && (text[i] == ',' || text[i] == '{' || text[i] == '['))
            count++;
    }
    return count;
}

/* What will be parsed must not take many times the memory of its text. */
static bool
answer_check(const struct cli_request *request, const struct cli_answer *answer)
{
    bool is_json = !request->accept || answer->status >= 300;
    if (!is_json || values_of(answer->data.data, answer->data.size) <= VALUES_MAX)
        return true;
    return fail("the answer has more than %d values; a list may be asked for in parts "
                "(--limit)",
                VALUES_MAX);
}

static void
etag_take(struct cli_client *client, struct cli_answer *answer)
{
    struct curl_header *header = NULL;
    if (curl_easy_header(client->curl, "ETag", 0, CURLH_HEADER, -1, &header) ==
            CURLHE_OK &&
        strlen(header->value) < sizeof answer->etag)
        snprintf(answer->etag, sizeof answer->etag, "%s", header->value);
}

static bool
call_run(struct cli_client *client, const struct cli_request *request,
         struct curl_slist *headers, struct cli_answer *answer)
{
    CA_AUTO(text_buffer_clear) struct text_buffer url = { 0 };
    CA_AUTO(secret_free)
    char *body = request->body ? json_dumps(request->body, JSON_COMPACT) : NULL;
    text_print(&url, "%s%s", client->base, request->path);
    if (url.failed || (request->body && !body))
        return fail("no memory");
    if (url.size > URL_TEXT_MAX)
        return fail("the address has more than %d octets", URL_TEXT_MAX);
    if (!request_set(client, request, url.data, body) ||
        curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers) != CURLE_OK)
        return fail("the request could not be made");
    bool may_repeat = request->is_once || strcmp(request->method, "GET") == 0;
    CURLcode code = perform(client, may_repeat, answer);
    /* The library keeps pointers to what ends here. */
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, NULL);
    if (code != CURLE_OK)
        return unreachable(client, code);
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &answer->status);
    etag_take(client, answer);
    return answer_check(request, answer);
}

bool
cli_client_call(struct cli_client *client, const struct cli_request *request,
                struct cli_answer *ret_answer)
{
    struct curl_slist *headers = NULL;
    bool is_answered = headers_make(client, request, &headers)
                           ? call_run(client, request, headers, ret_answer)
                           : fail("no memory");
    headers_free(headers);
    if (!is_answered)
        return false;
    long status = ret_answer->status;
    if ((status >= 200 && status < 300) ||
        (status == 503 && request->takes_unavailable))
        return true;
    cli_problem_print(stderr, status, ret_answer->data.data, ret_answer->data.size);
    if (status == 401)
        fputs("  Is this the token of an enabled administrator? See --token-file.\n",
              stderr);
    return false;
}

void
cli_answer_clear(struct cli_answer *answer)
{
    text_buffer_clear(&answer->data);
    *answer = (struct cli_answer){ 0 };
}

/* ---- Refusals ---- */

static void
member_print(FILE *to, const char *before, const json_t *text, const char *after)
{
    CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
    if (!json_is_string(text))
        return;
    cli_escape(&buffer, json_string_value(text), json_string_length(text));
    fprintf(to, "%s%s%s", before, buffer.failed || !buffer.data ? "" : buffer.data,
            after);
}

void
cli_problem_print(FILE *to, long status, const char *data, size_t size)
{
    CA_AUTO(json_decref)
    json_t *problem = data ? json_loadb(data, size, 0, NULL) : NULL;
    const json_t *title = json_object_get(problem, "title");
    const json_t *detail = json_object_get(problem, "detail");
    if (!json_is_string(title)) {
        fprintf(to, "sealwright: the daemon answered with status %ld\n", status);
        return;
    }
    member_print(to, "sealwright: ", title, "\n");
    const json_t *errors = json_object_get(problem, "errors");
    /* With errors the detail is the first of them. */
    if (!json_equal(title, detail) && json_array_size(errors) == 0)
        member_print(to, "  ", detail, "\n");
    size_t i;
    const json_t *error;
    json_array_foreach (errors, i, error) {
        member_print(to, "  ", json_object_get(error, "pointer"), ": ");
        member_print(to, "", json_object_get(error, "detail"), "\n");
    }
    member_print(to, "  request ", json_object_get(problem, "instance"), "\n");
}
