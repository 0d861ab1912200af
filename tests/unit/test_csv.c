/* CSV as RFC 4180 has it, and what it has not. */
#include "csv.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All records as "line:a|b;" and what the end was. */
static enum ca_status
read_all(const char *text, size_t size, char ret_text[512])
{
    struct csv *csv = NULL;
    struct csv_record record;
    enum ca_status status;
    size_t used = 0;
    cr_assert_eq(csv_open(text, size, &csv), CA_OK);
    while ((status = csv_next(csv, &record)) == CA_OK) {
        used += (size_t)snprintf(ret_text + used, 512 - used, "%zu:", record.line);
        for (size_t i = 0; i < record.count; i++)
            used += (size_t)snprintf(ret_text + used, 512 - used, "%s%s", i ? "|" : "",
                                     record.fields[i]);
        used += (size_t)snprintf(ret_text + used, 512 - used, ";");
    }
    ret_text[used] = '\0';
    csv_close(csv);
    return status;
}

Test(csv, reads_fields_quotes_and_line_ends)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        { "", "" },
        { "\n\r\n", "" },
        { "a", "1:a;" },
        { "a,b\r\nc,d\r\n", "1:a|b;2:c|d;" },
        { "a,b\nc,d", "1:a|b;2:c|d;" },
        { ",\n,,", "1:|;2:||;" },
        { "a,", "1:a|;" },
        { "\"a,b\",\"c\"\"d\"\n", "1:a,b|c\"d;" },
        { "\"a\r\nb\",c\nd,e\n", "1:a\r\nb|c;3:d|e;" },
        { "\"\",x\n", "1:|x;" },
        { "\"\"\"\"", "1:\";" },
        { "a\rb,c\n", "1:a\rb|c;" },
        { "\n\na,b\n\nc,d\n", "3:a|b;5:c|d;" },
        { " a , b ", "1: a | b ;" },
        { "\xef\xbb\xbfname,email\n", "1:name|email;" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char found[512];
        cr_expect_eq(read_all(cases[i].text, strlen(cases[i].text), found),
                     CA_NOT_FOUND, "%s", cases[i].text);
        cr_expect_str_eq(found, cases[i].wanted, "%s", cases[i].text);
    }
    LEAK_CHECK();
}

Test(csv, refuses_what_has_two_meanings)
{
    static const struct {
        const char *text;
        size_t size;
        const char *word;
    } cases[] = {
        { "a\"b\n", 4, "line 1: a quote inside" },
        { "x\n\"a\"b\n", 7, "line 2: text behind" },
        { "\"a\" ,b\n", 7, "line 1: text behind" },
        { "x\n\"a\nb\n", 7, "line 2: a quote is not closed" },
        { "\"", 1, "line 1: a quote is not closed" },
        { "a\0b,c\n", 6, "line 1: a field has a NUL" },
        { "\"a\0b\"\n", 6, "a field has a NUL" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char found[512];
        cr_expect_eq(read_all(cases[i].text, cases[i].size, found), CA_MALFORMED, "%zu",
                     i);
        cr_expect_not_null(strstr(status_message(), cases[i].word), "%zu: %s", i,
                           status_message());
    }
    LEAK_CHECK();
}

Test(csv, R8_fields_are_limited_in_number_and_size)
{
    char text[CSV_FIELD_SIZE_MAX + 8], found[512];
    memset(text, ',', CSV_FIELDS_MAX);
    cr_expect_eq(read_all(text, CSV_FIELDS_MAX - 1, found), CA_NOT_FOUND);
    cr_expect_eq(read_all(text, CSV_FIELDS_MAX, found), CA_LIMIT);
    struct csv *csv = NULL;
    struct csv_record record;
    memset(text, 'a', sizeof text);
    cr_assert_eq(csv_open(text, CSV_FIELD_SIZE_MAX, &csv), CA_OK);
    cr_expect_eq(csv_next(csv, &record), CA_OK);
    csv_close(csv);
    cr_assert_eq(csv_open(text, CSV_FIELD_SIZE_MAX + 1, &csv), CA_OK);
    cr_expect_eq(csv_next(csv, &record), CA_LIMIT);
    csv_close(csv);
    LEAK_CHECK();
}
