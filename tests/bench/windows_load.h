/* Windows devices of the load generator: what they send, made ready beforehand, and
 * what becomes of the answers. */
#pragma once

#include "load.h"
#include <openssl/x509.h>
#include <stdio.h>

#define WINDOWS_SOAP "application/soap+xml; charset=utf-8"
#define WINDOWS_SYNCML "application/vnd.syncml.dm+xml"
#define WINDOWS_DISCOVERY "/EnrollmentServer/Discovery.svc"
#define WINDOWS_POLICY "/EnrollmentServer/PolicyEnrollmentWebservice.svc"
#define WINDOWS_ENROLMENT "/EnrollmentServer/DeviceEnrollmentWebservice.svc"
#define WINDOWS_MANAGEMENT "/syncml/initialquery"
#define WINDOWS_ID_SIZE 33

struct windows_device {
    char id[WINDOWS_ID_SIZE];
    EVP_PKEY *key;
    X509 *certificate;
    char *discover, *policies, *request; /* whole bodies */
    char *answer;                        /* to the request */
    char *credential;                    /* of syncml:auth-basic, base64; or NULL */
};

/* A device for each line of `path`, "token TEXT" or "password USER TEXT", by the
 * messages of the folder and the pool's keys from `first` on. */
struct windows_device *windows_prepare(const char *path, const char *messages,
                                       const struct load_pool *pool, size_t first,
                                       size_t *ret_count);
/* The document of the answer: the device's certificate, for its own key. */
bool windows_apply(struct windows_device *device);
/* Key and certificate to a file, and the devices of such a file. */
void windows_keep(const struct windows_device *device, FILE *file);
struct windows_device *windows_load(const char *path, size_t *ret_count);
/* Devices without a certificate: lines of an id, a name and a secret. */
struct windows_device *windows_accounts(const char *path, size_t *ret_count);
void windows_free(struct windows_device *devices, size_t count);

/* Messages of session `number`; free() them. */
char *windows_package_1(const struct windows_device *device, size_t number);
/* NULL: the answer asks for nothing. */
char *windows_package_3(const struct windows_device *device, size_t number, int message,
                        const char *answer);
/* Does the answer's SyncHdr say that the session goes on? */
bool windows_is_accepted(const char *answer);
