/* The activation client up to the wire: links, the exchange by the vectors, what it
 * refuses, and the files that it leaves. */
#include "activate_client.h"
#include "activate_exchange.h"
#include "activate_secret.h"
#include "activate_wanted.h"
#include "auto.h"
#include "fake_random.h"
#include "field.h"
#include "leak.h"
#include "names.h"
#include "vectors.h"
#include <openssl/pkcs12.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define VECTORS TEST_SOURCE "/tests/data/activation-vectors.json"

/* ---- Links ---- */

Test(activate, links_are_read_as_they_are_written)
{
    static const struct {
        const char *uri, *base, *user, *ref, *server, *password;
    } cases[] = {
        { "https://ca.example.com:8443/activate#v=1&user=alice%40example.com&password="
          "k7dp-93mt-qxwe",
          "https://ca.example.com:8443", "alice@example.com", "", "ca.example.com:8443",
          "k7dp-93mt-qxwe" },
        { "https://CA.example.com/a/b/"
          "activate#password=a%2B+%26&ref=tab-2&x=1&x=2&user="
          "J%C3%BCrgen&server=uem1.example.com&v=1",
          "https://CA.example.com/a/b", "J\xc3\xbcrgen", "tab-2", "uem1.example.com",
          "a++&" },
        { "https://h/activate#v=1&user=a", "https://h", "a", "", "h", NULL },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct activate_link link = { 0 };
        cr_assert_eq(activate_link_parse(cases[i].uri, &link), CA_OK, "%s",
                     cases[i].uri);
        cr_expect_str_eq(link.base, cases[i].base);
        cr_expect_str_eq(link.user, cases[i].user);
        cr_expect_str_eq(link.ref, cases[i].ref);
        cr_expect_str_eq(link.server, cases[i].server);
        cr_expect_eq(link.password == NULL, cases[i].password == NULL);
        if (link.password && cases[i].password)
            cr_expect_str_eq(link.password, cases[i].password);
        activate_link_clear(&link);
    }
    LEAK_CHECK();
}

Test(activate, other_links_are_refused_and_not_repeated)
{
    static const char *const wrong[] = {
        "",
        "https://h/activate",
        "http://h/activate#v=1&user=a&password=SECRET",
        "https://h/other#v=1&user=a&password=SECRET",
        "https:///activate#v=1&user=a&password=SECRET",
        "https://a@h/activate#v=1&user=a&password=SECRET",
        "https://h/activate?password=SECRET#v=1&user=a",
        "https://h/activate#user=a&password=SECRET",
        "https://h/activate#v=2&user=a&password=SECRET",
        "https://h/activate#v=1&v=1&user=a&password=SECRET",
        "https://h/activate#v=1&user=a&user=b&password=SECRET",
        "https://h/activate#v=1&password=SECRET",
        "https://h/activate#v=1&user&password=SECRET",
        "https://h/activate#v=1&user=a%4&password=SECRET",
        "https://h/activate#v=1&user=a&password=SECRET%",
        "https://h/activate#v=1&user=a&password=SECRET%zz",
        "https://h/activate#v=1&user=a%00&password=SECRET",
    };
    static char large[ACTIVATE_LINK_MAX + 64];
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct activate_link link = { 0 };
        cr_expect_eq(activate_link_parse(wrong[i], &link), CA_MALFORMED, "%s",
                     wrong[i]);
        cr_expect_not(strstr(status_message(), "SECRET"), "%s", status_message());
        cr_expect_null(link.base);
    }
    size_t used = (size_t)sprintf(large, "https://h/activate#v=1&user=a&x=");
    memset(large + used, 'y', ACTIVATE_LINK_MAX - used);
    struct activate_link link = { 0 };
    cr_expect_eq(activate_link_parse(large, &link), CA_OK);
    activate_link_clear(&link);
    large[ACTIVATE_LINK_MAX] = 'y';
    cr_expect_eq(activate_link_parse(large, &link), CA_MALFORMED);
    LEAK_CHECK();
}

