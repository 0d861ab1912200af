/* What SCEP clients ask before they enrol. */
#include "auto.h"
#include "scep.h"
#include "scep_case.h"

TestSuite(scep_caps, .init = case_open, .fini = case_close);

static void
set(const char *member, bool value)
{
    json_object_set_new(core.settings, member, json_boolean(value));
}

Test(scep_caps, caps_follow_the_profile)
{
    cr_assert_eq(plugin_call("GET", "/default", "operation=GetCACaps", NULL, 0), CA_OK);
    cr_assert_str_eq(core.content_type, "text/plain");
    cr_assert(core.size == strlen("AES\nDES3\nPOSTPKIOperation\nRenewal\nSCEPStandard\n"
                                  "SHA-256\nSHA-512\n"));
    set("sha1", true);
    set("des3", false);
    fake_core_add_next(&core);
    cr_assert_eq(plugin_call("GET", "/default/pkiclient.exe",
                             "operation=GetCACaps&message=ca", NULL, 0),
                 CA_OK);
    static const char wanted[] = "AES\nGetNextCACert\nPOSTPKIOperation\nRenewal\n"
                                 "SCEPStandard\nSHA-1\nSHA-256\nSHA-512\n";
    cr_assert_eq(core.size, strlen(wanted));
    cr_assert_arr_eq(core.body, wanted, core.size);
}

static STACK_OF(X509) *
certs_only_read(const uint8_t *der, size_t size)
{
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &der, (long)size);
    cr_assert_not_null(cms);
    cr_assert(sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)) <= 0);
    return CMS_get1_certs(cms);
}

Test(scep_caps, ca_certificates_are_ra_first_then_issuer)
{
    cr_assert_eq(
        plugin_call("GET", "/default", "operation=GetCACert&message=0", NULL, 0),
        CA_OK);
    cr_assert_str_eq(core.content_type, "application/x-x509-ca-ra-cert");
    CA_AUTO(x509_stack_free)
    STACK_OF(X509) *all = certs_only_read(core.body, core.size);
    cr_assert_eq(sk_X509_num(all), 2);
    cr_assert_eq(X509_cmp(sk_X509_value(all, 0), core.ra[0].certificate), 0);
    cr_assert_eq(X509_cmp(sk_X509_value(all, 1), core.issuer), 0);
    set("include_root", true);
    plugin_call("GET", "/default", "operation=GetCACert", NULL, 0);
    CA_AUTO(x509_stack_free)
    STACK_OF(X509) *more = certs_only_read(core.body, core.size);
    cr_assert_eq(sk_X509_num(more), 3);
    cr_assert_eq(X509_cmp(sk_X509_value(more, 2), core.root), 0);
}

Test(scep_caps, one_certificate_is_bare)
{
    core.ra_count = 0;
    cr_assert_eq(plugin_call("GET", "/default", "operation=GetCACert", NULL, 0), CA_OK);
    cr_assert_str_eq(core.content_type, "application/x-x509-ca-cert");
    const uint8_t *at = core.body;
    CA_AUTO(X509_free) X509 *only = d2i_X509(NULL, &at, (long)core.size);
    cr_assert(only && X509_cmp(only, core.issuer) == 0);
    X509_free(core.ra[0].certificate);
    EVP_PKEY_free(core.ra[0].pkey);
}

Test(scep_caps, next_certificates_are_signed_by_the_current_ra)
{
    cr_assert_eq(plugin_call("GET", "/default", "operation=GetNextCACert", NULL, 0),
                 CA_NOT_FOUND);
    fake_core_add_next(&core);
    cr_assert_eq(plugin_call("GET", "/default", "operation=GetNextCACert", NULL, 0),
                 CA_OK);
    cr_assert_str_eq(core.content_type, "application/x-x509-next-ca-cert");
    const uint8_t *at = core.body;
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)core.size);
    CA_AUTO(BIO_free_all) BIO *content = BIO_new(BIO_s_mem());
    STACK_OF(X509) *signers = sk_X509_new_null();
    sk_X509_push(signers, core.ra[0].certificate);
    cr_assert_eq(CMS_verify(cms, signers, NULL, NULL, content,
                            CMS_NO_SIGNER_CERT_VERIFY | CMS_NOINTERN | CMS_BINARY),
                 1);
    sk_X509_free(signers);
    uint8_t *data;
    long size = BIO_get_mem_data(content, &data);
    CA_AUTO(x509_stack_free) STACK_OF(X509) *all = certs_only_read(data, (size_t)size);
    cr_assert_eq(sk_X509_num(all), 2);
    cr_assert_eq(X509_cmp(sk_X509_value(all, 0), core.next_ra.certificate), 0);
    cr_assert_eq(X509_cmp(sk_X509_value(all, 1), core.next), 0);
}
