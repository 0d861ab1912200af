/* RFC 7512 URIs: what is taken, what is refused, and the way back to text. */
#include "auto.h"
#include "leak.h"
#include "uri.h"
#include <criterion/criterion.h>
#include <string.h>

Test(uri, takes_every_attribute_of_a_token_and_a_private_key)
{
    struct uri uri;
    cr_assert_eq(uri_parse("pkcs11:token=The%20CA;manufacturer=Maker;model=v2;"
                           "serial=1f2e;object=ca-sign;id=%01%ffA;type=private",
                           &uri),
                 CA_OK, "%s", status_message());
    cr_expect_str_eq(uri.token, "The CA");
    cr_expect_str_eq(uri.manufacturer, "Maker");
    cr_expect_str_eq(uri.model, "v2");
    cr_expect_str_eq(uri.serial, "1f2e");
    cr_expect_str_eq(uri.object, "ca-sign");
    cr_expect_eq(uri.id_size, 3);
    cr_expect_arr_eq(uri.id,
                     "\x01\xff"
                     "A",
                     3);
    cr_expect(uri_names_token(&uri) && uri_names_key(&uri));
}

Test(uri, tells_what_is_named)
{
    static const struct {
        const char *text;
        bool token, key;
    } cases[] = {
        { "pkcs11:token=a", true, false },  { "pkcs11:serial=a", true, false },
        { "pkcs11:model=a", false, false }, { "pkcs11:object=a", false, true },
        { "pkcs11:id=%00", false, true },   { "pkcs11:serial=1;id=a", true, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct uri uri;
        cr_assert_eq(uri_parse(cases[i].text, &uri), CA_OK, "%s: %s", cases[i].text,
                     status_message());
        cr_expect_eq(uri_names_token(&uri), cases[i].token, "%s", cases[i].text);
        cr_expect_eq(uri_names_key(&uri), cases[i].key, "%s", cases[i].text);
    }
}

Test(uri, refuses_what_names_less_or_more_than_it_seems)
{
    static const struct {
        const char *name, *text;
    } cases[] = {
        { "nothing", "" },
        { "bare scheme matches every key", "pkcs11:" },
        { "other scheme", "file:token=a" },
        { "scheme in capitals", "PKCS11:token=a" },
        { "no equal sign", "pkcs11:token" },
        { "empty value", "pkcs11:token=" },
        { "empty attribute", "pkcs11:token=a;;object=b" },
        { "trailing semicolon", "pkcs11:token=a;" },
        { "unknown attribute", "pkcs11:token=a;objekt=b" },
        { "vendor attribute", "pkcs11:token=a;x-vendor=b" },
        { "repeated token", "pkcs11:token=a;token=b" },
        { "repeated id", "pkcs11:token=a;id=a;id=b" },
        { "repeated type", "pkcs11:object=a;type=private;type=private" },
        { "public type", "pkcs11:token=a;object=b;type=public" },
        { "type of nothing", "pkcs11:token=a;type=private" },
        { "slot number", "pkcs11:slot-id=1" },
        { "library", "pkcs11:token=a;library-manufacturer=b" },
        { "PIN in the URI", "pkcs11:token=a?pin-value=1234" },
        { "pin-source in the URI", "pkcs11:token=a?pin-source=file:/p" },
        { "module in the URI", "pkcs11:token=a?module-path=/m.so" },
        { "half an escape", "pkcs11:token=a%2" },
        { "bad escape", "pkcs11:token=a%2g" },
        { "space", "pkcs11:token=a b" },
        { "slash", "pkcs11:token=a/b" },
        { "octet above 0x7f", "pkcs11:token=a\xc3\xa4" },
        { "escaped NUL in a label", "pkcs11:token=a%00b" },
        { "escaped newline in a label", "pkcs11:object=a%0ab" },
        { "no UTF-8 in a label", "pkcs11:object=%ff" },
        { "33 octets of a token", "pkcs11:token=123456789012345678901234567890123" },
        { "17 octets of a serial", "pkcs11:serial=12345678901234567" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct uri uri = { .token = "untouched" };
        cr_expect_eq(uri_parse(cases[i].text, &uri), CA_MALFORMED, "%s", cases[i].name);
        cr_expect_str_eq(uri.token, "untouched", "%s", cases[i].name);
    }
}

Test(uri, limits_the_length_of_text_label_and_id)
{
    char text[URI_TEXT_MAX + 64] = "pkcs11:object=";
    struct uri uri;
    size_t start = strlen(text);
    memset(text + start, 'a', URI_LABEL_MAX);
    cr_assert_eq(uri_parse(text, &uri), CA_OK);
    text[start + URI_LABEL_MAX] = 'a';
    cr_assert_eq(uri_parse(text, &uri), CA_MALFORMED);
    snprintf(text, sizeof text, "pkcs11:id=");
    start = strlen(text);
    memset(text + start, 'i', URI_ID_MAX);
    text[start + URI_ID_MAX] = '\0';
    cr_assert_eq(uri_parse(text, &uri), CA_OK);
    cr_assert_eq(uri.id_size, URI_ID_MAX);
    text[start + URI_ID_MAX] = 'i';
    text[start + URI_ID_MAX + 1] = '\0';
    cr_assert_eq(uri_parse(text, &uri), CA_MALFORMED);
    memset(text, 'x', sizeof text - 1);
    memcpy(text, "pkcs11:", 7);
    text[sizeof text - 1] = '\0';
    cr_assert_eq(uri_parse(text, &uri), CA_MALFORMED);
}

Test(uri, text_comes_back_the_same)
{
    struct uri uri = { .token = "CA; \"A\"&=%", .serial = "0a", .id_size = 2 }, again;
    memcpy(uri.object, "gr\xc3\xbc\xc3\x9f", 7);
    uri.id[1] = 0x7f;
    CA_AUTO(free) char *text = uri_format(&uri);
    cr_assert_str_eq(text, "pkcs11:token=CA%3B%20%22A%22%26%3D%25;serial=0a;"
                           "object=gr%C3%BC%C3%9F;id=%00%7F;type=private");
    memset(&again, 0, sizeof again);
    cr_assert_eq(uri_parse(text, &again), CA_OK, "%s", status_message());
    cr_assert_str_eq(again.token, uri.token);
    cr_assert_str_eq(again.object, uri.object);
    cr_assert_eq(again.id_size, 2);
    cr_assert_arr_eq(again.id, uri.id, 2);
    struct uri token = { .serial = "7" };
    CA_AUTO(free) char *short_text = uri_format(&token);
    cr_assert_str_eq(short_text, "pkcs11:serial=7");
    LEAK_CHECK();
}