/* ---- What was issued ---- */

static json_t *
certificate_text(X509 *certificate)
{
    uint8_t *der = NULL;
    int size = i2d_X509(certificate, &der);
    char *text = base64url_format(der, (size_t)size);
    json_t *value = json_string(text);
    free(text);
    OPENSSL_free(der);
    return value;
}

static X509 *
certificate_make(EVP_PKEY *key, const char *cn, X509 *issuer, EVP_PKEY *signer,
                 bool is_ca)
{
    X509 *made = X509_new();
    X509_set_version(made, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 7);
    X509_gmtime_adj(X509_getm_notBefore(made), -60);
    X509_gmtime_adj(X509_getm_notAfter(made), 3600);
    X509_NAME *name = X509_get_subject_name(made);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1,
                               -1, 0);
    X509_set_issuer_name(made, issuer ? X509_get_subject_name(issuer) : name);
    X509_set_pubkey(made, key);
    X509_EXTENSION *basic = X509V3_EXT_conf_nid(
        NULL, NULL, NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    X509_add_ext(made, basic, -1);
    X509_EXTENSION_free(basic);
    cr_assert(X509_sign(made, signer, EVP_sha256()) > 0);
    return made;
}

struct hierarchy {
    EVP_PKEY *root_key, *ca_key, *key, *other_key;
    X509 *root, *ca, *own, *other_root;
};

static void
hierarchy_open(struct hierarchy *made)
{
    made->root_key = EVP_EC_gen("P-256");
    made->ca_key = EVP_EC_gen("P-256");
    made->key = EVP_EC_gen("P-256");
    made->other_key = EVP_EC_gen("P-256");
    made->root = certificate_make(made->root_key, "root", NULL, made->root_key, true);
    made->ca = certificate_make(made->ca_key, "ca", made->root, made->root_key, true);
    made->own = certificate_make(made->key, "alice", made->ca, made->ca_key, false);
    made->other_root =
        certificate_make(made->other_key, "root", NULL, made->other_key, true);
}

static void
hierarchy_close(struct hierarchy *made)
{
    EVP_PKEY_free(made->root_key);
    EVP_PKEY_free(made->ca_key);
    EVP_PKEY_free(made->key);
    EVP_PKEY_free(made->other_key);
    X509_free(made->root);
    X509_free(made->ca);
    X509_free(made->own);
    X509_free(made->other_root);
}

static enum ca_status
issued_try(X509 *certificate, X509 *first, X509 *last, EVP_PKEY *key,
           struct key_issued *ret_issued)
{
    json_t *chain = json_array();
    if (first)
        json_array_append_new(chain, certificate_text(first));
    if (last)
        json_array_append_new(chain, certificate_text(last));
    json_t *answer =
        json_pack("{s:o, s:o}", "cert", certificate_text(certificate), "chain", chain);
    enum ca_status status = key_issued_read(answer, key, NULL, ret_issued);
    json_decref(answer);
    return status;
}

Test(activate, a_certificate_is_judged_before_anything_is_kept)
{
    struct hierarchy made;
    struct key_issued issued = { 0 };
    hierarchy_open(&made);
    cr_assert_eq(issued_try(made.own, made.ca, made.root, made.key, &issued), CA_OK);
    cr_expect_eq(X509_cmp(key_issued_root(&issued), made.root), 0);
    key_issued_clear(&issued);
    const struct {
        const char *name;
        X509 *first, *last;
        EVP_PKEY *key;
        enum ca_status status;
    } cases[] = {
        { "another key", made.ca, made.root, made.other_key, CA_UNAUTHENTICATED },
        { "no chain", NULL, NULL, made.key, CA_MALFORMED },
        { "last is no root", made.ca, made.ca, made.key, CA_UNAUTHENTICATED },
        { "root alone", NULL, made.root, made.key, CA_UNAUTHENTICATED },
        { "another root of the name", made.ca, made.other_root, made.key,
          CA_UNAUTHENTICATED },
        { "root in the middle", made.root, made.ca, made.key, CA_UNAUTHENTICATED },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_eq(
            issued_try(made.own, cases[i].first, cases[i].last, cases[i].key, &issued),
            cases[i].status, "%s: %s", cases[i].name, status_message());
        cr_expect_null(issued.certificate);
    }
    hierarchy_close(&made);
    LEAK_CHECK();
}

