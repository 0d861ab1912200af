/* Activation by password as plugins see it. */
#include "exchange.h"

static enum ca_status
not_set_up(struct ca_request *req)
{
    (void)exchange_of(req);
    return ca_fail(CA_UNAVAILABLE, "activation is not set up here");
}

enum ca_status
ca_activation_begin(struct ca_request *req, const struct ca_activation_hello *hello,
                    const uint8_t sn[CA_ACTIVATION_NONCE],
                    struct ca_activation_offer *ret_offer)
{
    (void)hello, (void)sn, (void)ret_offer;
    return not_set_up(req);
}

enum ca_status
ca_activation_keep(struct ca_request *req, const struct ca_activation_session *session)
{
    (void)session;
    return not_set_up(req);
}

enum ca_status
ca_activation_attempt(struct ca_request *req, const uint8_t sn[CA_ACTIVATION_NONCE],
                      const uint8_t digest[32],
                      struct ca_activation_session *ret_session,
                      struct ca_activation_answer *ret_answer)
{
    (void)sn, (void)digest, (void)ret_session, (void)ret_answer;
    return not_set_up(req);
}

void
ca_activation_refused(struct ca_request *req, const char *reason)
{
    (void)reason;
    (void)not_set_up(req);
}

enum ca_status
ca_activation_proved(struct ca_request *req, struct ca_bytes pkcs10,
                     struct ca_activation_grant *ret_grant)
{
    (void)pkcs10, (void)ret_grant;
    return not_set_up(req);
}

enum ca_status
ca_activation_answered(struct ca_request *req, int http_status, struct ca_bytes body)
{
    (void)http_status, (void)body;
    return not_set_up(req);
}

enum ca_status
ca_activation_lookup(struct ca_request *req, const char *user, size_t user_size,
                     struct ca_activation_place *ret_place)
{
    (void)user, (void)user_size, (void)ret_place;
    return not_set_up(req);
}

enum ca_status
ca_activation_device(struct ca_request *req, const json_t *device,
                     const json_t *software, struct ca_activation_place *ret_place)
{
    (void)device, (void)software, (void)ret_place;
    return not_set_up(req);
}
