/* Rendezvous hashing: the same everywhere, in proportion, and with little that moves.
 */
#include "rendezvous.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define KEYS 20000

static const struct rendezvous_node three[] = { { "a", 100 },
                                                { "b", 100 },
                                                { "c", 200 } };

static const char *
pick(const char *key, const struct rendezvous_node *nodes, size_t count)
{
    size_t index = 99;
    return rendezvous_pick(key, nodes, count, &index) ? nodes[index].name : NULL;
}

static void
key_of(int i, char ret_key[37])
{
    snprintf(ret_key, 37, "%08x-0000-4000-8000-000000000000", (unsigned)i);
}

/* A figure of its own: a change of the hash would move the devices of every domain. */
Test(rendezvous, is_the_same_on_every_machine_and_in_any_order)
{
    static const struct rendezvous_node turned[] = { { "c", 200 },
                                                     { "a", 100 },
                                                     { "b", 100 } };
    char key[37], found[17] = "";
    for (int i = 0; i < 1000; i++) {
        key_of(i, key);
        const char *name = pick(key, three, 3);
        cr_expect_str_eq(name, pick(key, turned, 3));
        if (i < 16)
            strcat(found, name);
    }
    cr_expect_str_eq(found, "abccccbcbcacaccb");
}

Test(rendezvous, shares_keys_by_weight)
{
    char key[37];
    int counts[3] = { 0 };
    for (int i = 0; i < KEYS; i++) {
        key_of(i, key);
        counts[*pick(key, three, 3) - 'a']++;
    }
    cr_expect_float_eq(counts[0], KEYS / 4.0, KEYS * 0.01);
    cr_expect_float_eq(counts[1], KEYS / 4.0, KEYS * 0.01);
    cr_expect_float_eq(counts[2], KEYS / 2.0, KEYS * 0.01);
}

Test(rendezvous, moves_only_what_a_lost_or_a_new_node_has)
{
    static const struct rendezvous_node two[] = { { "a", 100 }, { "c", 200 } };
    char key[37];
    for (int i = 0; i < KEYS; i++) {
        key_of(i, key);
        const char *before = pick(key, three, 3), *after = pick(key, two, 2);
        if (strcmp(before, "b") != 0)
            cr_assert_str_eq(before, after, "%s moved without need", key);
    }
}

Test(rendezvous, gives_nothing_to_who_has_no_weight)
{
    static const struct rendezvous_node idle[] = { { "a", 0 },
                                                   { "b", -5 },
                                                   { "c", 1 } };
    char key[37];
    for (int i = 0; i < 100; i++) {
        key_of(i, key);
        cr_expect_str_eq(pick(key, idle, 3), "c");
        cr_expect_null(pick(key, idle, 2));
    }
    cr_expect_null(pick("x", NULL, 0));
}

Test(rendezvous, decides_for_the_first_of_two_alike)
{
    static const struct rendezvous_node same[] = { { "a", 7 }, { "a", 7 } };
    size_t index = 99;
    cr_assert(rendezvous_pick("x", same, 2, &index));
    cr_expect_eq(index, 0);
}