/* ---- What the SCEP profile wants ---- */

#define PROFILE_TEXT                                                                   \
    "{\"profile\":\"work\",\"modes\":[\"simple\"],\"subject\":\"CN=alice,O=Example\"," \
    "\"san\":[{\"type\":\"rfc822\",\"value\":\"alice@example.com\"},"                  \
    "{\"type\":\"uri\",\"value\":\"urn:uuid:1\"},{\"type\":\"dns\",\"value\":\"a."     \
    "example\"},"                                                                      \
    "{\"type\":\"upn\",\"value\":\"alice@corp\"}],\"key\":{\"alg\":\"rsa\",\"bits\":"  \
    "3072},"                                                                           \
    "\"digest\":\"sha384\",\"cipher\":\"aes128\",\"retries\":3,\"retry_delay\":10,"    \
    "\"ca_sha256\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}"

/* The profile with one member in place of another; json_decref it. */
static json_t *
profile_with(const char *member, json_t *value)
{
    json_t *profile = json_loads(PROFILE_TEXT, 0, NULL);
    cr_assert_not_null(profile);
    if (member)
        json_object_set_new(profile, member, value);
    return profile;
}

Test(activate, a_scep_profile_is_read_as_it_is_asked_for)
{
    json_t *profile = profile_with(NULL, NULL);
    struct wanted wanted;
    cr_assert_eq(wanted_read(profile, &wanted), CA_OK, "%s", status_message());
    cr_expect_str_eq(wanted.algorithm, "rsa-3072");
    cr_expect(wanted.is_rsa);
    cr_expect_eq(EVP_MD_get_size(wanted.digest), 48);
    cr_expect_str_eq(wanted.url, "");
    cr_expect_eq(sk_GENERAL_NAME_num(wanted.san), 4);
    CA_AUTO(free) char *subject = names_format_subject(wanted.subject);
    cr_expect_str_eq(subject, "O=Example,CN=alice", "DER begins with the first RDN");
    cr_expect(wanted_offers(profile, "simple"));
    cr_expect_not(wanted_offers(profile, "proxy"));
    cr_expect_eq(wanted_delay(10), 10);
    cr_expect_eq(wanted_delay(0), 300);
    cr_expect_eq(wanted_delay(100000), 300);
    wanted_clear(&wanted);
    json_decref(profile);
    free(CA_STEAL(subject));
    LEAK_CHECK();
}

Test(activate, a_scep_profile_that_the_client_cannot_follow_is_refused)
{
    const struct {
        const char *member;
        json_t *value;
        enum ca_status status;
    } cases[] = {
        { "profile", json_string(""), CA_MALFORMED },
        { "profile", json_string("a/../b"), CA_MALFORMED },
        { "profile", json_null(), CA_MALFORMED },
        { "ca_sha256", json_string("AAAA"), CA_MALFORMED },
        { "ca_sha256", json_null(), CA_MALFORMED },
        { "digest", json_string("sha1"), CA_UNSUPPORTED },
        { "digest", json_string("md5"), CA_UNSUPPORTED },
        { "cipher", json_string("des3"), CA_UNSUPPORTED },
        { "key", json_pack("{s:s}", "alg", "dsa"), CA_UNSUPPORTED },
        { "key", json_pack("{s:s, s:s}", "alg", "ec", "curve", "K-1"), CA_UNSUPPORTED },
        { "subject", json_string("nonsense"), CA_MALFORMED },
        { "san", json_pack("[{s:s, s:s}]", "type", "ip", "value", "1"),
          CA_UNSUPPORTED },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *profile = profile_with(cases[i].member, cases[i].value);
        struct wanted wanted;
        cr_expect_eq(wanted_read(profile, &wanted), cases[i].status, "%s %zu: %s",
                     cases[i].member, i, status_message());
        wanted_clear(&wanted);
        json_decref(profile);
    }
    LEAK_CHECK();
}

