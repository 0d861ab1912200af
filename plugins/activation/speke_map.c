/* The simplified Shallue-van de Woestijne-Ulas map as straight-line code. */
#include "speke_map.h"
#include <openssl/crypto.h>

/* Everything that depends on the password, to be wiped at once. */
struct work {
    struct speke_element u, t, d, negated, numerator, denominator, squared, cubed;
    struct speke_element f, product, power, root, other, inverse, x, y;
};

/* x1 = numerator / denominator = (-B/A) * (1 + 1/d), or B/(Z*A) when d = 0; A = -3.
 * F.2 steps 1 to 8. */
static void
first_candidate(const struct speke_field *field, struct work *w)
{
    static const struct speke_element zero;
    field->square(&w->t, &w->u);
    field->multiply(&w->t, &w->t, &field->z);
    field->square(&w->d, &w->t);
    field->add(&w->d, &w->d, &w->t);
    field->add(&w->numerator, &w->d, &field->one);
    field->multiply(&w->numerator, &w->numerator, &field->b);
    field->subtract(&w->negated, &zero, &w->d);
    speke_select(&w->negated, &field->z, speke_is_zero(field, &w->d));
    field->add(&w->denominator, &w->negated, &w->negated);
    field->add(&w->denominator, &w->denominator, &w->negated);
    field->subtract(&w->denominator, &zero, &w->denominator);
}

/* f(x1) = f / cubed with f = n^3 - 3*n*den^2 + B*den^3 and cubed = den^3. F.2 steps 9
 * to 16. */
static void
curve_value(const struct speke_field *field, struct work *w)
{
    field->square(&w->f, &w->numerator);
    field->square(&w->squared, &w->denominator);
    field->multiply(&w->cubed, &w->squared, &w->denominator);
    for (int i = 0; i < 3; i++)
        field->subtract(&w->f, &w->f, &w->squared);
    field->multiply(&w->f, &w->f, &w->numerator);
    field->multiply(&w->other, &w->cubed, &field->b);
    field->add(&w->f, &w->f, &w->other);
}

/* root = sqrt(f / cubed) where that is a square, else sqrt(Z * f / cubed); RFC 9380
 * F.2.1.2, with power = (f * cubed^3)^((p-3)/4). Gives 1 / denominator besides: power^2
 * is s / (f * cubed^3) with s = 1 for a square and -1 else, hence 1 / cubed is
 * s * power^2 * f * cubed^2. Neither f nor cubed is zero: the curve's order is an odd
 * prime, so that no point has y = 0. */
static speke_mask
square_root(const struct speke_field *field, struct work *w)
{
    static const struct speke_element zero;
    field->multiply(&w->product, &w->f, &w->cubed);
    field->square(&w->other, &w->cubed);
    field->multiply(&w->inverse, &w->other, &w->f);
    field->multiply(&w->other, &w->other, &w->product);
    field->power(&w->power, &w->other);
    field->multiply(&w->root, &w->power, &w->product);

    field->square(&w->other, &w->root);
    field->multiply(&w->other, &w->other, &w->cubed);
    field->subtract(&w->other, &w->other, &w->f);
    speke_mask is_square = speke_is_zero(field, &w->other);
    field->multiply(&w->other, &w->root, &field->root);
    speke_select(&w->root, &w->other, ~is_square);

    field->square(&w->power, &w->power);
    field->multiply(&w->inverse, &w->inverse, &w->power);
    field->multiply(&w->inverse, &w->inverse, &w->squared);
    field->subtract(&w->other, &zero, &w->inverse);
    speke_select(&w->inverse, &w->other, ~is_square);
    return is_square;
}

void
speke_map(const struct speke_field *field, const uint8_t *octets, uint8_t *ret_x,
          uint8_t *ret_y)
{
    static const struct speke_element zero;
    struct work w;
    field->reduce(&w.u, octets);
    first_candidate(field, &w);
    curve_value(field, &w);
    speke_mask is_square = square_root(field, &w);
    /* F.2 steps 17 to 25. */
    field->multiply(&w.x, &w.t, &w.numerator);
    field->multiply(&w.y, &w.t, &w.u);
    field->multiply(&w.y, &w.y, &w.root);
    speke_select(&w.x, &w.numerator, is_square);
    speke_select(&w.y, &w.root, is_square);
    field->subtract(&w.other, &zero, &w.y);
    speke_mask differs = speke_is_odd(field, &w.u) ^ speke_is_odd(field, &w.y);
    speke_select(&w.y, &w.other, differs);
    field->multiply(&w.x, &w.x, &w.inverse);
    field->encode(ret_x, &w.x);
    field->encode(ret_y, &w.y);
    OPENSSL_cleanse(&w, sizeof w);
    speke_stack_wipe();
}
