/* A program for check_secrets.py. Under valgrind's memcheck, with the secret marked
 * undefined, any branch or address that depends on it is reported; two controls leak on
 * purpose and must be. Without valgrind, `residue` looks for secrets that a call has
 * left on its stack. */
#include "box.h"
#include "speke_map.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <valgrind/memcheck.h>

#define SECRET(object) VALGRIND_MAKE_MEM_UNDEFINED(&(object), sizeof(object))
#define PUBLIC(object) VALGRIND_MAKE_MEM_DEFINED(&(object), sizeof(object))
#define WIDE_MAX 98
#define STACK_SIZE (512 << 10)
#define WINDOW 8

/* What the cases work on; set up before, looked at afterwards. */
static struct {
    const struct speke_suite *suite;
    uint8_t prs[32], wide[WIDE_MAX], secret[SPEKE_ELEMENT_MAX];
    uint8_t x[SPEKE_ELEMENT_MAX], y[SPEKE_ELEMENT_MAX];
    uint8_t box[256], plain[256], aad[BOX_TAG_SIZE];
    struct speke_element element, other;
    struct speke_point generator, share, peer;
    struct speke_scalar scalar;
    struct transcript transcript;
    struct schedule schedule;
    volatile unsigned sink;
} work;

static void
fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(2);
}

/* Distinct octets that are easy to find again. */
static void
fill(void *octets, size_t size, unsigned seed)
{
    uint8_t *octet = octets;
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1103515245 + 12345;
        octet[i] = (uint8_t)(seed >> 16);
    }
}

static void
prepare(const struct speke_suite *suite)
{
    static const uint8_t nonce[TRANSCRIPT_NONCE_SIZE] = { 1 };
    work.suite = suite;
    fill(work.prs, sizeof work.prs, 1);
    fill(work.wide, sizeof work.wide, 2);
    fill(work.scalar.octets, sizeof work.scalar.octets, 3);
    work.scalar.octets[0] = 0; /* below the order */
    fill(work.secret, sizeof work.secret, 4);
    transcript_identities(&work.transcript, "ca.example.org", "alice", "");
    transcript_nonces(&work.transcript, nonce, nonce);
    transcript_server(&work.transcript, suite->name,
                      (struct transcript_stretch){ 14, 8, 5 },
                      (struct ca_bytes){ nonce, sizeof nonce });
    transcript_client(&work.transcript, &(const char *){ suite->name }, 1, "test");
}

/* ---- Cases for memcheck ---- */

static void
case_map(void)
{
    SECRET(work.wide);
    speke_map(work.suite->field, work.wide, work.x, work.y);
    PUBLIC(work.x);
    PUBLIC(work.y);
}

/* What the map uses of a field, operation by operation. */
static void
case_field(void)
{
    const struct speke_field *field = work.suite->field;
    SECRET(work.wide);
    field->reduce(&work.element, work.wide);
    field->power(&work.other, &work.element);
    field->subtract(&work.other, &work.other, &work.element);
    field->add(&work.other, &work.other, &field->b);
    field->square(&work.other, &work.other);
    field->multiply(&work.other, &work.other, &work.element);
    speke_mask mask =
        speke_is_zero(field, &work.other) ^ speke_is_odd(field, &work.element);
    speke_select(&work.other, &work.element, mask);
    field->encode(work.x, &work.other);
    PUBLIC(work.x);
}

static void
make_generator(void)
{
    if (speke_generator(
            work.suite, (struct ca_bytes){ work.prs, sizeof work.prs },
            lv_bytes(&work.transcript.identities),
            (struct ca_bytes){ work.transcript.sid, sizeof work.transcript.sid },
            &work.generator) != CA_OK)
        fail("no generator");
}

static void
case_generator(void)
{
    SECRET(work.prs);
    make_generator();
    PUBLIC(work.generator);
}

static void
derive(void)
{
    static const uint8_t share[SPEKE_SHARE_MAX] = { 4 };
    const struct ca_bytes whole = { share, work.suite->share_size };
    if (schedule_derive(work.suite, &work.transcript, whole, whole, work.secret,
                        &work.schedule) != CA_OK)
        fail("no keys");
}

static void
case_schedule(void)
{
    static const uint8_t tag[SCHEDULE_TAG_SIZE];
    SECRET(work.secret);
    derive();
    unsigned holds = schedule_tag_holds(&work.schedule, SCHEDULE_C2S,
                                        (struct ca_bytes){ tag, sizeof tag });
    PUBLIC(holds);
    work.sink = holds;
    PUBLIC(work.schedule);
}

/* Both must be reported. */
static void
case_control_branch(void)
{
    SECRET(work.wide);
    if (work.wide[5] & 1)
        work.sink = 1;
}

static void
case_control_address(void)
{
    static const uint8_t table[256] = { 1, 2, 3 };
    SECRET(work.wide);
    unsigned found = *(const volatile uint8_t *)&table[work.wide[5]];
    PUBLIC(found);
    work.sink = found;
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    { "map", case_map },
    { "field", case_field },
    { "generator", case_generator },
    { "schedule", case_schedule },
    { "control-branch", case_control_branch },
    { "control-address", case_control_address },
};

