/* Mails from templates: links, values in their place, nothing that leaves it. */
#include "auto.h"
#include "leak.h"
#include "mail_render.h"
#include <criterion/criterion.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static void
mail_text_clear_auto(struct mail_text *text)
{
    mail_text_clear(text);
}

static json_t *
content_new(const char *login, const char *ref, const char *server)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "activation.url",
                     "https://ca.example.com:8443", "link.login", login, "link.ref",
                     ref, "link.server", server, "user.name", login);
}

Test(mail_render, links_have_the_secret_in_the_fragment)
{
    static const struct {
        const char *login, *ref, *server, *password, *link;
    } cases[] = {
        { "alice@example.com", "", "", "k7dp-93mt-qxwe",
          "https://ca.example.com:8443/activate#v=1&user=alice%40example.com"
          "&password=k7dp-93mt-qxwe" },
        { "alice", "tablet", "act.example.com", NULL,
          "https://ca.example.com:8443/activate#v=1&user=alice&ref=tablet"
          "&server=act.example.com" },
        { "a b&c=d#e%", "", "", "+ &=#%\"<>",
          "https://ca.example.com:8443/activate#v=1&user=a%20b%26c%3Dd%23e%25"
          "&password=%2B%20%26%3D%23%25%22%3C%3E" },
        { "al\xc3\xad"
          "ce",
          "", "", "~._-",
          "https://ca.example.com:8443/activate#v=1&user=al%C3%ADce&password=~._-" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(text_buffer_clear) struct text_buffer link = { 0 };
        CA_AUTO(json_decref)
        json_t *content = content_new(cases[i].login, cases[i].ref, cases[i].server);
        cr_assert_eq(mail_link_make(content, cases[i].password, &link), CA_OK);
        cr_expect_str_eq(link.data, cases[i].link);
    }
    LEAK_CHECK();
}

Test(mail_render, a_link_that_is_too_long_is_refused)
{
    char login[2100];
    memset(login, 'a', sizeof login);
    login[sizeof login - 1] = '\0';
    CA_AUTO(text_buffer_clear) struct text_buffer link = { 0 };
    CA_AUTO(json_decref) json_t *content = content_new(login, "", "");
    cr_expect_eq(mail_link_make(content, NULL, &link), CA_LIMIT);
    LEAK_CHECK();
}

Test(mail_render, R7_values_are_escaped_in_html_and_cleaned_everywhere)
{
    char subject[] = "Hi {{user.name}}", text[] = "Hi {{user.name}}!";
    char html[] = "<p title=\"{{user.name}}\">{{user.name}}</p>{{activation.qr}}";
    struct letter letter = { .subject = subject, .text = text, .html = html };
    CA_AUTO(json_decref)
    json_t *content =
        content_new("<script>alert('x')</script>\r\nBcc: \"eve\" {{", "", "");
    CA_AUTO(mail_text_clear) struct mail_text made = { 0 };
    cr_assert_eq(mail_text_make(&letter, content, "secret", false, &made), CA_OK, "%s",
                 status_message());
    cr_expect_str_eq(made.subject, "Hi <script>alert('x')</script>  Bcc: \"eve\" {{");
    cr_expect_str_eq(made.text, "Hi <script>alert('x')</script>  Bcc: \"eve\" {{!");
#define ESCAPED                                                                        \
    "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; \nBcc: &#34;eve&#34; {{"
    cr_expect_str_eq(made.html, "<p title=\"" ESCAPED "\">" ESCAPED "</p>"
                                "<img src=\"cid:qr\" alt=\"QR code of the link\">");
    LEAK_CHECK();
}

Test(mail_render, every_own_letter_has_a_preview)
{
    for (const struct letter_kind *kind = letter_kinds; kind->name; kind++) {
        CA_AUTO(free) char *subject = strdup(kind->subject), *text = strdup(kind->text);
        CA_AUTO(free) char *html = kind->html ? strdup(kind->html) : NULL;
        const char *secret = NULL;
        struct letter letter = { .subject = subject, .text = text, .html = html };
        CA_AUTO(json_decref) json_t *content = mail_sample(kind, &secret);
        CA_AUTO(mail_text_clear) struct mail_text made = { 0 };
        cr_assert_eq(mail_text_make(&letter, content, secret, true, &made), CA_OK,
                     "%s: %s", kind->name, status_message());
        cr_expect_null(strstr(made.text, "{{"), "%s", kind->name);
        if (secret) {
            cr_expect_not_null(strstr(made.text, secret), "%s", kind->name);
            cr_expect_null(strstr(made.subject, secret), "%s", kind->name);
        }
        if (html && strstr(html, "activation.qr"))
            cr_expect_not_null(strstr(made.html, "<svg "), "%s", kind->name);
    }
    LEAK_CHECK();
}

Test(mail_render, a_variable_without_value_is_not_sent)
{
    char subject[] = "Hi", text[] = "{{activation.password}}";
    struct letter letter = { .subject = subject, .text = text };
    struct mail_text made = { 0 };
    CA_AUTO(json_decref) json_t *content = content_new("alice", "", "");
    cr_expect_eq(mail_text_make(&letter, content, NULL, false, &made), CA_FORBIDDEN);
    cr_expect_null(made.text);
    LEAK_CHECK();
}

Test(mail_render, octets_have_the_picture_of_the_link)
{
    char subject[] = "Hi", text[] = "{{activation.password}}";
    char html[] = "{{activation.link}} {{activation.qr}}", from[] = "ca@example.com";
    char id[] = "0123456789abcdef", to[] = "alice@example.com", bad[] = "a@b\r\nX: y";
    struct letter letter = { .subject = subject, .text = text, .html = html };
    struct outbox mail = { .id = id, .recipient = to };
    struct config_mail server = { .from = from };
    CA_AUTO(json_decref) json_t *content = content_new("alice", "", "");
    CA_AUTO(mail_text_clear) struct mail_text made = { 0 };
    CA_AUTO(text_buffer_clear) struct text_buffer octets = { 0 };
    cr_assert_eq(mail_text_make(&letter, content, "k7dp", false, &made), CA_OK);
    cr_assert_eq(mail_render(&server, "Corp", &mail, &made, &octets), CA_OK);
    cr_expect_not_null(strstr(octets.data, "Content-Type: image/png"));
    cr_expect_not_null(strstr(octets.data, "From: \"Corp\""));
    text_buffer_clear(&octets);
    mail.recipient = bad;
    cr_expect_eq(mail_render(&server, "Corp", &mail, &made, &octets), CA_MALFORMED);
    LEAK_CHECK();
}
