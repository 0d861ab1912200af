/* Does a request ask for what an offer says (ECSPEKE-ACT-1 section 13.3)? Pure. */
#pragma once

#include "names.h"
#include "offer.h"

/* Same subject, same set of alternative names, a key by the offer's rule and the
 * profile's, that it is bound to if it is bound, and a valid self-signature.
 * CA_FORBIDDEN with the word of section 12 in `ret_word`: "subject_mismatch",
 * "san_mismatch", "key_rejected", "bad_signature". CA_INTERNAL without one. */
enum ca_status offer_judge(const struct offer *offer,
                           const struct certificate_profile *profile, X509_REQ *request,
                           const char **ret_word);
/* The same without the signature, for a CertificationRequestInfo (13.5). */
enum ca_status offer_judge_unsigned(const struct offer *offer,
                                    const struct certificate_profile *profile,
                                    X509_REQ *request, const char **ret_word);
/* For a request that another CA reads, which may issue what is asked for (SECURITY R5,
 * A8): of extensions SAN, and keyUsage and extendedKeyUsage within the profile's; of
 * attributes extensionRequest, and challengePassword where one belongs there.
 * CA_FORBIDDEN with "san_mismatch" for anything else. */
enum ca_status offer_judge_passing(const struct certificate_profile *profile,
                                   X509_REQ *request, bool takes_challenge,
                                   const char **ret_word);

/* Names and rule into an offer. CA_UNSUPPORTED: a name that section 13.3 has no type
 * for, or a key that the certificate profile does not take. */
enum ca_status offer_describe(struct offer *offer, const struct names *names,
                              const struct certificate_profile *certificate, int key);
/* Are these still the names? CA_CONFLICT. */
enum ca_status offer_check_names(const struct offer *offer, const struct names *names);
