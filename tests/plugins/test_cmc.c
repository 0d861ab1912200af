/* CMC (RFC 5272) as CES clients send it and read it back: form, limits, templates. */
#include "../support/fake_core.h"
#include "auto.h"
#include "cmc.h"
#include "leak.h"
#include "wstep.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define OID_CMC(n) 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x07, n

static struct fake_core core;

static void
begin(void)
{
    fake_core_open(&core);
}

static void
end(void)
{
    fake_core_close(&core);
    LEAK_CHECK();
}

TestSuite(cmc, .init = begin, .fini = end, .timeout = 60);

/* A file of the fuzzer's corpus in the request's memory. */
static struct ca_bytes
corpus(const char *name)
{
    char path[512];
    fake_core_request(&core, "POST", "", "", NULL, 0);
    uint8_t *octets = ca_request_alloc(&core.request, WSTEP_TOKEN_MAX);
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/cmc/%s", TEST_SOURCE, name);
    FILE *file = fopen(path, "r");
    cr_assert(file && octets, "%s", path);
    size_t size = fread(octets, 1, WSTEP_TOKEN_MAX, file);
    fclose(file);
    return (struct ca_bytes){ octets, size };
}

/* ---- PKIData: controls, requests, messages, others ---- */

#define BYTES(...)                                                                     \
    ((struct ca_bytes){ (const uint8_t[]){ __VA_ARGS__ },                              \
                        sizeof((const uint8_t[]){ __VA_ARGS__ }) })
#define NOTHING ((struct ca_bytes){ NULL, 0 })

static struct ca_bytes
data_make(struct asn1_writer *writer, struct ca_bytes controls, struct ca_bytes request,
          struct ca_bytes messages, struct ca_bytes tail)
{
    size_t whole = asn1_open(writer, DER_SEQUENCE);
    asn1_put_bytes(writer, DER_SEQUENCE, controls);
    asn1_put_bytes(writer, DER_SEQUENCE, request);
    asn1_put_bytes(writer, DER_SEQUENCE, messages);
    asn1_put_bytes(writer, DER_SEQUENCE, NOTHING);
    asn1_close(writer, whole);
    asn1_put_raw(writer, tail);
    return asn1_written(writer);
}

#define GOOD_REQUEST BYTES(0xa0, 0x05, 0x02, 0x01, 0x07, 0x30, 0x00)
#define CONTROL(part, oid_last, ...)                                                   \
    0x30, 15 + sizeof((const uint8_t[]){ __VA_ARGS__ }), 0x02, 0x01, part,             \
        OID_CMC(oid_last), 0x31, sizeof((const uint8_t[]){ __VA_ARGS__ }), __VA_ARGS__

/* [MS-WCCE] CmcAddAttributes, in control `part`. */
#define COUNT(...) sizeof((const uint8_t[]){ __VA_ARGS__ })
#define ADDED_AS(part, ...)                                                            \
    0x30, 19 + COUNT(__VA_ARGS__), 0x02, 0x01, part, 0x06, 0x0a, 0x2b, 0x06, 0x01,     \
        0x04, 0x01, 0x82, 0x37, 0x0a, 0x0a, 0x01, 0x31, 2 + COUNT(__VA_ARGS__), 0x30,  \
        COUNT(__VA_ARGS__), __VA_ARGS__
#define ADDED(...) ADDED_AS(1, __VA_ARGS__)

