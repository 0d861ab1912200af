/* What the Windows plugins agree on: paths, and the identifiers of certificate profiles
 * as policies of [MS-XCEP]. */
#pragma once

#include "plugin.h"

#define WINDOWS_DISCOVERY_PATH "/EnrollmentServer/Discovery.svc"
#define WINDOWS_POLICY_PATH "/EnrollmentServer/PolicyEnrollmentWebservice.svc"
#define WINDOWS_ENROLLMENT_PATH "/EnrollmentServer/DeviceEnrollmentWebservice.svc"
#define WINDOWS_LOGIN_PATH "/enrollments/windows/login-agent"
#define WINDOWS_PROVIDER_PATH "/enrollments/windows/oidc-login"
#define WINDOWS_CEP_PASSWORD_PATH                                                      \
    "/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP"
#define WINDOWS_CEP_CERTIFICATE_PATH "/ADPolicyProvider_CEP_Certificate/service.svc/CEP"
#define WINDOWS_CES_PASSWORD_PATH "/CES_UsernamePassword/service.svc/CES"
#define WINDOWS_CES_CERTIFICATE_PATH "/CES_Certificate/service.svc/CES"

#define WINDOWS_GUID_SIZE 39

/* "{...}": names this organisation's policy service, which clients cache by it. */
void windows_policy_id(const struct ca_organisation *organisation,
                       char ret_id[WINDOWS_GUID_SIZE]);

/* A duration of a profile's settings as ca_profiles gives them: "P30D", "P1DT12H",
 * "PT5M", days being the greatest unit. 0: none. */
int64_t windows_seconds(const json_t *duration);
