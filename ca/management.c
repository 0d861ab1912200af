/* Devices under management: whose id it is, and whether the proof holds. */
#include "management.h"
#include "auto.h"
#include "clock.h"
#include "query.h"
#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define MANAGEMENT_COLUMNS                                                             \
    "device_id, peer_id, name, secret_md5, nonce, spare, created, updated, version"

static const struct record_column management_columns[] = {
    RECORD_COLUMN(management, TEXT, device),
    RECORD_COLUMN(management, TEXT, peer_id),
    RECORD_COLUMN(management, TEXT, name),
    RECORD_COLUMN_OCTETS(management, secret_md5),
    RECORD_COLUMN(management, TEXT, nonce),
    RECORD_COLUMN(management, TEXT, spare),
    RECORD_STAMP_COLUMNS(management),
    { .type = RECORD_COLUMN_END },
};

static const struct record_select by_peer = {
    management_columns, sizeof(struct management),
    "SELECT " MANAGEMENT_COLUMNS " FROM device_management WHERE peer_id = $1"
};

static const struct record_select by_device = {
    management_columns, sizeof(struct management),
    "SELECT " MANAGEMENT_COLUMNS " FROM device_management WHERE device_id = $1"
};

/* One writing of an id: Windows gives hex, others URNs; case never tells two apart. */
static enum ca_status
peer_id_normalise(const char *peer_id, char ret_id[MANAGEMENT_PEER_ID_MAX + 1])
{
    size_t length = strlen(peer_id);
    if (length == 0 || length > MANAGEMENT_PEER_ID_MAX)
        return ca_fail(CA_MALFORMED, "id of a managed device has %zu octets", length);
    for (size_t i = 0; i <= length; i++) {
        if (i < length && (peer_id[i] <= 0x20 || peer_id[i] >= 0x7f))
            return ca_fail(CA_MALFORMED, "id of a managed device is not plain ASCII");
        ret_id[i] = (char)toupper((unsigned char)peer_id[i]);
    }
    return CA_OK;
}

enum ca_status
management_of_peer(struct store_tx *tx, const char *peer_id,
                   struct management *ret_management)
{
    char id[MANAGEMENT_PEER_ID_MAX + 1];
    enum ca_status status = peer_id_normalise(peer_id, id);
    if (status != CA_OK)
        return status;
    status = record_load(tx, &by_peer, STORE_VALUES(store_text(id)), ret_management);
    return status == CA_NOT_FOUND ? ca_fail(CA_NOT_FOUND, "no managed device '%s'", id)
                                  : status;
}

enum ca_status
management_load(struct store_tx *tx, const char *device,
                struct management *ret_management)
{
    enum ca_status status =
        record_load(tx, &by_device, STORE_VALUES(store_text(device)), ret_management);
    return status == CA_NOT_FOUND
               ? ca_fail(CA_NOT_FOUND, "device '%s' is not managed", device)
               : status;
}