Test(cmc, what_is_no_single_request_is_refused)
{
    static const uint8_t one[] = { 0xa0, 0x05, 0x02, 0x01, 0x07, 0x30, 0x00 };
    const struct {
        const char *name;
        struct ca_bytes controls, request, messages, tail;
        enum ca_status status;
    } cases[] = {
        { "one", NOTHING, { one, sizeof one }, NOTHING, NOTHING, CA_OK },
        { "none", NOTHING, NOTHING, NOTHING, NOTHING, CA_MALFORMED },
        { "two", NOTHING, BYTES(0xa0, 5, 2, 1, 7, 0x30, 0, 0xa0, 5, 2, 1, 8, 0x30, 0),
          NOTHING, NOTHING, CA_MALFORMED },
        { "CRMF", NOTHING, BYTES(0xa1, 0), NOTHING, NOTHING, CA_UNSUPPORTED },
        { "other", NOTHING, BYTES(0xa2, 0), NOTHING, NOTHING, CA_UNSUPPORTED },
        { "part 0", NOTHING, BYTES(0xa0, 5, 2, 1, 0, 0x30, 0), NOTHING, NOTHING,
          CA_MALFORMED },
        { "negative part", NOTHING, BYTES(0xa0, 5, 2, 1, 0x87, 0x30, 0), NOTHING,
          NOTHING, CA_MALFORMED },
        { "part of 40 bits", NOTHING, BYTES(0xa0, 9, 2, 5, 1, 0, 0, 0, 0, 0x30, 0),
          NOTHING, NOTHING, CA_MALFORMED },
        { "a tail in it", NOTHING, BYTES(0xa0, 7, 2, 1, 7, 0x30, 0, 5, 0), NOTHING,
          NOTHING, CA_MALFORMED },
        { "messages",
          NOTHING,
          { one, sizeof one },
          BYTES(2, 1, 1),
          NOTHING,
          CA_UNSUPPORTED },
        { "a tail", NOTHING, { one, sizeof one }, NOTHING, BYTES(5, 0), CA_MALFORMED },
        { "control of the same part",
          BYTES(CONTROL(7, 6, 4, 1, 'n')),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_MALFORMED },
        { "nonce twice",
          BYTES(CONTROL(1, 6, 4, 1, 'n'), CONTROL(2, 6, 4, 1, 'n')),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_MALFORMED },
        { "nonce of two values",
          BYTES(CONTROL(1, 6, 4, 1, 'n', 4, 1, 'm')),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_MALFORMED },
        { "nonce that is a number",
          BYTES(CONTROL(1, 6, 2, 1, 5)),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_MALFORMED },
        { "unknown control",
          BYTES(CONTROL(1, 99, 4, 1, 'n')),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_UNSUPPORTED },
        { "request to revoke",
          BYTES(CONTROL(1, 17, 0x30, 0)),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_UNSUPPORTED },
        { "proof of an identity",
          BYTES(CONTROL(1, 3, 4, 1, 'p')),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_UNSUPPORTED },
        { "extensions beside",
          BYTES(CONTROL(1, 8, 0x30, 0)),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_OK },
        { "attributes",
          BYTES(ADDED(2, 1, 0, 0x30, 3, 2, 1, 7, 0x31, 0)),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_OK },
        { "attributes of another message",
          BYTES(ADDED(2, 1, 1, 0x30, 3, 2, 1, 7, 0x31, 0)),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_MALFORMED },
        { "attributes of another request",
          BYTES(ADDED(2, 1, 0, 0x30, 3, 2, 1, 8, 0x31, 0)),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_MALFORMED },
        { "attributes of the control itself",
          BYTES(ADDED(2, 1, 0, 0x30, 3, 2, 1, 1, 0x31, 0)),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_MALFORMED },
        { "attributes of request 0",
          BYTES(ADDED(2, 1, 0, 0x30, 3, 2, 1, 0, 0x31, 0)),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_MALFORMED },
        { "attributes of none",
          BYTES(ADDED(2, 1, 0, 0x30, 0, 0x31, 0)),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_MALFORMED },
        { "attributes of two",
          BYTES(ADDED(2, 1, 0, 0x30, 6, 2, 1, 7, 2, 1, 7, 0x31, 0)),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_MALFORMED },
        { "attributes twice",
          BYTES(ADDED(2, 1, 0, 0x30, 3, 2, 1, 7, 0x31, 0),
                ADDED_AS(2, 2, 1, 0, 0x30, 3, 2, 1, 7, 0x31, 0)),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_MALFORMED },
        { "control that is none",
          BYTES(5, 0),
          { one, sizeof one },
          NOTHING,
          NOTHING,
          CA_MALFORMED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
        struct cmc_request request = { .part = 99 };
        struct ca_bytes data = data_make(&writer, cases[i].controls, cases[i].request,
                                         cases[i].messages, cases[i].tail);
        cr_expect_eq(cmc_decode(data, &request), cases[i].status, "%s", cases[i].name);
        cr_expect_eq(request.part, cases[i].status == CA_OK ? 7 : 99, "%s",
                     cases[i].name);
    }
}

Test(cmc, R8_controls_and_nonces_have_limits)
{
    uint8_t controls[64 * 16], nonce[CMC_NONCE_MAX + 8] = { 0 };
    for (size_t count = CMC_CONTROLS_MAX - 1; count <= CMC_CONTROLS_MAX + 1; count++) {
        CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
        struct cmc_request request;
        size_t size = 0;
        for (size_t i = 0; i < count; i++) {
            const uint8_t one[] = { CONTROL((uint8_t)(i + 8), 8, 5, 0) };
            memcpy(controls + size, one, sizeof one);
            size += sizeof one;
        }
        struct ca_bytes data = data_make(&writer, (struct ca_bytes){ controls, size },
                                         GOOD_REQUEST, NOTHING, NOTHING);
        cr_expect_eq(cmc_decode(data, &request),
                     count <= CMC_CONTROLS_MAX ? CA_OK : CA_LIMIT, "%zu", count);
    }
    static const struct {
        uint8_t control, tag;
    } bounded[] = { { 6, DER_OCTET_STRING }, { 5, DER_INTEGER } };
    for (size_t i = 0; i < 4; i++) {
        CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
        CA_AUTO(asn1_writer_clear) struct asn1_writer control = { 0 };
        struct cmc_request request;
        size_t length = CMC_NONCE_MAX + i % 2;
        const uint8_t oid[] = { OID_CMC(bounded[i / 2].control) };
        size_t whole = asn1_open(&control, DER_SEQUENCE);
        asn1_put_small(&control, 1);
        asn1_put_raw(&control, (struct ca_bytes){ oid, sizeof oid });
        size_t set = asn1_open(&control, DER_SET);
        asn1_put(&control, bounded[i / 2].tag, nonce, length);
        asn1_close(&control, set);
        asn1_close(&control, whole);
        struct ca_bytes data =
            data_make(&writer, asn1_written(&control), GOOD_REQUEST, NOTHING, NOTHING);
        cr_expect_eq(cmc_decode(data, &request),
                     length <= CMC_NONCE_MAX ? CA_OK : CA_LIMIT, "%d: %zu",
                     bounded[i / 2].control, length);
    }
}

Test(cmc, a_token_is_what_its_structure_says)
{
    static const struct {
        const char *file;
        enum ca_status status;
        unsigned flags;
        uint32_t part;
        bool renews;
    } cases[] = {
        { "pkcs10", CA_OK, 0, 1, false },
        { "pkcs10-naked", CA_OK, 0, 1, false },
        { "pkcs10-nul", CA_OK, 0, 1, false },
        { "pkcs7", CA_OK, 0, 1, true },
        { "cmc", CA_OK, CA_ENROL_KEY_PROVED, 7, false },
        { "cmc-sha1", CA_OK, CA_ENROL_KEY_PROVED | CA_ENROL_KEY_SHA1, 7, false },
        { "cmc-renewal", CA_OK, CA_ENROL_KEY_PROVED, 7, true },
        { "cmc-wrong-key", CA_UNSUPPORTED, 0, 0, false },
        { "cmc-rsa-1024", CA_UNSUPPORTED, 0, 0, false },
        { "cmc-other-type", CA_FORBIDDEN, 0, 0, false }, /* the signed contentType */
        { "cmc-part-0", CA_MALFORMED, 0, 0, false },
        { "cmc-many-controls", CA_LIMIT, 0, 0, false },
        { "cmc-unknown-control", CA_UNSUPPORTED, 0, 0, false },
        { "cmc-attributes", CA_OK, CA_ENROL_KEY_PROVED, 7, false },
        { "cmc-attributes-other", CA_MALFORMED, 0, 0, false },
        { "pki-data", CA_MALFORMED, 0, 0, false },
        { "sequence", CA_MALFORMED, 0, 0, false },
        { "nothing", CA_MALFORMED, 0, 0, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct wstep_content content = { 0 };
        struct ca_bytes token = corpus(cases[i].file);
        enum ca_status status = wstep_content_read(&core.request, token, &content);
        cr_expect_eq(status, cases[i].status, "%s: %d, %s", cases[i].file, status,
                     status_message());
        cr_expect_eq(content.flags, cases[i].flags, "%s", cases[i].file);
        cr_expect_eq(content.cmc.part, cases[i].part, "%s", cases[i].file);
        cr_expect_eq(content.signer != NULL, cases[i].renews, "%s", cases[i].file);
        wstep_content_clear_auto(&content);
    }
}

Test(cmc, R1_no_altered_octet_of_a_message_proves_its_key)
{
    struct wstep_content content = { 0 };
    struct ca_bytes token = corpus("cmc");
    uint8_t *bent = ca_request_alloc(&core.request, token.size);
    for (size_t i = 0; i < token.size; i++) {
        memcpy(bent, token.data, token.size);
        bent[i] ^= 1;
        struct ca_bytes altered = { bent, token.size };
        if (wstep_content_read(&core.request, altered, &content) == CA_OK) {
            /* The key's identifier and version numbers are nobody's word: the key is
             * the request's, and what it signed is the whole of the request. */
            cr_expect_eq(content.flags & CA_ENROL_KEY_PROVED, CA_ENROL_KEY_PROVED);
            cr_expect(asn1_equal(content.pkcs10.der, content.cmc.pkcs10));
            struct wstep_content good = { 0 };
            cr_assert_eq(wstep_content_read(&core.request, token, &good), CA_OK);
            cr_expect(asn1_equal(good.pkcs10.der, content.pkcs10.der), "octet %zu", i);
        }
        wstep_content_clear_auto(&content);
    }
}

Test(cmc, a_template_is_found_wherever_it_is_named)
{
    static const struct {
        const char *file, *name, *oid;
        enum ca_status status;
    } cases[] = {
        { "pkcs10", "User", "1.3.6.1.4.1.311.21.8.1.2.3.4.1.5.6", CA_OK },
        { "pkcs10-naked", "", "", CA_OK },
        { "pkcs10-pair", "User", "", CA_OK },
        { "cmc", "User", "1.3.6.1.4.1.311.21.8.1.2.3.4.1.5.6", CA_OK },
        { "template-twice", "", "", CA_MALFORMED },
        { "template-utf16", "", "", CA_MALFORMED },
        { "reginfo-bad", "", "", CA_MALFORMED },
        { "reginfo-empty", "User", "1.3.6.1.4.1.311.21.8.1.2.3.4.1.5.6", CA_OK },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct wstep_content content = { 0 };
        struct wstep_template found = { 0 };
        struct ca_bytes token = corpus(cases[i].file);
        cr_assert_eq(wstep_content_read(&core.request, token, &content), CA_OK,
                     "%s: %s", cases[i].file, status_message());
        cr_expect_eq(wstep_template_read(&content, &found), cases[i].status, "%s",
                     cases[i].file);
        cr_expect_str_eq(found.name, cases[i].name, "%s", cases[i].file);
        cr_expect_str_eq(found.oid, cases[i].oid, "%s", cases[i].file);
        wstep_content_clear_auto(&content);
    }
}

Test(cmc, an_answer_names_the_part_in_the_shortest_number)
{
    static const struct {
        uint32_t part;
        uint8_t octets[8];
        size_t size;
    } cases[] = {
        { 1, { 0x30, 3, 2, 1, 1 }, 5 },
        { 127, { 0x30, 3, 2, 1, 127 }, 5 },
        { 128, { 0x30, 4, 2, 2, 0, 128 }, 6 },
        { 0x7fffffff, { 0x30, 6, 2, 4, 0x7f, 0xff, 0xff, 0xff }, 8 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CA_AUTO(asn1_writer_clear) struct asn1_writer writer = { 0 };
        const struct cmc_response response = { .part = cases[i].part, .token = "5" };
        cmc_put_response(&writer, &response);
        struct ca_bytes der = asn1_written(&writer);
        cr_expect(der.size > 0 &&
                      memmem(der.data, der.size, cases[i].octets, cases[i].size),
                  "%u", cases[i].part);
    }
}
