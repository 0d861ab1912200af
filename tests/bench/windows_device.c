/* Windows devices: keys and messages before the first request, documents after it. */
#include "windows_load.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 65536
#define LINE_SIZE 512
#define PASSWORD_TYPE                                                                  \
    "http://docs.oasis-open.org/wss/2004/01/"                                          \
    "oasis-200401-wss-username-token-profile-1.0#PasswordText"
#define TOKEN_TYPE                                                                     \
    "http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/"            \
    "DeviceEnrollmentUserToken"

/* ---- Texts ---- */

static char *
file_text(const char *folder, const char *name)
{
    char path[LINE_SIZE], *text = calloc(1, TEXT_MAX);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    size_t size = file && text ? fread(text, 1, TEXT_MAX - 1, file) : 0;
    load_must(size > 0, "a message cannot be read");
    fclose(file);
    return text;
}

/* `text` with `value` in the place of the mark; takes it over. */
static char *
fill(char *text, const char *mark, const char *value)
{
    char *at = strstr(text, mark), *filled = NULL;
    load_must(at != NULL, mark);
    *at = '\0';
    load_must(asprintf(&filled, "%s%s%s", text, value, at + strlen(mark)) > 0,
              "no memory for a message");
    free(text);
    return filled;
}

static char *
base64(const void *octets, size_t size)
{
    char *text = malloc(4 * (size / 3 + 1) + 1);
    load_must(text != NULL, "no memory for base64");
    EVP_EncodeBlock((unsigned char *)text, octets, (int)size);
    return text;
}

/* The decoded base64 between two marks, NUL-terminated; NULL: not there. */
static char *
between(const char *text, const char *before, const char *after, size_t *ret_size)
{
    const char *start = text ? strstr(text, before) : NULL;
    const char *end = start ? strstr(start += strlen(before), after) : NULL;
    size_t size = end ? (size_t)(end - start) : 0;
    if (size == 0 || size % 4 != 0)
        return NULL;
    char *octets = calloc(1, size / 4 * 3 + 1);
    int length = octets ? EVP_DecodeBlock((unsigned char *)octets,
                                          (const unsigned char *)start, (int)size)
                        : -1;
    if (length < 0) {
        free(octets);
        return NULL;
    }
    *ret_size = (size_t)length - (end[-1] == '=') - (end[-2] == '=');
    return octets;
}

/* ---- Ready for the first request ---- */

/* "token TEXT" or "password USER TEXT" as a Security header has it. */
static char *
security_make(char *line)
{
    char *rest = line, *made = NULL;
    const char *kind = strsep(&rest, " "), *first = strsep(&rest, " ");
    load_must(kind && first, "a credential of another form");
    if (strcmp(kind, "token") == 0) {
        char *text = base64(first, strlen(first));
        load_must(asprintf(&made,
                           "<wsse:BinarySecurityToken ValueType=\"" TOKEN_TYPE
                           "\">%s</wsse:BinarySecurityToken>",
                           text) > 0,
                  "no memory for a token");
        free(text);
        return made;
    }
    load_must(rest && asprintf(&made,
                               "<wsse:UsernameToken><wsse:Username>%s</wsse:Username>"
                               "<wsse:Password Type=\"" PASSWORD_TYPE
                               "\">%s</wsse:Password></wsse:UsernameToken>",
                               first, rest) > 0,
              "no memory for a password");
    return made;
}

static char *
csr_make(EVP_PKEY *key, const char *id)
{
    uint8_t *der = NULL;
    X509_REQ *request = X509_REQ_new();
    load_must(request &&
                  X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN",
                                             MBSTRING_UTF8, (const unsigned char *)id,
                                             -1, -1, 0) == 1 &&
                  X509_REQ_set_pubkey(request, key) == 1 &&
                  X509_REQ_sign(request, key, EVP_sha256()) > 0,
              "a device's CSR is not made");
    int size = i2d_X509_REQ(request, &der);
    load_must(size > 0, "a device's CSR is not encoded");
    char *text = base64(der, (size_t)size);
    OPENSSL_free(der);
    X509_REQ_free(request);
    return text;
}

