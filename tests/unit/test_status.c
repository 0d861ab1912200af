/* Statuses and the thread's message. */
#include "leak.h"
#include "status.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>

Test(status, every_status_has_its_own_word)
{
    for (int i = 0; i < CA_STATUS_COUNT; i++) {
        const char *name = ca_status_name((enum ca_status)i);
        cr_assert(name && *name);
        for (int k = 0; k < i; k++)
            cr_assert_str_neq(name, ca_status_name((enum ca_status)k));
    }
    cr_assert_str_eq(ca_status_name(CA_NOT_FOUND), "not_found");
    cr_assert_str_eq(ca_status_name(CA_STATUS_COUNT), "unknown");
}

Test(status, fail_returns_the_status_and_keeps_the_message)
{
    errno = ENOENT;
    cr_assert_eq(ca_fail(CA_FORBIDDEN, "RSA key has %d bits", 1024), CA_FORBIDDEN);
    cr_assert_str_eq(status_message(), "RSA key has 1024 bits");
    cr_assert_eq(errno, ENOENT);
    ca_fail(CA_FORBIDDEN, "user: %s", status_message());
    cr_assert_str_eq(status_message(), "user: RSA key has 1024 bits");
    status_forget();
    cr_assert_str_eq(status_message(), "");
    LEAK_CHECK();
}

Test(status, R7_message_is_escaped)
{
    static const struct {
        const char *name, *text, *message;
    } cases[] = {
        { "line feed", "a\nb", "a\\x0ab" },
        { "escape sequence", "\033[2J", "\\x1b[2J" },
        { "delete", "\x7f", "\\x7f" },
        { "umlaut stays", "M\xc3\xbcller", "M\xc3\xbcller" },
        { "four octets stay", "\xf0\x9f\x94\x91", "\xf0\x9f\x94\x91" },
        { "C1 control", "\xc2\x85", "\\xc2\\x85" },
        { "lone octet",
          "a\xff"
          "b",
          "a\\xffb" },
        { "cut sequence", "\xe2\x82", "\\xe2\\x82" },
        { "long form", "\xc0\xaf", "\\xc0\\xaf" },
        { "long form of three", "\xe0\x80\xaf", "\\xe0\\x80\\xaf" },
        { "surrogate", "\xed\xa0\x80", "\\xed\\xa0\\x80" },
        { "above U+10FFFF", "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ca_fail(CA_MALFORMED, "%s", cases[i].text);
        cr_expect_str_eq(status_message(), cases[i].message, "%s: %s", cases[i].name,
                         status_message());
    }
}

Test(status, message_is_cut_at_whole_characters)
{
    char text[2001];
    memset(text, 'x', 2000);
    text[2000] = '\0';
    ca_fail(CA_LIMIT, "%s", text);
    cr_assert_eq(strlen(status_message()), 511);
    memset(text, '\n', 2000);
    ca_fail(CA_LIMIT, "%s", text);
    cr_assert_eq(strlen(status_message()), 508);
    cr_assert_str_eq(status_message() + 504, "\\x0a");
    text[0] = 'x';
    for (int i = 1; i < 1999; i += 2)
        memcpy(text + i, "\xc3\xbc", 2);
    ca_fail(CA_LIMIT, "%s", text);
    cr_assert_eq(strlen(status_message()), 511);
    memmove(text, text + 1, 1998);
    ca_fail(CA_LIMIT, "%s", text);
    cr_assert_str_eq(status_message() + 508, "\xc3\xbc");
}

Test(status, openssl_reason_is_appended_and_the_queue_emptied)
{
    const unsigned char garbage[] = { 0x30, 0x03, 0x02, 0x01, 0x00 };
    const unsigned char *at = garbage;
    cr_assert_null(d2i_X509(NULL, &at, sizeof garbage));
    cr_assert_eq(ca_fail_openssl(CA_MALFORMED, "certificate of %s", "alice"),
                 CA_MALFORMED);
    cr_assert(strncmp(status_message(), "certificate of alice: ", 22) == 0, "%s",
              status_message());
    cr_assert_gt(strlen(status_message()), 22);
    cr_assert_eq(ERR_peek_error(), 0);
    ca_fail_openssl(CA_INTERNAL, "nothing queued");
    cr_assert_str_eq(status_message(), "nothing queued");
}

static void *
fail_elsewhere(void *arg)
{
    ca_fail(CA_INTERNAL, "another thread");
    return arg;
}

Test(status, message_belongs_to_the_thread)
{
    ca_fail(CA_CONFLICT, "mine");
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    cr_assert_str_eq(status_message(), "mine");
}
