/* Management sessions without a TLS client certificate: MD5 and Basic. */
#include "management.h"
#include "pc.h"

TestSuite(syncml_credential, .init = pc_setup, .fini = pc_teardown, .timeout = 120);

static const struct {
    const char *name, *secret, *nonce;
} account = { pc_device_id, "0123456789abcdef0123456789abcdef",
              "AAECAwQFBgcICQoLDA0ODw==" };

static enum ca_status
give_account(struct store_tx *tx, void *arg)
{
    (void)arg;
    enum ca_status status = management_bind(tx, pc_device_id, PC_PEER_ID);
    return status == CA_OK
               ? management_give(tx, pc_device_id, account.secret, account.nonce)
               : status;
}

/* As an enrolment leaves it behind. */
static void
account_make(void)
{
    cr_assert_eq(store_write(pc_house.service->store, give_account, NULL), CA_OK, "%s",
                 status_message());
}

/* B64(MD5(B64(MD5(name:secret)) ":" nonce)). */
static void
digest_of(const char *name, const char *secret, const char *nonce, char ret_digest[25])
{
    unsigned char md5[16], octets[32], text[160];
    char key[25];
    int size = snprintf((char *)text, sizeof text, "%s:%s", name, secret);
    cr_assert_eq(EVP_Digest(text, (size_t)size, md5, NULL, EVP_md5(), NULL), 1);
    EVP_EncodeBlock((unsigned char *)key, md5, 16);
    cr_assert_eq(EVP_DecodeBlock(octets, (const unsigned char *)nonce, 24), 18);
    size = snprintf((char *)text, sizeof text, "%s:", key);
    memcpy(text + size, octets, 16);
    cr_assert_eq(EVP_Digest(text, (size_t)size + 16, md5, NULL, EVP_md5(), NULL), 1);
    EVP_EncodeBlock((unsigned char *)ret_digest, md5, 16);
}

Test(syncml_credential, A2_md5_opens_a_session_and_a_digest_is_used_once)
{
    struct pc pc;
    char digest[25], nonce[25], cred[256];
    pc_open(&pc, "1");
    account_make();
    pc.certificate = NULL;
    pc_queue(60);
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 401);
    snprintf(nonce, sizeof nonce, "%s",
             syncml_text(pc.root, "SyncBody/Status/Chal/Meta/NextNonce"));
    digest_of(account.name, account.secret, nonce, digest);
    snprintf(cred, sizeof cred,
             "<Meta><Format xmlns=\"syncml:metinf\">b64</Format><Type "
             "xmlns=\"syncml:metinf\">syncml:auth-md5</Type></Meta><Data>%s</Data>",
             digest);
    pc.cred = cred;
    pc_send(&pc); /* the same session, a new MsgID */
    cr_assert_eq(pc_header_code(&pc), 212);
    cr_assert_str_neq(syncml_text(pc.root, "SyncBody/Status/Chal/Meta/NextNonce"),
                      nonce);
    pc.cred = NULL; /* accepted for the session */
    while (pc_obey(&pc)) {
        pc_send(&pc);
        cr_assert_eq(pc_header_code(&pc), 200);
    }
    cr_assert_eq(house_integer(&pc_house, "SELECT count(*) FROM device_command "
                                          "WHERE state = 2 AND attempts = 1"),
                 60);
    /* The nonce before stays good once, for an answer that was lost; then no more. */
    pc.cred = cred;
    pc.session = "2";
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 212);
    pc.session = "3";
    pc_begin(&pc);
    cr_assert_eq(pc_header_code(&pc), 401);
    pc_close(&pc);
}

/* OMA-TS-DM_Security-V1_2 5.3: in WBXML the digest may be sixteen octets as they are.
 */
Test(syncml_credential, A2_md5_opens_a_session_in_wbxml_by_its_octets)
{
    static const char cred[] =
        "<Meta><Type xmlns=\"syncml:metinf\">syncml:auth-md5</Type></Meta>"
        "<Data>SixteenOctetsFor</Data>";
    for (int wrong = 1; wrong >= 0; wrong--) {
        struct pc pc;
        char digest[25];
        unsigned char opaque[2 + 18] = { 0xc3, 16 };
        size_t size;
        pc_open(&pc, wrong ? "1" : "2");
        account_make();
        pc.certificate = NULL;
        pc.cred = cred;
        CA_AUTO(free) char *text = pc_message(&pc, 1, true);
        CA_AUTO(free) uint8_t *octets = pc_wbxml(text, &size);
        digest_of(account.name, account.secret, account.nonce, digest);
        cr_assert_eq(EVP_DecodeBlock(opaque + 2, (const unsigned char *)digest, 24),
                     18);
        opaque[2] ^= (unsigned char)wrong;
        uint8_t *at = memmem(octets, size, "\x03SixteenOctetsFor", 18);
        cr_assert_not_null(at);
        memcpy(at, opaque, 18);
        pc_send_raw(&pc, octets, size, SYNCML_TYPE_WBXML);
        cr_assert_eq(pc_header_code(&pc), wrong ? 401 : 212);
        pc_close(&pc);
    }
}

/* Asking again would tell a device that is here by its nonce, which stays until used.
 */
Test(syncml_credential, A3_the_challenge_does_not_tell_who_is_here)
{
    struct pc pc;
    char known[25], unknown[25];
    pc_open(&pc, "1");
    pc.certificate = NULL;
    for (int is_known = 0; is_known < 2; is_known++) {
        char *nonce = is_known ? known : unknown;
        for (int again = 0; again < 2; again++) {
            pc_begin(&pc);
            cr_assert_eq(pc_header_code(&pc), 401);
            const char *text =
                syncml_text(pc.root, "SyncBody/Status/Chal/Meta/NextNonce");
            cr_assert_eq(strlen(text), 24);
            if (again)
                cr_expect_str_eq(text, nonce, "%d", is_known);
            snprintf(nonce, sizeof known, "%s", text);
        }
        account_make();
    }
    cr_expect_str_eq(known, account.nonce);
    cr_expect_str_neq(unknown, known);
    pc_close(&pc);
}

Test(syncml_credential, A2_basic_wants_the_devices_own_secret)
{
    struct pc pc;
    char plain[128], data[192], cred[384];
    pc_open(&pc, "1");
    account_make();
    pc.certificate = NULL;
    for (int wrong = 1; wrong >= 0; wrong--) {
        int size = snprintf(plain, sizeof plain, "%s:%s%s", pc_device_id,
                            wrong ? "0" : "", account.secret);
        EVP_EncodeBlock((unsigned char *)data, (const unsigned char *)plain, size);
        snprintf(cred, sizeof cred,
                 "<Meta><Type xmlns=\"syncml:metinf\">syncml:auth-basic</Type></Meta>"
                 "<Data>%s</Data>",
                 data);
        pc.cred = cred;
        pc_begin(&pc);
        cr_assert_eq(pc_header_code(&pc), wrong ? 401 : 212);
    }
    pc_close(&pc);
}