static struct windows_device *
devices_grow(struct windows_device *devices, size_t count)
{
    if (count % 256 == 0)
        devices = reallocarray(devices, count + 256, sizeof *devices);
    load_must(devices != NULL, "no memory for devices");
    devices[count] = (struct windows_device){ 0 };
    return devices;
}

struct windows_device *
windows_prepare(const char *path, const char *messages, const struct load_pool *pool,
                size_t first, size_t *ret_count)
{
    char line[LINE_SIZE];
    struct windows_device *devices = NULL;
    size_t count = 0;
    FILE *file = fopen(path, "re");
    load_must(file && messages, "no credentials or messages");
    for (; fgets(line, sizeof line, file); count++) {
        devices = devices_grow(devices, count);
        struct windows_device *device = &devices[count];
        line[strcspn(line, "\n")] = '\0';
        snprintf(device->id, sizeof device->id, "%032zX", first + count + 1);
        device->key = load_key(pool, first + count);
        char *security = security_make(line), *with_end = NULL;
        char *csr = csr_make(device->key, device->id);
        load_must(asprintf(&with_end, "%s</wsse:Security>", security) > 0,
                  "no memory for a message");
        device->discover = file_text(messages, "discover.xml");
        device->policies = fill(file_text(messages, "getpolicies-unsigned.xml"),
                                "</wsse:Security>", with_end);
        char *text = file_text(messages, "rst-windows10.xml");
        text = fill(text, "@SECURITY@", security);
        text = fill(text, "@REQUEST@", csr);
        text = fill(text, "@DEVICE@", device->id);
        device->request = fill(text, "@TYPE@", "Full");
        free(security);
        free(with_end);
        free(csr);
    }
    fclose(file);
    *ret_count = count;
    return devices;
}

/* ---- After it ---- */

bool
windows_apply(struct windows_device *device)
{
    size_t size = 0;
    char *document = between(device->answer, "#base64binary\">", "</", &size);
    const char *own = document ? strstr(document, "\"My\"") : NULL;
    char *der = between(own, "name=\"EncodedCertificate\" value=\"", "\"", &size);
    const unsigned char *at = (const unsigned char *)der;
    device->certificate = der ? d2i_X509(NULL, &at, (long)size) : NULL;
    free(document);
    free(der);
    return device->certificate &&
           EVP_PKEY_eq(X509_get0_pubkey(device->certificate), device->key) == 1;
}

void
windows_keep(const struct windows_device *device, FILE *file)
{
    fprintf(file, "%s\n", device->id);
    load_must(PEM_write_PrivateKey(file, device->key, NULL, NULL, 0, NULL, NULL) == 1 &&
                  PEM_write_X509(file, device->certificate) == 1,
              "a device cannot be kept");
}

struct windows_device *
windows_load(const char *path, size_t *ret_count)
{
    char line[LINE_SIZE];
    struct windows_device *devices = NULL;
    size_t count = 0;
    FILE *file = fopen(path, "re");
    load_must(file != NULL, "there are no kept devices");
    for (; fgets(line, sizeof line, file); count++) {
        devices = devices_grow(devices, count);
        struct windows_device *device = &devices[count];
        snprintf(device->id, sizeof device->id, "%.*s", (int)strcspn(line, "\n"), line);
        device->key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
        device->certificate = PEM_read_X509(file, NULL, NULL, NULL);
        load_must(device->key && device->certificate, "a kept device is broken");
    }
    fclose(file);
    *ret_count = count;
    return devices;
}

