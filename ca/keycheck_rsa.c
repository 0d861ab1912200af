/* RSA moduli: small factors, the ROCA fingerprint (CVE-2017-15361), neighbouring
 * primes (Fermat), even moduli and odd exponents. */
#include "keycheck_rsa.h"
#include "auto.h"
#include <stdbool.h>
#include <stdint.h>

#define RSA_EXPONENT 65537
#define FERMAT_ROUNDS 100

/* The generator builds primes k * M + (65537^a mod M), M the product of these primes:
 * a modulus is then a power of 65537 modulo each of them. */
#define ROCA_PRIME_MAX 167

/* The odd primes below 752. */
static const uint16_t primes[] = {
    3,   5,   7,   11,  13,  17,  19,  23,  29,  31,  37,  41,  43,  47,  53,  59,  61,
    67,  71,  73,  79,  83,  89,  97,  101, 103, 107, 109, 113, 127, 131, 137, 139, 149,
    151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199, 211, 223, 227, 229, 233, 239,
    241, 251, 257, 263, 269, 271, 277, 281, 283, 293, 307, 311, 313, 317, 331, 337, 347,
    349, 353, 359, 367, 373, 379, 383, 389, 397, 401, 409, 419, 421, 431, 433, 439, 443,
    449, 457, 461, 463, 467, 479, 487, 491, 499, 503, 509, 521, 523, 541, 547, 557, 563,
    569, 571, 577, 587, 593, 599, 601, 607, 613, 617, 619, 631, 641, 643, 647, 653, 659,
    661, 673, 677, 683, 691, 701, 709, 719, 727, 733, 739, 743, 751,
};

/* Smallest of the primes that divides the modulus; 0 without one. One
 * long division serves as many primes as fit into a word that BN_mod_word takes in one
 * step. */
static unsigned
small_factor(const BIGNUM *modulus)
{
    size_t count = sizeof primes / sizeof primes[0];
    for (size_t first = 0, next = 0; first < count; first = next) {
        uint64_t product = 1;
        for (; next < count && product * primes[next] <= UINT32_MAX; next++)
            product *= primes[next];
        uint64_t residue = BN_mod_word(modulus, product);
        for (size_t i = first; i < next; i++) {
            if (residue % primes[i] == 0)
                return primes[i];
        }
    }
    return 0;
}

/* Is `residue` a power of 65537 modulo p? */
static bool
is_power_of_exponent(unsigned residue, unsigned p)
{
    unsigned power = 1;
    do {
        if (power == residue)
            return true;
        power = power * (RSA_EXPONENT % p) % p;
    } while (power != 1);
    return false;
}

static bool
has_roca_fingerprint(const BIGNUM *modulus)
{
    for (size_t i = 0; primes[i] <= ROCA_PRIME_MAX; i++) {
        unsigned p = primes[i];
        if (!is_power_of_exponent((unsigned)BN_mod_word(modulus, p), p))
            return false;
    }
    return true;
}

/* One step of Newton's iteration: from at or above a number's root to nearer, and never
 * below the root's integer part. */
static bool
newton_step(const BIGNUM *n, const BIGNUM *root, BIGNUM *ret_next, BN_CTX *context)
{
    return BN_div(ret_next, NULL, n, root, context) &&
           BN_add(ret_next, ret_next, root) && BN_rshift1(ret_next, ret_next);
}

static uint64_t
word_root(uint64_t n)
{
    uint64_t root = 0;
    for (uint64_t bit = UINT64_C(1) << 31; bit > 0; bit >>= 1) {
        if ((root + bit) * (root + bit) <= n)
            root += bit;
    }
    return root;
}

/* The root's integer part, or little more. From the upper half of the digits
 * comes, likewise, the upper half of the root's, and one step doubles them: a division
 * of this length, one of half of it, and so on. */
static bool
square_root_near(const BIGNUM *n, BIGNUM *ret_root, BN_CTX *context)
{
    int bits = BN_num_bits(n), shift = bits / 4 * 2;
    if (bits <= 64)
        return BN_set_word(ret_root, word_root(BN_get_word(n)));
    CA_AUTO(BN_free) BIGNUM *top = BN_new();
    CA_AUTO(BN_free) BIGNUM *guess = BN_new();
    return top && guess && BN_rshift(top, n, shift) &&
           square_root_near(top, guess, context) && BN_add_word(guess, 1) &&
           BN_lshift(guess, guess, shift / 2) &&
           newton_step(n, guess, ret_root, context);
}

/* The integer square root: from at or above it, the first number whose square does not
 * exceed. */
