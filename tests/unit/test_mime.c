/* Mails as octets: nothing gets into a header, no line is too long, texts stay texts.
 */
#include "auto.h"
#include "leak.h"
#include "mime.h"
#include <criterion/criterion.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static struct mime_message
message_new(void)
{
    return (struct mime_message){ .from = "ca@example.com",
                                  .from_name = "Example Corp",
                                  .to = "alice@example.com",
                                  .subject = "Hello",
                                  .id = "0123456789abcdef",
                                  .date = 1795341600,
                                  .text = "Hello\n" };
}

static char *
composed(const struct mime_message *message)
{
    struct text_buffer octets = { 0 };
    enum ca_status status = mime_compose(message, &octets);
    cr_assert_eq(status, CA_OK, "%s", status_message());
    return octets.data;
}

/* Every line ends with CR LF and has at most 78 octets (RFC 5322 section 2.1.1). */
static void
check_lines(const char *octets)
{
    for (const char *line = octets; *line;) {
        size_t length = strcspn(line, "\r\n");
        cr_assert_lt(length, 79, "a line of %zu octets: %.80s", length, line);
        cr_assert(line[length] == '\r' && line[length + 1] == '\n', "at %.40s", line);
        line += length + 2;
    }
}

Test(mime, addresses_need_no_quotes)
{
    static const struct {
        const char *address;
        bool is_good;
    } cases[] = {
        { "alice@example.com", true },
        { "a.b+c@x-y.example", true },
        { "o'hara@example.com", true },
        { "", false },
        { "alice", false },
        { "@example.com", false },
        { "alice@", false },
        { "a@b@c", false },
        { "alice @example.com", false },
        { "alice@example.com>", false },
        { "alice@example.com\r\nBcc: eve@example.com", false },
        { "alice@example.com\n", false },
        { "<alice@example.com>", false },
        { "\"a b\"@example.com", false },
        { "alice@example.com,eve@example.com", false },
        { "al\xc3\xad"
          "ce@example.com",
          false },
        { "alice@ex\xc3\xa4mple.com", false },
        { "alice@.example.com", false },
        { "alice@example.com.", false },
        { ".alice@example.com", false },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_expect_eq(mime_address_is_good(cases[i].address), cases[i].is_good, "'%s'",
                     cases[i].address);
    char most[MIME_ADDRESS_MAX + 2];
    memset(most, 'a', sizeof most - 1);
    most[sizeof most - 1] = '\0';
    most[3] = '@';
    cr_expect_not(mime_address_is_good(most));
    most[MIME_ADDRESS_MAX] = '\0';
    cr_expect(mime_address_is_good(most));
}

Test(mime, a_plain_mail_is_exactly_this)
{
    struct mime_message message = message_new();
    CA_AUTO(free) char *octets = composed(&message);
    cr_expect_str_eq(octets, "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
                             "From: \"Example Corp\"\r\n <ca@example.com>\r\n"
                             "To: <alice@example.com>\r\n"
                             "Subject: Hello\r\n"
                             "Message-ID: <0123456789abcdef@example.com>\r\n"
                             "Auto-Submitted: auto-generated\r\n"
                             "MIME-Version: 1.0\r\n"
                             "Content-Type: text/plain; charset=UTF-8\r\n"
                             "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
                             "Hello\r\n\r\n");
    LEAK_CHECK();
}

Test(mime, R7_headers_take_no_control_characters)
{
    static const char *const evil[] = {
        "Hello\r\nBcc: eve@example.com",
        "Hello\nX: y",
        "Hello\rX: y",
        "Hello\tX",
        "Hello\x7f",
        "Hello\xe2\x80\xa8X: y",
        "Hello\xc2\x85X: y",
        "Hello\xff\xfe.",
    };
    for (size_t i = 0; i < COUNT(evil); i++) {
        struct mime_message in_subject = message_new(), in_name = message_new(),
                            in_id = message_new(), in_to = message_new();
        struct text_buffer octets = { 0 };
        in_subject.subject = in_name.from_name = in_id.id = in_to.to = evil[i];
        cr_expect_eq(mime_compose(&in_subject, &octets), CA_MALFORMED, "%zu", i);
        cr_expect_eq(mime_compose(&in_name, &octets), CA_MALFORMED, "%zu", i);
        cr_expect_eq(mime_compose(&in_id, &octets), CA_MALFORMED, "%zu", i);
        cr_expect_eq(mime_compose(&in_to, &octets), CA_MALFORMED, "%zu", i);
        cr_expect_eq(octets.size, 0);
        text_buffer_clear(&octets);
    }
    LEAK_CHECK();
}

/* The text of all encoded words of the subject, one after the other. */
static void
subject_decode(const char *octets, char ret_text[512])
{
    size_t used = 0;
    const char *at = strstr(octets, "Subject: ") + strlen("Subject: ");
    while (strncmp(at, "=?UTF-8?B?", 10) == 0) {
        size_t length = strcspn(at + 10, "?"), got = 0;
        cr_assert_leq(length + 12, 75); /* RFC 2047 section 2 */
        cr_assert_eq(base64_parse(at + 10, length, BASE64_STRICT, ret_text + used,
                                  511 - used, &got),
                     CA_OK);
        cr_assert_neq(((unsigned char)ret_text[used] & 0xc0), 0x80, "cut in a letter");
        used += got;
        at += 10 + length + 2;
        if (strncmp(at, "\r\n ", 3) == 0)
            at += 3;
    }
    ret_text[used] = '\0';
}

Test(mime, subjects_that_are_not_plain_become_encoded_words)
{
    static const char *const subjects[] = {
        "Gr\xc3\xbc\xc3\x9f"
        "e",
        "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6"
        "\x97"
        "\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5"
        "\xe6"
        "\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
        "=?UTF-8?B?ZXZpbA==?=",
        " begins with a space",
        "A subject of more than sixty octets, none of which would need any encoding",
    };
    for (size_t i = 0; i < COUNT(subjects); i++) {
        char text[512];
        struct mime_message message = message_new();
        message.subject = message.from_name = subjects[i];
        CA_AUTO(free) char *octets = composed(&message);
        subject_decode(octets, text);
        cr_expect_str_eq(text, subjects[i]);
        check_lines(octets);
    }
    LEAK_CHECK();
}

Test(mime, texts_are_quoted_printable)
{
    static const struct {
        const char *text, *octets;
    } cases[] = {
        { "a=b", "a=3Db\r\n" },
        { "a\nb\r\nc", "a\r\nb\r\nc\r\n" },
        { "a \nb\t", "a=20\r\nb=09\r\n" },
        { "a\rb", "a=0Db\r\n" },
        { "\xc3\xa4", "=C3=A4\r\n" },
        { ".\n", ".\r\n\r\n" },
        { "--=_0", "--=3D_0\r\n" },
        { "0123456789012345678901234567890123456789012345678901234567890123456789"
          "012345678",
          "01234567890123456789012345678901234567890123456789012345678901234567890123"
          "4=\r\n5678\r\n" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mime_message message = message_new();
        message.text = cases[i].text;
        CA_AUTO(free) char *octets = composed(&message);
        const char *body = strstr(octets, "\r\n\r\n") + 4;
        cr_expect_str_eq(body, cases[i].octets);
        check_lines(octets);
    }
    LEAK_CHECK();
}

Test(mime, html_and_picture_stand_beside_the_text)
{
    uint8_t picture[300];
    memset(picture, 0xa5, sizeof picture);
    struct mime_message message = message_new();
    message.html = "<p>Hello <img src=\"cid:qr\" alt=\"\"></p>";
    message.picture = picture;
    message.picture_size = sizeof picture;
    CA_AUTO(free) char *octets = composed(&message);
    check_lines(octets);
    const char *const in_order[] = {
        "Content-Type: multipart/alternative;",
        "Content-Type: text/plain",
        "Content-Type: multipart/related;",
        "Content-Type: text/html",
        "src=3D\"cid:qr\"",
        "Content-Type: image/png",
        "Content-ID: <qr>",
        "paWlpaWl",
    };
    const char *at = octets;
    for (size_t i = 0; i < COUNT(in_order); i++) {
        at = strstr(at, in_order[i]);
        cr_assert_not_null(at, "no '%s' in its place", in_order[i]);
    }
    LEAK_CHECK();
}
