/* What an ID token must say, and the configuration of the provider. The exchange with a
 * real provider is in test_oidc.py. */
#include "auto.h"
#include "leak.h"
#include "oidc.h"
#include <criterion/criterion.h>
#include <string.h>

#define NOW INT64_C(1795341600)
#define GOOD                                                                           \
    "\"iss\": \"https://id.example.com\", \"aud\": \"sealwright\", \"sub\": \"1\", "   \
    "\"nonce\": \"n\", \"iat\": 1795341590, \"exp\": 1795341900"

static const struct oidc_expected expected = { "https://id.example.com", "sealwright",
                                               "n", NOW };

static enum ca_status
judge(const char *members)
{
    json_error_t error;
    char text[1024];
    snprintf(text, sizeof text, "{" GOOD "%s%s}", *members ? ", " : "", members);
    /* Later members take the place of the first ones. */
    CA_AUTO(json_decref) json_t *claims = json_loads(text, 0, &error);
    cr_assert_not_null(claims, "%s: %s", text, error.text);
    return oidc_check_claims(claims, &expected);
}

Test(oidc, A3_claims_must_be_of_this_provider_client_log_in_and_time)
{
    static const struct {
        const char *members;
        enum ca_status status;
    } cases[] = {
        { "", CA_OK },
        { "\"aud\": [\"sealwright\"]", CA_OK },
        { "\"aud\": [\"other\", \"sealwright\"], \"azp\": \"sealwright\"", CA_OK },
        { "\"azp\": \"sealwright\"", CA_OK },
        { "\"exp\": 1795341541", CA_OK },
        { "\"iat\": 1795341660", CA_OK },
        { "\"iat\": 1795341599.5", CA_OK },
        { "\"nbf\": 1795341600", CA_OK },
        { "\"iss\": \"https://id.example.com/\"", CA_UNAUTHENTICATED },
        { "\"iss\": \"https://evil.example.com\"", CA_UNAUTHENTICATED },
        { "\"iss\": null", CA_UNAUTHENTICATED },
        { "\"aud\": \"other\"", CA_UNAUTHENTICATED },
        { "\"aud\": \"Sealwright\"", CA_UNAUTHENTICATED },
        { "\"aud\": []", CA_UNAUTHENTICATED },
        { "\"aud\": [\"other\"]", CA_UNAUTHENTICATED },
        { "\"aud\": [\"other\", \"sealwright\"]", CA_UNAUTHENTICATED },
        { "\"aud\": [\"other\", \"sealwright\"], \"azp\": \"other\"",
          CA_UNAUTHENTICATED },
        { "\"azp\": \"other\"", CA_UNAUTHENTICATED },
        { "\"azp\": 1", CA_UNAUTHENTICATED },
        { "\"nonce\": \"m\"", CA_UNAUTHENTICATED },
        { "\"nonce\": null", CA_UNAUTHENTICATED },
        { "\"sub\": \"\"", CA_UNAUTHENTICATED },
        { "\"sub\": 7", CA_UNAUTHENTICATED },
        { "\"exp\": 1795341540", CA_UNAUTHENTICATED },
        { "\"exp\": \"1795341900\"", CA_UNAUTHENTICATED },
        { "\"iat\": 1795341661", CA_UNAUTHENTICATED },
        { "\"iat\": 1795340939", CA_UNAUTHENTICATED },
        { "\"iat\": null", CA_UNAUTHENTICATED },
        { "\"nbf\": 1795341661", CA_UNAUTHENTICATED },
        { "\"nbf\": true", CA_UNAUTHENTICATED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_eq(judge(cases[i].members), cases[i].status, "%s: %s",
                     cases[i].members, status_message());
    LEAK_CHECK();
}

Test(oidc, A3_a_mail_address_counts_only_when_it_is_verified)
{
    static char preferred[] = "preferred_username", email[] = "email";
    static const struct {
        char *claim;
        const char *claims, *user; /* NULL: refused */
    } cases[] = {
        { preferred, "{\"preferred_username\": \"alice\"}", "alice" },
        { preferred, "{\"email\": \"a@b.c\", \"email_verified\": true}", NULL },
        { preferred, "{\"preferred_username\": \"E\\\\alice\"}", NULL },
        { preferred, "{\"preferred_username\": \" alice\"}", NULL },
        { preferred, "{\"preferred_username\": \"alice \"}", NULL },
        { preferred, "{\"preferred_username\": \"alice\\t\"}", NULL },
        { preferred, "{\"preferred_username\": \"\"}", NULL },
        { email, "{\"email\": \"a@b.c \", \"email_verified\": true}", NULL },
        { email, "{\"email\": \"a@b.c\", \"email_verified\": true}", "a@b.c" },
        { email, "{\"email\": \"a@b.c\"}", NULL },
        { email, "{\"email\": \"a@b.c\", \"email_verified\": false}", NULL },
        { email, "{\"email\": \"a@b.c\", \"email_verified\": null}", NULL },
        { email, "{\"email\": \"a@b.c\", \"email_verified\": \"true\"}", NULL },
        { email, "{\"email\": \"a@b.c\", \"email_verified\": 1}", NULL },
        { email, "{\"email_verified\": true}", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config_oidc config = { .claim = cases[i].claim };
        CA_AUTO(free) char *user = NULL;
        CA_AUTO(json_decref) json_t *claims = json_loads(cases[i].claims, 0, NULL);
        enum ca_status status = oidc_user_of(&config, claims, &user);
        cr_expect_eq(status, cases[i].user ? CA_OK : CA_UNAUTHENTICATED, "%s",
                     cases[i].claims);
        if (cases[i].user && user)
            cr_expect_str_eq(user, cases[i].user);
    }
    LEAK_CHECK();
}

Test(oidc, W4_the_configuration_names_a_provider_and_a_client)
{
    static const struct {
        const char *oidc, *error; /* NULL: good */
    } cases[] = {
        { "{}", NULL },
        { "{\"issuer\": \"https://id.example.com/realms/a\", \"client_id\": \"c\"}",
          NULL },
        { "{\"issuer\": \"http://127.0.0.1:8080\", \"client_id\": \"c\"}", NULL },
        { "{\"issuer\": \"http://id.example.com\", \"client_id\": \"c\"}", "/issuer" },
        { "{\"issuer\": \"https://id.example.com/?a\", \"client_id\": \"c\"}",
          "/issuer" },
        { "{\"issuer\": \"https://id.example.com\"}", "/client_id" },
        { "{\"client_id\": \"c\"}", "/issuer" },
        { "{\"issuer\": \"https://i\", \"client_id\": \"c\", "
          "\"scopes\": [\"openid\"]}",
          "/scopes" },
        { "{\"issuer\": \"https://i\", \"client_id\": \"c\", "
          "\"scopes\": [\"a b\"]}",
          "/scopes" },
        { "{\"issuer\": \"https://i\", \"client_id\": \"c\", \"secret\": \"x\"}",
          "/secret" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config config = { 0 };
        char text[512];
        snprintf(text, sizeof text, "{\"listeners\": [], \"oidc\": %s}", cases[i].oidc);
        enum ca_status status = config_parse(text, strlen(text), "/tmp", &config);
        const char *message = status == CA_OK ? "" : status_message();
        bool names_it = strstr(message, "oidc/") != NULL;
        if (cases[i].error)
            cr_expect(names_it && strstr(message, cases[i].error), "%s: %s", text,
                      message);
        else
            cr_expect_not(names_it, "%s: %s", text, message);
        config_clear(&config);
    }
}