struct windows_device *
windows_accounts(const char *path, size_t *ret_count)
{
    char line[LINE_SIZE], plain[LINE_SIZE];
    struct windows_device *devices = NULL;
    size_t count = 0;
    FILE *file = fopen(path, "re");
    load_must(file != NULL, "there are no accounts");
    for (; fgets(line, sizeof line, file); count++) {
        char *rest = line;
        line[strcspn(line, "\n")] = '\0';
        const char *id = strsep(&rest, " "), *name = strsep(&rest, " ");
        load_must(id && name && rest, "an account of another form");
        devices = devices_grow(devices, count);
        snprintf(devices[count].id, sizeof devices[count].id, "%.32s", id);
        int size = snprintf(plain, sizeof plain, "%s:%s", name, rest);
        devices[count].credential = base64(plain, (size_t)size);
    }
    fclose(file);
    *ret_count = count;
    return devices;
}

void
windows_free(struct windows_device *devices, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        EVP_PKEY_free(devices[i].key);
        X509_free(devices[i].certificate);
        free(devices[i].discover);
        free(devices[i].policies);
        free(devices[i].request);
        free(devices[i].answer);
        free(devices[i].credential);
    }
    free(devices);
}

/* ---- Management ---- */

static char *
message_make(const struct windows_device *device, size_t number, int message,
             const char *body)
{
    char *text = NULL, *cred = NULL;
    if (device->credential)
        load_must(asprintf(&cred,
                           "<Cred><Meta><Type xmlns=\"syncml:metinf\">"
                           "syncml:auth-basic</Type></Meta><Data>%s</Data></Cred>",
                           device->credential) > 0,
                  "no memory for a credential");
    load_must(asprintf(&text,
                       "<SyncML xmlns=\"SYNCML:SYNCML1.2\"><SyncHdr><VerDTD>1.2"
                       "</VerDTD><VerProto>DM/1.2</VerProto><SessionID>%zX</SessionID>"
                       "<MsgID>%d</MsgID><Target><LocURI>https://ca.example.com"
                       "/syncml/initialquery</LocURI></Target><Source><LocURI>%s"
                       "</LocURI></Source>%s</SyncHdr><SyncBody>%s<Final/></SyncBody>"
                       "</SyncML>",
                       number, message, device->id, cred ? cred : "", body) > 0,
              "no memory for a message");
    free(cred);
    return text;
}

char *
windows_package_1(const struct windows_device *device, size_t number)
{
    return message_make(
        device, number, 1,
        "<Alert><CmdID>2</CmdID><Data>1201</Data></Alert><Alert><CmdID>3</CmdID><Data>"
        "1224</Data><Item><Meta><Type xmlns=\"syncml:metinf\">"
        "com.microsoft/MDM/LoginStatus</Type></Meta><Data>user</Data></Item></Alert>");
}

char *
windows_package_3(const struct windows_device *device, size_t number, int message,
                  const char *answer)
{
    static const char mark[] = "<Get><CmdID>";
    char *body = calloc(1, TEXT_MAX), *made = NULL;
    size_t used = 0;
    load_must(body != NULL, "no memory for a message");
    for (const char *at = answer; (at = strstr(at, mark)); at += sizeof mark - 1)
        used += (size_t)snprintf(body + used, TEXT_MAX - used,
                                 "<Status><CmdID>%zu</CmdID><MsgRef>%d</MsgRef><CmdRef>"
                                 "%ld</CmdRef><Cmd>Get</Cmd><Data>404</Data></Status>",
                                 used + 1, message - 1,
                                 strtol(at + sizeof mark - 1, NULL, 10));
    if (used > 0)
        made = message_make(device, number, message, body);
    free(body);
    return made;
}

bool
windows_is_accepted(const char *answer)
{
    const char *header = strstr(answer, "<Cmd>SyncHdr</Cmd>");
    const char *code = header ? strstr(header, "<Data>") : NULL;
    return code &&
           (strncmp(code + 6, "200", 3) == 0 || strncmp(code + 6, "212", 3) == 0);
}