/* ---- Residue ---- */

static uint8_t *stack;
static unsigned found;

/* Any eight octets of the secret, in either order. */
static void
expect_gone(const char *call, const char *name, const void *secret, size_t size)
{
    const uint8_t *octets = secret;
    for (size_t i = 0; i + WINDOW <= size; i++) {
        uint8_t turned[WINDOW];
        for (size_t j = 0; j < WINDOW; j++)
            turned[j] = octets[i + WINDOW - 1 - j];
        if (!memmem(stack, STACK_SIZE, octets + i, WINDOW) &&
            !memmem(stack, STACK_SIZE, turned, WINDOW))
            continue;
        fprintf(stderr, "%s leaves octets of %s on its stack\n", call, name);
        found++;
        return;
    }
}

/* As the field holds it. */
static void
expect_element_gone(const char *call, const char *name, const uint8_t *octets)
{
    const struct speke_field *field = work.suite->field;
    uint8_t wide[WIDE_MAX] = { 0 };
    struct speke_element element;
    memcpy(wide + field->wide_size - field->size, octets, field->size);
    field->reduce(&element, wide);
    for (size_t i = 0; i < 4; i++)
        expect_gone(call, name, &element.limb[i], sizeof element.limb[i]);
    expect_gone(call, name, octets, field->size);
}

static void
run_on_stack(void (*call)(void))
{
    static ucontext_t here, there;
    memset(stack, 0, STACK_SIZE);
    if (getcontext(&there) != 0)
        fail("no context");
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = STACK_SIZE;
    there.uc_link = &here;
    makecontext(&there, call, 0);
    if (swapcontext(&here, &there) != 0)
        fail("no context");
}

static void
call_map(void)
{
    speke_map(work.suite->field, work.wide, work.x, work.y);
}

static void
call_share(void)
{
    if (speke_share(work.suite, &work.generator, &work.scalar, &work.share) != CA_OK)
        fail("no share");
}

static void
call_secret(void)
{
    if (speke_secret(work.suite, &work.scalar, &work.share,
                     speke_point_bytes(&work.peer), work.secret) != CA_OK)
        fail("no secret");
}

static void
call_seal(void)
{
    if (box_seal(&work.schedule, SCHEDULE_C2S, work.aad,
                 (struct ca_bytes){ work.wide, sizeof work.wide }, work.box) != CA_OK)
        fail("no box");
}

static void
call_open(void)
{
    size_t size;
    if (box_open(&work.schedule, SCHEDULE_C2S, work.aad,
                 (struct ca_bytes){ work.box, box_size(sizeof work.wide) }, work.plain,
                 &size) != CA_OK)
        fail("the box does not open");
}

static void
call_leak(void)
{
    uint8_t copy[sizeof work.prs];
    memcpy(copy, work.prs, sizeof copy);
    __asm__ volatile("" : : "r"(copy) : "memory");
}

static void
expect_keys_gone(const char *call)
{
    expect_gone(call, "the keys", work.schedule.side, sizeof work.schedule.side);
}

static void
residue(void)
{
    run_on_stack(call_leak);
    if (!memmem(stack, STACK_SIZE, work.prs, sizeof work.prs))
        fail("what a call leaves on its stack is not found");
    run_on_stack(call_map);
    expect_element_gone("speke_map", "x", work.x);
    expect_element_gone("speke_map", "y", work.y);
    expect_gone("speke_map", "u", work.wide, work.suite->field->wide_size);
    run_on_stack(make_generator);
    expect_gone("speke_generator", "PRS", work.prs, sizeof work.prs);
    expect_element_gone("speke_generator", "x", work.generator.octets + 1);
    work.peer = work.generator;
    run_on_stack(call_share);
    expect_element_gone("speke_share", "the generator", work.generator.octets + 1);
    expect_gone("speke_share", "the scalar", work.scalar.octets,
                work.suite->field->size);
    run_on_stack(call_secret);
    expect_gone("speke_secret", "the scalar", work.scalar.octets,
                work.suite->field->size);
    expect_gone("speke_secret", "K", work.secret, work.suite->field->size);
    run_on_stack(derive);
    expect_gone("schedule_derive", "K", work.secret, work.suite->field->size);
    expect_keys_gone("schedule_derive");
    run_on_stack(call_seal);
    expect_keys_gone("box_seal");
    expect_gone("box_seal", "the plaintext", work.wide, sizeof work.wide);
    run_on_stack(call_open);
    expect_keys_gone("box_open");
    expect_gone("box_open", "the plaintext", work.wide, sizeof work.wide);
}

int
main(int argc, char **argv)
{
    if (argc != 3 || !speke_suite_find(argv[2]))
        fail("usage: secret_speke CASE SUITE");
    prepare(speke_suite_find(argv[2]));
    if (strcmp(argv[1], "residue") == 0) {
        stack = malloc(STACK_SIZE);
        residue();
        free(stack);
        return found != 0;
    }
    if (!RUNNING_ON_VALGRIND)
        fail("only under valgrind");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(cases[i].name, argv[1]) == 0) {
            cases[i].run();
            return 0;
        }
    }
    fail("no such case");
}