Test(activate, a_working_certificate_is_the_one_that_was_wanted)
{
    struct hierarchy made;
    hierarchy_open(&made);
    STACK_OF(X509) *chain = sk_X509_new_null(), *other = sk_X509_new_null();
    sk_X509_push(chain, made.ca);
    sk_X509_push(other, made.other_root);
    struct wanted wanted = { .subject =
                                 X509_NAME_dup(X509_get_subject_name(made.own)) };
    X509_digest(made.ca, EVP_sha256(), wanted.ca_sha256, NULL);
    struct key_issued issued = { made.key, made.own, chain };
    cr_expect_eq(wanted_check(&wanted, &issued), CA_OK, "%s", status_message());
    issued.key = made.other_key;
    cr_expect_eq(wanted_check(&wanted, &issued), CA_UNAUTHENTICATED, "another key");
    issued = (struct key_issued){ made.key, made.own, other };
    cr_expect_eq(wanted_check(&wanted, &issued), CA_UNAUTHENTICATED, "another CA");
    X509_digest(made.other_root, EVP_sha256(), wanted.ca_sha256, NULL);
    cr_expect_eq(wanted_check(&wanted, &issued), CA_UNAUTHENTICATED, "not by that CA");
    X509_digest(made.ca, EVP_sha256(), wanted.ca_sha256, NULL);
    issued.chain = chain;
    sk_X509_push(chain, made.root);
    cr_expect_eq(wanted_check(&wanted, &issued), CA_OK, "%s", status_message());
    sk_X509_push(chain, made.other_root);
    cr_expect_eq(wanted_check(&wanted, &issued), CA_UNAUTHENTICATED, "no chain");
    sk_X509_pop(chain);
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, "a.example", -1);
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    wanted.san = GENERAL_NAMES_new();
    sk_GENERAL_NAME_push(wanted.san, name);
    cr_expect_eq(wanted_check(&wanted, &issued), CA_UNAUTHENTICATED, "a name lacks");
    GENERAL_NAMES_free(CA_STEAL(wanted.san));
    X509_NAME_add_entry_by_txt(wanted.subject, "O", MBSTRING_UTF8,
                               (const unsigned char *)"x", -1, -1, 0);
    cr_expect_eq(wanted_check(&wanted, &issued), CA_UNAUTHENTICATED, "another subject");
    wanted_clear(&wanted);
    sk_X509_free(chain);
    sk_X509_free(other);
    hierarchy_close(&made);
    LEAK_CHECK();
}

/* ---- Files ---- */

