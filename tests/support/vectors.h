/* Test vectors: JSON files of hexadecimal values. */
#pragma once

#include "plugin.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define VECTOR_MAX 4096

struct octets {
    uint8_t data[VECTOR_MAX];
    size_t size;
};

static inline struct ca_bytes __attribute__((unused))
octets_bytes(const struct octets *octets)
{
    return (struct ca_bytes){ octets->data, octets->size };
}

static inline json_t *__attribute__((unused)) vectors_load(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    cr_assert(root, "%s: %s", path, error.text);
    return root;
}

/* Hexadecimal, with or without 0x. */
static inline void __attribute__((unused))
octets_parse(const char *text, struct octets *ret_octets)
{
    if (strncmp(text, "0x", 2) == 0)
        text += 2;
    ret_octets->size = strlen(text) / 2;
    cr_assert(strlen(text) % 2 == 0 && ret_octets->size <= VECTOR_MAX);
    for (size_t i = 0; i < ret_octets->size; i++) {
        const char digits[] = { text[2 * i], text[2 * i + 1], 0 };
        char *end;
        ret_octets->data[i] = (uint8_t)strtoul(digits, &end, 16);
        cr_assert(*end == 0, "'%s' is not hexadecimal", digits);
    }
}

static inline const char *__attribute__((unused))
vector_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    cr_assert(text, "no member '%s'", name);
    return text;
}

static inline void __attribute__((unused))
vector_get(const json_t *object, const char *name, struct octets *ret_octets)
{
    octets_parse(vector_text(object, name), ret_octets);
}

/* Is `data` the value of the member? */
static inline void __attribute__((unused))
vector_expect(const json_t *object, const char *name, const void *data, size_t size)
{
    static struct octets wanted;
    vector_get(object, name, &wanted);
    cr_assert(size == wanted.size, "%s: %zu octets, not %zu", name, size, wanted.size);
    cr_assert(memcmp(data, wanted.data, size) == 0, "%s differs", name);
}

/* The member of an array with this `name`. */
static inline const json_t *__attribute__((unused))
vector_named(const json_t *array, const char *name)
{
    size_t i;
    json_t *value;
    json_array_foreach (array, i, value) {
        if (strcmp(vector_text(value, "name"), name) == 0)
            return value;
    }
    cr_assert_fail("no vector '%s'", name);
    return NULL;
}