static bool
square_root(const BIGNUM *n, BIGNUM *ret_root, BN_CTX *context)
{
    CA_AUTO(BN_free) BIGNUM *square = BN_new();
    CA_AUTO(BN_free) BIGNUM *next = BN_new();
    if (!square || !next || !square_root_near(n, ret_root, context))
        return false;
    for (;;) {
        if (!BN_sqr(square, ret_root, context))
            return false;
        if (BN_cmp(square, n) <= 0)
            return true;
        if (!newton_step(n, ret_root, next, context))
            return false;
        BN_swap(next, ret_root);
    }
}

/* Most numbers are no squares modulo 64, 63, 65 or 11: one in 124 is one to all. */
static const unsigned sieve_moduli[] = { 64, 63, 65, 11 };
#define SIEVE_MODULI (sizeof sieve_moduli / sizeof sieve_moduli[0])
#define SIEVE_MODULUS (64 * 63 * 65 * 11)

/* A bit for each residue that is a square. */
struct sieve {
    uint64_t squares[SIEVE_MODULI][2];
};

static void
sieve_fill(struct sieve *sieve)
{
    for (size_t i = 0; i < SIEVE_MODULI; i++) {
        for (unsigned root = 0; root < sieve_moduli[i]; root++) {
            unsigned square = root * root % sieve_moduli[i];
            sieve->squares[i][square / 64] |= UINT64_C(1) << square % 64;
        }
    }
}

/* By the number's residue modulo SIEVE_MODULUS. */
static bool
may_be_square(const struct sieve *sieve, uint64_t residue)
{
    bool may = true;
    for (size_t i = 0; i < SIEVE_MODULI && may; i++) {
        unsigned r = (unsigned)(residue % sieve_moduli[i]);
        may = sieve->squares[i][r / 64] >> r % 64 & 1;
    }
    return may;
}

/* Is a * a - n a square? -1 when memory runs out. */
static int
is_square_above(const BIGNUM *a, const BIGNUM *n, BN_CTX *context)
{
    CA_AUTO(BN_free) BIGNUM *rest = BN_new();
    CA_AUTO(BN_free) BIGNUM *root = BN_new();
    if (!rest || !root || !BN_sqr(rest, a, context) || !BN_sub(rest, rest, n))
        return -1;
    if (BN_is_zero(rest) || BN_is_negative(rest))
        return BN_is_zero(rest);
    if (!square_root(rest, root, context) || !BN_sqr(root, root, context))
        return -1;
    return BN_cmp(root, rest) == 0;
}

/* Is n = a * a - b * b for one of the first `FERMAT_ROUNDS` a at or above its root? The
 * sieve leaves one of them, most times: only for those are long numbers touched. -1
 * when memory runs out. */
static int
has_neighbouring_primes(const BIGNUM *modulus)
{
    CA_AUTO(BN_CTX_free) BN_CTX *context = BN_CTX_new();
    CA_AUTO(BN_free) BIGNUM *first = BN_new();
    CA_AUTO(BN_free) BIGNUM *a = BN_new();
    if (!context || !first || !a || !square_root(modulus, first, context))
        return -1;
    struct sieve sieve = { 0 };
    sieve_fill(&sieve);
    uint64_t n = BN_mod_word(modulus, SIEVE_MODULUS);
    uint64_t residue = BN_mod_word(first, SIEVE_MODULUS);
    for (unsigned round = 0; round <= FERMAT_ROUNDS; round++, residue++) {
        if (!may_be_square(&sieve, residue * residue + SIEVE_MODULUS - n))
            continue;
        if (!BN_copy(a, first) || !BN_add_word(a, round))
            return -1;
        int found = is_square_above(a, modulus, context);
        if (found != 0)
            return found;
    }
    return 0;
}

enum ca_status
keycheck_rsa(const BIGNUM *modulus, const BIGNUM *exponent)
{
    if (!BN_is_word(exponent, RSA_EXPONENT))
        return ca_fail(CA_FORBIDDEN, "RSA exponent is not %d", RSA_EXPONENT);
    if (!BN_is_odd(modulus))
        return ca_fail(CA_FORBIDDEN, "RSA modulus is even");
    unsigned factor = small_factor(modulus);
    if (factor > 0)
        return ca_fail(CA_FORBIDDEN, "RSA modulus has the factor %u", factor);
    if (has_roca_fingerprint(modulus))
        return ca_fail(CA_FORBIDDEN,
                       "RSA key has the ROCA fingerprint (CVE-2017-15361)");
    int close = has_neighbouring_primes(modulus);
    if (close < 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot test an RSA modulus");
    if (close > 0)
        return ca_fail(CA_FORBIDDEN, "RSA primes lie too close (Fermat)");
    return CA_OK;
}