Test(activate, keys_are_kept_encrypted_for_their_owner_alone)
{
    struct hierarchy made;
    struct key_issued issued = { 0 };
    char folder[] = "/tmp/activate-XXXXXX", path[128];
    struct stat found;
    hierarchy_open(&made);
    cr_assert(mkdtemp(folder));
    cr_assert_eq(issued_try(made.own, made.ca, made.root, made.key, &issued), CA_OK);
    cr_expect_eq(key_file_check(folder, "a.p12"), CA_OK);
    cr_assert_eq(key_issued_write(&issued, folder, "a.p12", "behind a password"),
                 CA_OK);
    cr_expect_eq(key_file_check(folder, "a.p12"), CA_CONFLICT);
    snprintf(path, sizeof path, "%s/a.p12", folder);
    cr_assert(stat(path, &found) == 0);
    cr_expect_eq(found.st_mode & 0777, 0600);
    FILE *file = fopen(path, "re");
    PKCS12 *sealed = d2i_PKCS12_fp(file, NULL);
    fclose(file);
    cr_assert(sealed);
    cr_expect_not(PKCS12_verify_mac(sealed, "another", -1));
    EVP_PKEY *key = NULL;
    X509 *certificate = NULL;
    STACK_OF(X509) *chain = NULL;
    cr_assert(PKCS12_parse(sealed, "behind a password", &key, &certificate, &chain));
    cr_expect_eq(EVP_PKEY_eq(key, made.key), 1);
    cr_expect_eq(X509_cmp(certificate, made.own), 0);
    cr_expect_eq(sk_X509_num(chain), 2);
    EVP_PKEY_free(key);
    X509_free(certificate);
    sk_X509_pop_free(chain, X509_free);
    PKCS12_free(sealed);
    unlink(path);
    cr_expect_eq(key_file_check("/proc/nowhere/there", "a"), CA_FORBIDDEN);
    cr_expect_eq(rmdir(folder), 0, "nothing else is left");
    key_issued_clear(&issued);
    hierarchy_close(&made);
    LEAK_CHECK();
}

Test(activate, a_password_is_the_first_line_of_a_file)
{
    static const struct {
        const char *content, *secret;
    } cases[] = {
        { "k7dp-93mt-qxwe\n", "k7dp-93mt-qxwe" },
        { "k7dp-93mt-qxwe", "k7dp-93mt-qxwe" },
        { "with spaces \r\nmore\n", "with spaces " },
        { "", NULL },
        { "\nsecond\n", NULL },
    };
    char path[] = "/tmp/activate-secret-XXXXXX";
    int fd = mkstemp(path);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *secret = NULL;
        cr_assert(ftruncate(fd, 0) == 0 &&
                  pwrite(fd, cases[i].content, strlen(cases[i].content), 0) >= 0);
        enum ca_status status = activate_secret_read(path, "", 0, &secret);
        cr_expect_eq(status, cases[i].secret ? CA_OK : CA_MALFORMED);
        if (secret && cases[i].secret)
            cr_expect_str_eq(secret, cases[i].secret);
        secret_free(secret);
    }
    close(fd);
    unlink(path);
    char *secret = NULL;
    cr_expect_eq(activate_secret_read(path, "", 0, &secret), CA_NOT_FOUND);
    LEAK_CHECK();
}

/* ---- The command line ---- */

Test(activate, a_command_line_that_is_not_whole_is_a_usage_error)
{
    static const char *const wrong[][6] = {
        { "activate", NULL },
        { "activate", "--server", "https://h", NULL },
        { "activate", "--user", "a", NULL },
        { "activate", "https://h/activate#v=1&user=a", "--server", "https://h", NULL },
        { "activate", "one", "two", NULL },
        { "activate", "one", "--ref", "x", NULL },
        { "activate", "one", "--key-token", "pkcs11:token=x", NULL },
        { "activate", "one", "--wait", "0", NULL },
        { "activate", "one", "--wait", "61", NULL },
        { "activate", "one", "--password", "x", NULL },
        { "activate", "one", "--scep-mode", "stock", NULL },
    };
    const struct command_context context = { .data = "/nowhere" };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        char *words[6] = { NULL };
        int count = 0;
        for (; wrong[i][count]; count++)
            words[count] = strdup(wrong[i][count]);
        cr_expect_eq(activate_command.run(&context, count, words), 2, "%zu", i);
        for (int j = 0; j < count; j++)
            free(words[j]);
    }
}

Test(activate, a_link_leaves_the_list_of_processes)
{
    char verb[] = "activate", link[] = "https://h/activate#v=9&user=a&password=SECRET";
    char *words[] = { verb, link, NULL };
    const struct command_context context = { .data = "/nowhere" };
    cr_expect_eq(activate_command.run(&context, 2, words), 1);
    for (size_t i = 0; i < sizeof link; i++)
        cr_expect_eq(link[i], '\0');
}