enum ca_status
management_bind(struct store_tx *tx, const char *device, const char *peer_id)
{
    char id[MANAGEMENT_PEER_ID_MAX + 1];
    int64_t rows = 0;
    enum ca_status status = peer_id_normalise(peer_id, id);
    if (status == CA_OK) /* the id of a device that is over is free again */
        status = store_run(
            tx,
            "DELETE FROM device_management WHERE peer_id = $1 AND device_id <> $2 "
            "AND NOT EXISTS (SELECT 1 FROM device d "
            "WHERE d.id = device_management.device_id AND d.state <= 1)",
            STORE_VALUES(store_text(id), store_text(device)), NULL, NULL, NULL);
    if (status != CA_OK)
        return status;
    status = store_run(
        tx,
        "INSERT INTO device_management (" MANAGEMENT_COLUMNS ") "
        "SELECT $1, $2, NULL, NULL, NULL, NULL, $3, $3, 1 "
        "WHERE EXISTS (SELECT 1 FROM device WHERE id = $1) AND NOT EXISTS "
        "(SELECT 1 FROM device_management WHERE peer_id = $2 AND device_id <> $1) "
        "ON CONFLICT (device_id) DO UPDATE SET peer_id = $2, updated = $3, "
        "version = device_management.version + 1 RETURNING device_id",
        STORE_VALUES(store_text(device), store_text(id), store_integer(clock_now())),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        return ca_fail(CA_CONFLICT,
                       "'%s' is another device's id, or there is no device '%s'", id,
                       device);
    return status;
}

static enum ca_status
nonce_draw(char ret_nonce[MANAGEMENT_NONCE_SIZE])
{
    uint8_t octets[MANAGEMENT_NONCE_OCTETS];
    enum ca_status status = random_bytes(octets, sizeof octets);
    if (status == CA_OK)
        EVP_EncodeBlock((unsigned char *)ret_nonce, octets, sizeof octets);
    return status;
}

/* B64(MD5(a ":" b)) with b as octets; false: no MD5 in this OpenSSL. */
static bool
md5_join(const void *a, size_t a_size, const void *b, size_t b_size,
         uint8_t ret_md5[MANAGEMENT_MD5_SIZE])
{
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    return context && EVP_DigestInit_ex(context, EVP_md5(), NULL) == 1 &&
           EVP_DigestUpdate(context, a, a_size) == 1 &&
           EVP_DigestUpdate(context, ":", 1) == 1 &&
           EVP_DigestUpdate(context, b, b_size) == 1 &&
           EVP_DigestFinal_ex(context, ret_md5, NULL) == 1;
}

enum ca_status
management_give(struct store_tx *tx, const char *device, const char *secret,
                const char *nonce)
{
    uint8_t octets[MANAGEMENT_NONCE_OCTETS], md5[MANAGEMENT_MD5_SIZE];
    size_t size = 0;
    int64_t rows = 0;
    if (strlen(secret) != MANAGEMENT_SECRET_SIZE - 1 ||
        base64_parse(nonce, strlen(nonce), BASE64_STRICT, octets, sizeof octets,
                     &size) != CA_OK ||
        size != sizeof octets)
        return ca_fail(CA_MALFORMED, "a device's secret of another size");
    if (!md5_join(device, strlen(device), secret, strlen(secret), md5))
        return ca_fail_openssl(CA_INTERNAL, "cannot digest a device's secret");
    enum ca_status status = store_run(
        tx,
        "UPDATE device_management SET name = $1, secret_md5 = $2, nonce = $3, "
        "spare = NULL, updated = $4, version = version + 1 "
        "WHERE device_id = $1 RETURNING device_id",
        STORE_VALUES(store_text(device), store_blob(md5, sizeof md5), store_text(nonce),
                     store_integer(clock_now())),
        NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        status = ca_fail(CA_NOT_FOUND, "device '%s' is not managed", device);
    return status;
}

/* Not a change of who the device is: the record's version stays. */
enum ca_status
management_keep_nodes(struct store_tx *tx, const char *device, const json_t *nodes)
{
    CA_AUTO(free) char *text = record_json_format(nodes);
    int64_t rows = 0;
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for nodes");
    if (strlen(text) > MANAGEMENT_NODES_MAX)
        return ca_fail(CA_LIMIT, "nodes of a policy have %zu octets", strlen(text));
    enum ca_status status = store_run(
        tx,
        "UPDATE device_management SET nodes = $2 WHERE device_id = $1 "
        "RETURNING device_id",
        STORE_VALUES(store_text(device), store_text(text)), NULL, NULL, &rows);
    if (status == CA_OK && rows == 0)
        status = ca_fail(CA_NOT_FOUND, "device '%s' is not managed", device);
    return status;
}

enum ca_status
management_kept_nodes(struct store_tx *tx, const char *device, json_t **ret_nodes)
{
    CA_AUTO(free) char *text = NULL;
    enum ca_status status =
        store_run(tx, "SELECT nodes FROM device_management WHERE device_id = $1",
                  STORE_VALUES(store_text(device)), row_take_text, &text, NULL);
    if (status != CA_OK)
        return status;
    json_t *nodes =
        text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : json_array();
    if (!json_is_array(nodes)) {
        json_decref(nodes);
        return ca_fail(CA_INTERNAL, "nodes of device '%s' are no list", device);
    }
    *ret_nodes = nodes;
    return CA_OK;
}

bool
management_has_secret(const struct management *management, const char *name,
                      const char *secret)
{
    uint8_t md5[MANAGEMENT_MD5_SIZE];
    if (!management->name || !md5_join(name, strlen(name), secret, strlen(secret), md5))
        return false;
    bool holds = CRYPTO_memcmp(md5, management->secret_md5, sizeof md5) == 0;
    OPENSSL_cleanse(md5, sizeof md5);
    return holds;
}

static bool
digest_holds(const struct management *management, const char *digest, const char *nonce)
{
    uint8_t octets[MANAGEMENT_NONCE_OCTETS], md5[MANAGEMENT_MD5_SIZE];
    char key[2 * MANAGEMENT_MD5_SIZE], wanted[2 * MANAGEMENT_MD5_SIZE];
    size_t size = 0;
    if (!nonce || base64_parse(nonce, strlen(nonce), BASE64_STRICT, octets,
                               sizeof octets, &size) != CA_OK)
        return false;
    int length = EVP_EncodeBlock((unsigned char *)key, management->secret_md5,
                                 MANAGEMENT_MD5_SIZE);
    if (!md5_join(key, (size_t)length, octets, size, md5))
        return false;
    length = EVP_EncodeBlock((unsigned char *)wanted, md5, sizeof md5);
    return strlen(digest) == (size_t)length &&
           CRYPTO_memcmp(wanted, digest, (size_t)length) == 0;
}

bool
management_has_digest(const struct management *management, const char *digest,
                      bool *ret_spare)
{
    if (!management->name)
        return false;
    bool is_current = digest_holds(management, digest, management->nonce);
    if (!is_current && !digest_holds(management, digest, management->spare))
        return false;
    *ret_spare = !is_current;
    return true;
}

enum ca_status
management_use_nonce(struct store_tx *tx, const struct management *management,
                     bool spare, char ret_nonce[MANAGEMENT_NONCE_SIZE])
{
    char nonce[MANAGEMENT_NONCE_SIZE];
    enum ca_status status = nonce_draw(nonce);
    if (status != CA_OK)
        return status;
    status = record_change(
        tx,
        "UPDATE device_management SET nonce = $2, spare = $3, updated = $4, "
        "version = version + 1 WHERE device_id = $1 AND version = $5 "
        "RETURNING device_id",
        STORE_VALUES(store_text(management->device), store_text(nonce),
                     store_text(spare ? NULL : management->nonce),
                     store_integer(clock_now()),
                     store_integer(management->stamp.version)));
    if (status == CA_OK)
        memcpy(ret_nonce, nonce, sizeof nonce);
    return status;
}

void
management_clear(struct management *management)
{
    record_clear(management_columns, management);
}
