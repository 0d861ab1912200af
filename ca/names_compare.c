/* Names held against each other. */
#include "names_compare.h"
#include "auto.h"
#include "names.h"
#include <string.h>

static bool
utf8_equal(const ASN1_STRING *a, const ASN1_STRING *b)
{
    CA_AUTO(openssl_free) uint8_t *one = NULL;
    CA_AUTO(openssl_free) uint8_t *two = NULL;
    int size = ASN1_STRING_to_UTF8(&one, a);
    return size >= 0 && ASN1_STRING_to_UTF8(&two, b) == size &&
           memcmp(one, two, (size_t)size) == 0;
}

bool
names_subjects_equal(const X509_NAME *a, const X509_NAME *b)
{
    int count = X509_NAME_entry_count(a);
    if (X509_NAME_entry_count(b) != count)
        return false;
    for (int i = 0; i < count; i++) {
        const X509_NAME_ENTRY *one = X509_NAME_get_entry(a, i);
        const X509_NAME_ENTRY *two = X509_NAME_get_entry(b, i);
        if (X509_NAME_ENTRY_set(one) != X509_NAME_ENTRY_set(two) ||
            OBJ_cmp(X509_NAME_ENTRY_get_object(one), X509_NAME_ENTRY_get_object(two)) !=
                0 ||
            !utf8_equal(X509_NAME_ENTRY_get_data(one), X509_NAME_ENTRY_get_data(two)))
            return false;
    }
    return true;
}

void
names_list_clear(struct field_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(((char **)list->items)[i]);
    free(list->items);
}

static int
compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum ca_status
names_list(GENERAL_NAMES *names, struct field_list *ret_list)
{
    int count = names ? sk_GENERAL_NAME_num(names) : 0;
    CA_AUTO(names_list_clear) struct field_list list = { 0 };
    list.items = calloc((size_t)count + 1, sizeof(char *));
    if (!list.items)
        return ca_fail(CA_INTERNAL, "no memory for names");
    for (int i = 0; i < count; i++) {
        char *text = names_format(sk_GENERAL_NAME_value(names, i));
        if (!text)
            return ca_fail(CA_UNSUPPORTED, "a name of a kind that is never issued");
        if (field_list_has(&list, text))
            free(text);
        else
            ((char **)list.items)[list.count++] = text;
    }
    qsort(list.items, list.count, sizeof(char *), compare_texts);
    *ret_list = list;
    list = (struct field_list){ 0 };
    return CA_OK;
}

bool
names_lists_equal(const struct field_list *a, const struct field_list *b)
{
    bool are_equal = a->count == b->count;
    for (size_t i = 0; are_equal && i < a->count; i++)
        are_equal =
            strcmp(((char *const *)a->items)[i], ((char *const *)b->items)[i]) == 0;
    return are_equal;
}
