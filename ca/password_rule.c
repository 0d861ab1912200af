/* What may be a password: length, characters, and not one that everybody tries. */
#include "password.h"
#include "text.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>

/* Of the passwords that lists of leaks count most often, those that would be long
 * enough; compared without case and without the digits and signs behind them. Shorter
 * roots are here too: they come with digits behind. */
static const char *const known_bad[] = {
    "password",      "passwort",     "kennwort",
    "passw0rd",      "p@ssword",     "p@ssw0rd",
    "password1",     "qwerty",       "qwertz",
    "qwertyui",      "qwertyuiop",   "qwertzuiop",
    "azerty",        "azertyuiop",   "asdfgh",
    "asdfghjk",      "asdfghjkl",    "zxcvbn",
    "zxcvbnm",       "yxcvbnm",      "qazwsx",
    "qazwsxedc",     "1qaz2wsx",     "1q2w3e4r",
    "1q2w3e4r5t",    "q1w2e3r4",     "q1w2e3r4t5",
    "abc",           "abcd",         "abcdef",
    "abcdefgh",      "abcdefghi",    "iloveyou",
    "ichliebedich",  "letmein",      "letmeinnow",
    "welcome",       "willkommen",   "changeme",
    "default",       "admin",        "administrator",
    "administrador", "root",         "rootroot",
    "toor",          "superuser",    "supervisor",
    "manager",       "operator",     "service",
    "server",        "system",       "secret",
    "geheim",        "test",         "testtest",
    "tester",        "testing",      "guest",
    "user",          "username",     "login",
    "master",        "monkey",       "dragon",
    "football",      "baseball",     "basketball",
    "soccer",        "hockey",       "sunshine",
    "princess",      "superman",     "batman",
    "spiderman",     "starwars",     "pokemon",
    "michael",       "jennifer",     "jordan",
    "charlie",       "daniel",       "andrew",
    "michelle",      "jessica",      "ashley",
    "thomas",        "matthew",      "samantha",
    "whatever",      "trustno",      "freedom",
    "shadow",        "hunter",       "harley",
    "mustang",       "corvette",     "mercedes",
    "porsche",       "computer",     "internet",
    "windows",       "microsoft",    "samsung",
    "google",        "facebook",     "linkedin",
    "company",       "firma",        "office",
    "sealwright",    "summer",       "sommer",
    "winter",        "spring",       "autumn",
    "fruehling",     "herbst",       "january",
    "february",      "december",     "monday",
    "friday",        "schalke",      "liverpool",
    "chelsea",       "arsenal",      "barcelona",
    "juventus",      "hallo",        "hello",
    "hallohallo",    "hellohello",   "helloworld",
    "cheese",        "cookie",       "chocolate",
    "butterfly",     "flower",       "snoopy",
    "garfield",      "simpsons",     "babygirl",
    "lovely",        "loveme",       "blink",
    "slipknot",      "metallica",    "nirvana",
    "killer",        "ranger",       "buster",
    "tigger",        "pepper",       "ginger",
    "maggie",        "bailey",       "passpass",
    "access",        "accessaccess", "correcthorsebatterystaple",
    "a1b2c3d4",      "aa",           "aaaaaaaa",
    "zaq1zaq1",      "zaq12wsx",     "pass",
};

/* What is left of a password without what people hang on: "Summer2026!" is "summer". */
static size_t
root_of(const char *secret, char ret_root[PASSWORD_SIZE_MAX + 1])
{
    size_t length = strlen(secret);
    while (length > 0 && !isalpha((unsigned char)secret[length - 1]))
        length--;
    for (size_t i = 0; i < length; i++)
        ret_root[i] = (char)tolower((unsigned char)secret[i]);
    ret_root[length] = '\0';
    return length;
}

static bool
is_known(const char *secret)
{
    char root[PASSWORD_SIZE_MAX + 1];
    root_of(secret, root);
    for (size_t i = 0; i < sizeof known_bad / sizeof known_bad[0]; i++) {
        if (strcmp(root, known_bad[i]) == 0 ||
            text_equal_ignoring_case(secret, known_bad[i]))
            return true;
    }
    return false;
}

/* "aaaaaaaa", "12121212", "12345678", "hgfedcba": fewer than five different
 * characters, or every one the neighbour of the one before. */
static bool
is_pattern(const char *secret)
{
    bool seen[128] = { false };
    size_t different = 0, length = strlen(secret), up = 0, down = 0;
    for (size_t i = 0; i < length; i++) {
        different += !seen[(unsigned char)secret[i] & 127];
        seen[(unsigned char)secret[i] & 127] = true;
        up += i > 0 && secret[i] == secret[i - 1] + 1;
        down += i > 0 && secret[i] == secret[i - 1] - 1;
    }
    return different < 5 || up >= length - 2 || down >= length - 2;
}

/* Does it hold the user's name, of a length that is worth looking for? */
static bool
has_name(const char *user, const char *secret)
{
    size_t length = strcspn(user, "@");
    if (length < 4)
        return text_equal_ignoring_case(user, secret);
    for (const char *at = secret; *at; at++) {
        if (strncasecmp(at, user, length) == 0)
            return true;
    }
    return false;
}

bool
password_is_good(const char *user, const char *secret, char *ret_reason, size_t size)
{
    size_t length = strlen(secret);
    const char *reason = NULL;
    for (const char *c = secret; *c; c++) {
        if (*c < 0x20 || *c > 0x7e)
            reason = "must be printable ASCII";
    }
    if (!reason && length > 0 && (secret[0] == ' ' || secret[length - 1] == ' '))
        reason = "must not begin or end with a space";
    if (reason) {
        snprintf(ret_reason, size, "%s", reason);
        return false;
    }
    if (length < PASSWORD_SIZE_MIN || length > PASSWORD_SIZE_MAX) {
        snprintf(ret_reason, size, "must have %d to %d characters", PASSWORD_SIZE_MIN,
                 PASSWORD_SIZE_MAX);
        return false;
    }
    if (is_known(secret) || is_pattern(secret))
        reason = "is one of those that are tried first";
    else if (has_name(user, secret))
        reason = "must not hold the user's name";
    if (reason)
        snprintf(ret_reason, size, "%s", reason);
    return !reason;
}
